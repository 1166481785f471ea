"""How often one person may do a thing within a minute: a moving window, exact to the request. Needs no Django.

A store that several processes share can stand behind the same port.
"""

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

WINDOW_SECONDS = 60.0
MOST_PERSONS = 100_000
FORGOTTEN_AT_ONCE = 16


class RateStore(Protocol):
    """Counts what persons do, each by a key."""

    async def take(self, key: str, limit: int) -> float:
        """Count one more for `key`, unless `limit` were counted in the last minute.

        Returns 0 where it was counted, else the seconds after which the next one will be. What is refused does not
        count, so that waiting so long is enough.
        """
        ...


class MemoryRateStore:
    """The counts of one process.

    Its memory is bounded, whoever comes: a number for each request of the last minute, and at most `most_persons`
    keys. Beyond those the one not seen for longest is forgotten. Nothing walks over all of them: what is over is
    dropped from the old end, a few with each call.
    """

    def __init__(self, most_persons: int = MOST_PERSONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_persons, self._clock = most_persons, clock
        self._times: OrderedDict[str, array[float]] = OrderedDict()  # the one that was counted last is last

    def __len__(self) -> int:
        return len(self._times)

    async def take(self, key: str, limit: int) -> float:
        now = self._clock()
        self._forget(now)
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = array("d")
        del times[: bisect_right(times, now - WINDOW_SECONDS)]
        if len(times) >= limit:
            return times[-limit] + WINDOW_SECONDS - now
        times.append(now)
        self._times.move_to_end(key)
        if len(self._times) > self._most_persons:
            self._times.popitem(last=False)
        return 0.0

    def _forget(self, now: float) -> None:
        for _ in range(FORGOTTEN_AT_ONCE):
            oldest = next(iter(self._times), None)
            if oldest is None or self._times[oldest][-1] > now - WINDOW_SECONDS:
                return
            del self._times[oldest]
