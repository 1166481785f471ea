"""A limit on request bodies, before Django spools them to disk: nothing is uploaded over HTTP (wire.md)."""

import asyncio
import contextlib
from typing import Any

from directdrivex.refusing import refuse
from uploads.errors import BodyTooLarge

DROP_BYTES = 16 * 1024 * 1024
DROP_SECONDS = 5.0


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Answers 413 to an HTTP request whose body is, or turns out to be, larger than `limit` bytes."""

    def __init__(self, application: Any, limit: int) -> None:
        self.application, self.limit = application, limit

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)
        lengths = [value for key, value in scope["headers"] if key == b"content-length"]
        if lengths and (not lengths[0].isdigit() or int(lengths[0]) > self.limit):
            await _read_on(receive)
            return await refuse(BodyTooLarge(), scope, send)
        read = 0
        started = False

        async def counted() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.limit:
                raise _TooLargeError
            return message

        async def noted(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.application(scope, counted, noted)
        except _TooLargeError:
            if started:
                raise
            await _read_on(receive)
            await refuse(BodyTooLarge(), scope, send)
        return None


async def _read_on(receive: Any) -> None:
    """Drop a while what still comes: an answer to a client that is still sending is lost with the connection."""
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DROP_SECONDS):
            while dropped < DROP_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
