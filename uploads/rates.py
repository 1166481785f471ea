"""How often one person may do a thing within a minute or a day: a moving window, exact to the request. Needs no Django.

A store that several processes share can stand behind the same port.
"""

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Protocol

WINDOW_SECONDS, DAY_SECONDS = 60.0, 86_400.0
MOST_PERSONS = 100_000
FORGOTTEN_AT_ONCE = 16


class RateStore(Protocol):
    """Counts what persons do, each by a key, within a window of so many seconds: a key has the same one every time."""

    async def take(self, key: str, limit: int, window: float = WINDOW_SECONDS, *, cost: int = 1) -> float:
        """Count one more for `key`, or one that is as good as `cost`, unless that is over `limit` in the window.

        Returns 0 where it was counted, else the seconds after which it will be. What is refused does not count, so that
        waiting so long is enough. What costs more than the limit costs the limit.
        """
        ...

    async def counted(self, key: str, limit: int, window: float = WINDOW_SECONDS) -> int:
        """How many were counted for `key`, with this limit, in the window that ends now."""
        ...

    async def take_back(self, key: str, limit: int, window: float = WINDOW_SECONDS) -> None:
        """Count one less for `key`, with this limit: the last one. Where none is counted, nothing happens."""
        ...


class MemoryRateStore:
    """The counts of one process.

    Its memory is bounded, whoever comes: a number for each request of a window, and at most `most_persons` keys of each
    window. Beyond those the one not seen for longest is forgotten. Nothing walks over all of them: what is over is
    dropped from the old end, a few with each call.
    """

    def __init__(self, most_persons: int = MOST_PERSONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_persons, self._clock = most_persons, clock
        # In each the key that was counted last is last.
        self._windows: defaultdict[float, OrderedDict[str, array[float]]] = defaultdict(OrderedDict)

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    async def take(self, key: str, limit: int, window: float = WINDOW_SECONDS, *, cost: int = 1) -> float:
        now, times = self._clock(), self._times(key, window)
        cost = min(cost, limit)
        if (over := len(times) + cost - limit) > 0:
            return times[over - 1] + window - now
        times.extend([now] * cost)
        known = self._windows[window]
        known[key] = times
        known.move_to_end(key)
        if len(known) > self._most_persons:
            known.popitem(last=False)
        return 0.0

    async def counted(self, key: str, limit: int, window: float = WINDOW_SECONDS) -> int:
        return min(limit, len(self._times(key, window)))

    async def take_back(self, key: str, limit: int, window: float = WINDOW_SECONDS) -> None:
        times = self._times(key, window)
        if times:
            times.pop()
        if not times:
            self._windows[window].pop(key, None)

    def _times(self, key: str, window: float) -> "array[float]":
        """What is counted of this key by now; one that is not known is not kept for being asked for."""
        now = self._clock()
        self._forget(now, window)
        times = self._windows[window].get(key, array("d"))
        del times[: bisect_right(times, now - window)]
        return times

    def _forget(self, now: float, window: float) -> None:
        known = self._windows[window]
        for _ in range(FORGOTTEN_AT_ONCE):
            oldest = next(iter(known), None)
            if oldest is None or (known[oldest] and known[oldest][-1] > now - window):
                return
            del known[oldest]
