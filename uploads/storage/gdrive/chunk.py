"""One Drive chunk: a PUT whose body is sent as its bytes come, so that no chunk is ever held. Needs no Django."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from uploads.storage.base import Buffer
from uploads.storage.gdrive.client import Progress
from uploads.storage.gdrive.errors import DriveBusyError, DriveStalledError
from uploads.storage.gdrive.patience import Patience

# A wait that ends so many seconds late is one in which this program stood still: stopped, or its machine was.
OVERSLEPT_SECONDS = 1.0


async def _within(seconds: float, what: asyncio.Future[Any]) -> bool:
    """Is it done in so many seconds in which this program could have noticed?"""
    loop, overslept = asyncio.get_running_loop(), min(OVERSLEPT_SECONDS, seconds / 4)
    while True:
        began = loop.time()
        await asyncio.wait({what}, timeout=seconds)
        if what.done() or loop.time() - began < seconds + overslept:
            return what.done()


class Body:
    """What is sent of a chunk: one piece at a time, the next when the one before has left our memory."""

    def __init__(self) -> None:
        self._piece: Buffer | None = None
        self._there = asyncio.Event()
        self._left: asyncio.Future[None] | None = None
        self._begun = self._taken = self._whole = False

    def __aiter__(self) -> AsyncIterator[Buffer]:
        if self._begun:
            raise DriveBusyError("the connection broke")  # nothing of this can be sent a second time
        self._begun = True
        return self

    async def __anext__(self) -> Buffer:
        if self._taken:
            # Whoever sends comes back when the piece is written and the connection has taken all but a little of it.
            self._piece, self._taken = None, False
            self.give_up()
        while self._piece is None:
            if self._whole:
                raise StopAsyncIteration
            self._there.clear()
            await self._there.wait()
        self._taken = True
        return self._piece

    def send(self, piece: Buffer, *, last: bool) -> asyncio.Future[None]:
        """What is done when the piece has left, or `give_up` was called."""
        self._left = asyncio.get_running_loop().create_future()
        self._piece, self._whole = piece, last
        self._there.set()
        return self._left

    def give_up(self) -> None:
        """Whoever waits in `send` need wait no longer."""
        if self._left is not None and not self._left.done():
            self._left.set_result(None)


class Chunk:
    """A PUT of `length` bytes under way, up to the offset `end`; `left` of them are still to come.

    It ends by `outcome` or `abort`.
    """

    def __init__(self, length: int, end: int, put: Callable[[Body], Awaitable[Progress]], patience: Patience) -> None:
        self.left, self.end, self._patience = length, end, patience
        self._body = Body()
        self._put: asyncio.Future[Progress] = asyncio.ensure_future(put(self._body))
        self._put.add_done_callback(self._over)

    def _over(self, put: asyncio.Future[Progress]) -> None:
        self._body.give_up()
        if not put.cancelled():
            put.exception()  # where nobody asks for the outcome any longer, it is no news either

    @property
    def answered(self) -> bool:
        """Drive has answered, or the connection broke: it takes no more bytes."""
        return self._put.done()

    async def feed(self, piece: Buffer) -> None:
        """Send a piece, at most `left` bytes; returns when it has left our memory, or the PUT is `answered`.

        Raises `DriveStalledError` where Drive takes nothing for too long.
        """
        if self.answered:
            return
        self.left -= len(piece)
        if not await _within(self._patience.stall, self._body.send(piece, last=not self.left)):
            raise DriveStalledError(f"Drive has taken no byte for {self._patience.stall:g} s")

    async def outcome(self) -> Progress:
        """What Drive says that it has, once all bytes were sent. Raises the errors of `errors.py`."""
        if not await _within(self._patience.answer, self._put):
            await self.abort()
            raise DriveStalledError(f"Drive has not answered for {self._patience.answer:g} s")
        return self._put.result()

    async def abort(self) -> None:
        """Break the connection, if the PUT is not over; what Drive has kept of it must be asked."""
        self._put.cancel()
        await asyncio.wait({self._put})
