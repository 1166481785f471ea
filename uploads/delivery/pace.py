"""One block of all downloads in each round of the event loop, whatever else is to be done there. Needs no Django.

A hundred clients that take what they get as fast as it comes would have a hundred blocks sent between two frames of an
upload.
"""

import asyncio
from collections import deque


class Pace:
    """Whoever wants to send a block waits for `turn` before."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    async def turn(self) -> None:
        """Return when it is this one's turn, which is over by itself in the next round."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._is_taken = loop, False
            self._waiting.clear()
        if not self._is_taken:
            self._is_taken = True
            loop.call_soon(self._next, loop)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # it is, where its client has gone
                turn.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._is_taken = False
