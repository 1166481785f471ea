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
    """One client. `unread` tells how many of the bytes that were sent to it it has not taken yet.

    `gives_way` is done when its connection is to be broken off.
    """

    def __init__(self, unread: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._unread, self._clock = unread, clock
        self._sent = self._taken = 0
        self._credit = CREDIT_BYTES
        self._waits_since: float | None = None
        self.gives_way: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """More is to be sent, as soon as it takes what was sent before."""
        self._waits_since = self._clock()

    def end(self, size: int) -> None:
        """So many bytes more have just been sent."""
        self._sent += size
        self._judge()
        self._waits_since = None

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
