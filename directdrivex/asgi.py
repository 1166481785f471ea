"""The program as an ASGI application: HTTP to Django, WebSockets to the consumers."""

import os
from typing import Any

import django
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "directdrivex.settings")
django.setup(set_prefix=False)


from django.conf import settings  # noqa: E402 - these need the apps to be loaded

from directdrivex.bodies import BodyLimit  # noqa: E402
from directdrivex.cookies import HarmlessCookies  # noqa: E402
from directdrivex.outgoing import Handler  # noqa: E402
from directdrivex.proxies import ForwardedHeaders  # noqa: E402
from directdrivex.refusing import refuse  # noqa: E402
from directdrivex.turns import HandshakesInTurn, InTurn, in_company  # noqa: E402
from monitoring.routing import websocket_urlpatterns as monitoring_sockets  # noqa: E402
from uploads.errors import RateLimited  # noqa: E402
from uploads.routing import websocket_urlpatterns as upload_sockets  # noqa: E402
from uploads.waiting import RETRY_SECONDS  # noqa: E402


async def _refuse_handshake(scope: Any, receive: Any, send: Any) -> None:
    """Refuse the handshake of a WebSocket at an address that has none."""
    await receive()
    await send({"type": "websocket.close"})


async def _refuse_request(scope: Any, receive: Any, send: Any) -> None:
    """Refuse one request more than may wait."""
    await refuse(RateLimited(retry_after=RETRY_SECONDS), scope, send)


django_application = Handler()

# Channels routes to ASGI applications by Django's `re_path`, whose types know views only.
no_such_socket: Any = _refuse_handshake

application = HarmlessCookies(
    ForwardedHeaders(
        ProtocolTypeRouter(
            {
                "http": BodyLimit(
                    InTurn(django_application, in_company(), _refuse_request), settings.DATA_UPLOAD_MAX_MEMORY_SIZE
                ),
                "websocket": HandshakesInTurn(
                    URLRouter([*upload_sockets, *monitoring_sockets, re_path(r"", no_such_socket)]), in_company()
                ),
            }
        ),
        settings.TRUSTED_PROXIES,
    )
)
