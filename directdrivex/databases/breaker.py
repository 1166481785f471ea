"""How long whoever needs the database waits for it, and who is spared the wait. Needs no Django.

A database that is locked, frozen or gone must not hold every thread of the server for as long as it is away. The first
to meet it wait for `PATIENCE_SECONDS`; once they have waited in vain, all others are refused at once, but for one at a
time who tries again for `TRY_SECONDS`. As soon as one of these is served, so is everybody.
"""

import threading
import time
from collections.abc import Callable

PATIENCE_SECONDS = 10.0
TRY_SECONDS = 2.0
BETWEEN_TRIES_SECONDS = 1.0


class Breaker:
    """For one process; `clock` counts seconds and never goes back. Commands wait as long as they must: not `on`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.on = False
        self._clock = clock
        self._guard = threading.Lock()
        self._failing_since: float | None = None
        self._next_try = 0.0

    @property
    def failing(self) -> bool:
        """The last to ask waited in vain."""
        return self._failing_since is not None

    def patience(self) -> float | None:
        """How many seconds the caller may wait for the database now; None: not at all, it is away."""
        with self._guard:
            now = self._clock()
            if self._failing_since is None:
                return PATIENCE_SECONDS
            if now < self._next_try:
                return None
            # Whoever tries reports how it went; the next may try without a report too, should this one get lost.
            self._next_try = now + 2 * TRY_SECONDS + BETWEEN_TRIES_SECONDS
            return TRY_SECONDS

    def failed(self) -> None:
        """Somebody waited in vain."""
        if not self.on:
            return
        with self._guard:
            now = self._clock()
            if self._failing_since is None:
                self._failing_since = now
            self._next_try = now + BETWEEN_TRIES_SECONDS

    def worked(self) -> None:
        """Somebody was served."""
        self._failing_since = None

    def why(self) -> str:
        """What whoever is refused is told."""
        since = self._failing_since
        return f"the database has not answered for {self._clock() - since:.0f} s" if since is not None else ""


breaker = Breaker()
