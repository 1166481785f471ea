"""The program as an ASGI application: HTTP to Django, WebSockets to the consumers."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "directdrivex.settings")
django_application = get_asgi_application()

from uploads.routing import websocket_urlpatterns  # noqa: E402 - needs the apps to be loaded

application = ProtocolTypeRouter({"http": django_application, "websocket": URLRouter(websocket_urlpatterns)})
