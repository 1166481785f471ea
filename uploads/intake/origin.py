"""Which page may open a WebSocket here: the rule about the `Origin` header (wire.md). Needs no Django or Channels.

A browser sends cookies along with any page's handshake and knows no same-origin rule for WebSockets, so that this
check is what keeps other sites out. A program sends no `Origin`; its credential is the upload's token.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
HTTP_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}

Origin = tuple[str, str, int]


def origin_of(scope: Mapping[str, Any]) -> str | None:
    """The `Origin` header of an ASGI scope; None where there is none, `null` where there are several."""
    values = _headers(scope, b"origin")
    return values[0] if len(values) == 1 else ("null" if values else None)


def host_of(scope: Mapping[str, Any]) -> str:
    """The host that the client asked for, with its port if it named one; empty where it named none or several."""
    values = _headers(scope, b"host")
    return values[0] if len(values) == 1 else ""


def is_foreign(origin: str | None, scope: Mapping[str, Any], public_url: str | None = None) -> bool:
    """True where `origin` differs in scheme, host or port from the request's own and from `public_url`.

    No origin at all is not foreign; `null`, and what cannot be read as an origin, is. The scope is the client's own
    view: what trusted proxies forwarded has been put into it before.
    """
    if origin is None:
        return False
    asked = _parse(origin)
    if asked is None:
        return True
    scheme = HTTP_SCHEMES.get(scope.get("scheme") or "ws", "http")
    host = host_of(scope)
    own = _parse(f"{scheme}://{host}") if host else None
    return asked not in (own, _parse(public_url) if public_url else None)


def _parse(text: str) -> Origin | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
        return None
    if parts.username is not None or parts.query or parts.fragment:
        return None
    return parts.scheme, parts.hostname.rstrip("."), DEFAULT_PORTS[parts.scheme] if port is None else port


def _headers(scope: Mapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope.get("headers", ()) if key.lower() == name]
