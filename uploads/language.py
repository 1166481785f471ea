"""The language of somebody who is not (yet) in Django's hands: a WebSocket, a request refused before any view."""

from types import SimpleNamespace
from typing import Any

from django.http import parse_cookie
from django.utils import translation


def language_of(scope: Any) -> str:
    """The language that Django would choose for a page asked for with the headers of this ASGI scope."""
    headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
    request: Any = SimpleNamespace(
        COOKIES=parse_cookie(headers.get(b"cookie", "")),
        META={"HTTP_ACCEPT_LANGUAGE": headers.get(b"accept-language", "")},
        path_info="/",
    )
    return translation.get_language_from_request(request)
