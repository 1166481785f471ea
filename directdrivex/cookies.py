"""Cookies that would cost more to read than they are worth. Needs no Django."""

from typing import Any

MOST_BACKSLASHES = 100  # ours have none


class HarmlessCookies:
    """Gives the application no cookies where these hold more backslashes than anybody's do.

    Up to Python 3.11.9 and 3.12.5 the time to read a quoted cookie grows with the square of their number
    (CVE-2024-7592): one request with 24 KB of them stopped the event loop for two seconds.
    """

    def __init__(self, application: Any, most: int = MOST_BACKSLASHES) -> None:
        self.application, self._most = application, most

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = scope.get("headers", ())
        if sum(value.count(b"\\") for name, value in headers if name == b"cookie") > self._most:
            scope = {**scope, "headers": [(name, value) for name, value in headers if name != b"cookie"]}
        await self.application(scope, receive, send)
