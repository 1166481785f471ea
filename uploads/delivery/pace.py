"""One block of all downloads in so many rounds of the event loop, whatever else is to be done there. Needs no Django.

A hundred clients that take what they get as fast as it comes would have a hundred blocks sent between two frames of an
upload. A round in which nothing else is to be done takes no time.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Pace:
    """Whoever wants to send a block waits for `turn` before; `rounds` tells how many rounds belong to each block."""

    def __init__(self, rounds: Callable[[], int] = lambda: 1) -> None:
        self._rounds = rounds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    async def turn(self) -> None:
        """Return when it is this one's turn, which is over by itself when its rounds are."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._is_taken = loop, False
            self._waiting.clear()
        if not self._is_taken:
            self._is_taken = True
            self._go_on_after(loop, self._rounds())
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _go_on_after(self, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
        if rounds > 1:
            loop.call_soon(self._go_on_after, loop, rounds - 1)
        else:
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # it is, where its client has gone
                turn.set_result(None)
                self._go_on_after(loop, self._rounds())
                return
        self._is_taken = False
