from django.urls import re_path

from uploads.intake.consumer import UploadConsumer

# Any id is accepted here: browsers cannot read a refused handshake, so that `not_found` comes after `start`.
websocket_urlpatterns = [
    re_path(r"^ws_api/(?:upload_parallel|upload)/(?P<file_id>[^/]+)$", UploadConsumer.as_asgi()),
]
