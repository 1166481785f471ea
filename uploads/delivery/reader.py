"""How the client of a download takes what it is sent, and whether it must give way. Needs no Django.

Each may fall so far behind a small rate and no further: whoever takes nothing has used that up in half a minute,
whoever takes little a while later. The clock runs only while there is something to take, or a slow storage would be its
readers' fault.
"""

import asyncio
import time
from collections.abc import Callable

FLOOR_BYTES_PER_SECOND = 16 * 1024
BEHIND_SECONDS = 30.0
CREDIT_BYTES = FLOOR_BYTES_PER_SECOND * BEHIND_SECONDS


class Reader:
    """One client. `unread` tells how many of the bytes that were sent to it it has not taken yet, `held_back` how many
    of those would never leave if its connection was cut now.

    `gives_way` is done when its connection is to be broken off.
    """

    def __init__(
        self,
        unread: Callable[[], int],
        held_back: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unread, self._held_back, self._clock = unread, held_back, clock
        self._sent = self._taken = self._waiting = 0
        self._credit = CREDIT_BYTES
        self._waits_since: float | None = None
        self.gives_way: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, size: int) -> None:
        """So many bytes more are to be sent, as soon as it takes what was sent before."""
        self._waiting, self._waits_since = size, self._clock()

    def end(self) -> None:
        """They have just been sent."""
        self._sent, self._waiting = self._sent + self._waiting, 0
        self._judge()
        self._waits_since = None

    def unsent(self) -> int:
        """How many of the bytes that were meant for it it will not have, if its connection is cut now."""
        return self._waiting + self._held_back()

    def is_slow(self) -> bool:
        """Whether it is as far behind as it may be, as of now."""
        self._judge()
        return self._credit <= 0

    def give_way(self) -> None:
        if not self.gives_way.done():
            self.gives_way.set_result(None)

    def _judge(self) -> None:
        taken = max(self._taken, self._sent - self._unread())
        credit = self._credit + taken - self._taken
        if self._waits_since is not None:
            now = self._clock()
            credit -= (now - self._waits_since) * FLOOR_BYTES_PER_SECOND
            self._waits_since = now
        self._credit, self._taken = max(0.0, min(credit, CREDIT_BYTES)), taken
