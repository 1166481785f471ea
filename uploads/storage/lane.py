"""File work that must keep its order, run in threads. Needs no Django."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

JOBS_A_TURN = 8  # then the other lanes of the same threads have theirs

T = TypeVar("T")


class Lane:
    """Runs one function after the other in a thread of the pool, never two of its own at once.

    A thread takes up the next as soon as one is done. The event loop, which has others to serve, need not say so in
    between: with a pool alone the disk would wait for it after every write.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._jobs: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._busy = False

    def run(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run `function` after all that was given before; its result or its exception is the future's.

        A future that is cancelled keeps the function from running, unless it runs already.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._jobs.append((future, partial(function, *args)))
            idle, self._busy = not self._busy, True
        if idle:
            self._threads.submit(self._work_off)
        return future

    async def drained(self) -> None:
        """Return when nothing runs and nothing waits, be it that its caller was cancelled."""
        if self._busy:
            await self.run(lambda: None)

    def _work_off(self) -> None:
        for _ in range(JOBS_A_TURN):
            with self._lock:
                if not self._jobs:
                    self._busy = False
                    return
                future, job = self._jobs.popleft()
            if not future.cancelled():
                self._work(future, job)
        self._threads.submit(self._work_off)

    @staticmethod
    def _work(future: asyncio.Future[Any], job: Callable[[], Any]) -> None:
        result, failure = None, None
        try:
            result = job()
        except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it
            failure = error
        loop = future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, future, result, failure)


def _settle(future: asyncio.Future[Any], result: Any, failure: Exception | None) -> None:
    if future.cancelled():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
