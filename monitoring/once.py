"""Work that many ask for and that is done once: they share one run, and its outcome for a while."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

LONG_SECONDS, LONGEST_REST_SECONDS = 0.1, 10.0


class Shared(Generic[T]):
    """`make` runs at most once in `seconds`, however many ask; all get what the last run returned or raised.

    With `rests`, a run that took long and returned is followed by so many times as long without another, 10 s at most.
    An asker that goes away does not stop the run. Each event loop has its own.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], seconds: float, *, rests: float = 0.0) -> None:
        self._make, self._seconds, self._rests = make, seconds, rests
        self._runs: dict[asyncio.AbstractEventLoop, tuple[asyncio.Task[T], float]] = {}
        self._next_at: dict[asyncio.AbstractEventLoop, float] = {}

    async def get(self) -> T:
        """The outcome of the run under way, of one younger than `seconds`, or of a new one."""
        loop = asyncio.get_running_loop()
        task, begun = self._runs.get(loop, (None, 0.0))
        may_run = loop.time() >= max(begun + self._seconds, self._next_at.get(loop, 0.0))
        if task is None or task.cancelled() or (task.done() and may_run):
            self._runs = {other: run for other, run in self._runs.items() if not other.is_closed()}
            self._next_at = {
                other: at for other, at in self._next_at.items() if other in self._runs and other is not loop
            }
            # A context of its own: what the run leaves for later must not hang on the request that asked first.
            task = loop.create_task(self._run(), context=contextvars.Context())
            self._runs[loop] = task, loop.time()
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Drop every outcome, so that the next asker gets a fresh one."""
        self._runs = {loop: run for loop, run in self._runs.items() if not run[0].done()}
        self._next_at = {}

    async def _run(self) -> Any:
        loop = asyncio.get_running_loop()
        began = loop.time()
        made = await self._make()
        if (took := loop.time() - began) >= LONG_SECONDS:
            self._next_at[loop] = loop.time() + min(self._rests * took, LONGEST_REST_SECONDS)
        return made
