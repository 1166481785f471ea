"""Answers that many poll for: one is made at a time for each key, and making them has no more than its share of time.

Needs no Django.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Slot = tuple[asyncio.AbstractEventLoop, str]

SHARE = 0.2  # of a processor, for each key
LONGEST_REST_SECONDS = 1.0


class Polled(Generic[T]):
    """`make(key)` for all who ask. Who comes while one is being made gets the next: it tells of all that was before.

    The next is not begun before the last one has been paid for in rest. An asker that goes away stops nothing.
    """

    def __init__(self, make: Callable[[str], Awaitable[T]]) -> None:
        self._make = make
        self._running: dict[Slot, asyncio.Task[T]] = {}
        self._next: dict[Slot, asyncio.Task[T]] = {}
        self._rests_until: dict[Slot, float] = {}

    async def get(self, key: str) -> T:
        """What `make` returns or raises, begun after this call."""
        loop = asyncio.get_running_loop()
        slot = (loop, key)
        coming = self._next.get(slot)
        if coming is None:
            coming = self._next[slot] = loop.create_task(self._run(slot))
        return await asyncio.shield(coming)

    async def _run(self, slot: Slot) -> T:
        loop, key = slot
        if running := self._running.get(slot):
            await asyncio.wait({running})
        if (rest := self._rests_until.get(slot, 0.0) - loop.time()) > 0:
            await asyncio.sleep(rest)
        self._running[slot] = self._next.pop(slot)
        began = loop.time()
        try:
            return await self._make(key)
        finally:
            del self._running[slot]
            rest = min(LONGEST_REST_SECONDS, (loop.time() - began) * (1 / SHARE - 1))
            until = self._rests_until[slot] = loop.time() + rest
            loop.call_later(rest, self._forget, slot, until)

    def _forget(self, slot: Slot, until: float) -> None:
        if self._rests_until.get(slot) == until:
            del self._rests_until[slot]
