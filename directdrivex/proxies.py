"""Forwarded headers, read in one place, from right to left, and from TRUSTED_PROXIES alone (wire.md)."""

from collections.abc import Iterable
from typing import Any

from quotas.rules import IPNetwork, client_address, is_in


def _entries(scope: dict[str, Any], name: bytes) -> list[str]:
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return [entry.strip() for entry in ",".join(values).split(",") if entry.strip()]


class ForwardedHeaders:
    """Gives the application the client's own address, scheme and host where a trusted proxy forwarded them.

    The headers themselves stay in the scope, so that one can still tell that a proxy was there.
    """

    def __init__(self, application: Any, trusted: Iterable[IPNetwork]) -> None:
        self.application, self.trusted = application, list(trusted)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and self.trusted and scope.get("client"):
            scope = self._seen_from_outside(scope)
        await self.application(scope, receive, send)

    def _seen_from_outside(self, scope: dict[str, Any]) -> dict[str, Any]:
        peer, port = scope["client"][0], scope["client"][1]
        if not is_in(peer, self.trusted):  # only then are these headers worth reading
            return scope
        seen = dict(scope)
        client = client_address(peer, _entries(scope, b"x-forwarded-for"), self.trusted)
        seen["client"] = (client, port if client == peer else 0)
        if schemes := _entries(scope, b"x-forwarded-proto"):
            secure = schemes[-1].lower() in ("https", "wss")
            plain, over_tls = ("ws", "wss") if scope["type"] == "websocket" else ("http", "https")
            seen["scheme"] = over_tls if secure else plain
        if hosts := _entries(scope, b"x-forwarded-host"):
            others = [(key, value) for key, value in scope["headers"] if key != b"host"]
            seen["headers"] = [*others, (b"host", hosts[-1].encode("latin-1"))]
        return seen
