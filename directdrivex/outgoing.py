"""How Django's answers leave: at once, or, where they stream, when Django is done with them.

While Django has a request, it keeps a thread for it, and often a connection to the database; a download may last for
hours. So Django only begins a streamed answer, whose blocks are passed on after that. What an answer holds is given
back when it is over, however it ends (`uploads/delivery/lasting.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import structlog
from django.core.handlers.asgi import ASGIHandler

from uploads.delivery.lasting import HELD, READER
from uploads.delivery.pace import Pace
from uploads.delivery.reader import Reader
from uploads.errors import UploadError
from uploads.intake import registry
from uploads.storage.base import StorageError

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Who takes less than a block (1 MiB at most) in this time is left. Paused that long, a client goes on with `Range`.
STUCK_SECONDS = 300.0
# A block of a download is as much as the system gives of an upload in some rounds of the loop.
ROUNDS_BESIDE_UPLOADS = 3
NOBODY = ""

log = structlog.get_logger(__name__)


def _rounds() -> int:
    return ROUNDS_BESIDE_UPLOADS if registry.others_move(NOBODY) else 1


pace = Pace(_rounds)


class BrokenOffError(Exception):
    """An answer cannot be sent to its end: its connection is to be cut, so that nobody takes a part for the whole."""


class Outgoing:
    """Where Django sends one answer to; `stream` is an answer that it has only begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.stream: Any = None

    async def __call__(self, message: Message) -> None:
        await self._send(message)


class Handler(ASGIHandler):
    """Django's own, but for streams: their blocks are passed on as they are, without a thread, and in time."""

    # Django cuts each into 64 KiB, with a copy and a turn for every one. In a ZIP a header stands before a block.
    chunk_size = 1024 * 1024 + 64 * 1024

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as held:
            scope[HELD] = held
            outgoing = Outgoing(send)
            await super().__call__(scope, receive, outgoing)
            if outgoing.stream is not None:
                await self._pass_on(outgoing.stream, scope, receive, send)

    async def send_response(self, response: Any, send: Send) -> None:
        if isinstance(send, Outgoing) and response.streaming and response.is_async:
            send.stream = response
        else:
            await super().send_response(response, send)

    async def _pass_on(self, stream: Any, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Send all of it, or as much as the client is there for. Raises `BrokenOffError`."""
        reader: Reader | None = scope.get(READER)
        sending = asyncio.create_task(super().send_response(stream, _in_time(send, reader)))
        leaving = asyncio.ensure_future(receive())  # nothing more comes, until the client has gone
        ends: set[asyncio.Future[Any]] = {sending, leaving}
        if reader:
            ends.add(reader.gives_way)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            elif reader and reader.gives_way.done() and not leaving.done():
                log.info("download_gave_way", path=scope["path"])
                raise BrokenOffError
        except (StorageError, UploadError, TimeoutError) as cause:
            log.warning("download_broken_off", path=scope["path"], cause=f"{type(cause).__name__}: {cause}")
            raise BrokenOffError from cause
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)


def _in_time(send: Send, reader: Reader | None) -> Send:
    async def sent(message: Message) -> None:
        if reader:
            reader.begin(len(message.get("body", b"")))
        await pace.turn()
        async with asyncio.timeout(STUCK_SECONDS):
            await send(message)
        if reader:
            reader.end()

    return sent
