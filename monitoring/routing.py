from django.urls import path

from monitoring.consumer import LiveConsumer

websocket_urlpatterns = [path("ws_api/admin/live", LiveConsumer.as_asgi())]
