"""A circuit breaker as a value: closed, open, half-open. Needs no Django; whoever keeps it says what time it is.

Kept in a row that all workers share, it holds for all of them (`gdrive/circuits.py`). The database's own breaker
(`directdrivex/databases`) is another thing: it hands out patience to threads of one process, and cannot be kept in what
it guards.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

# One at a time tries while it is half-open. Another may after this long, should the outcome get lost.
TRY = timedelta(seconds=30)


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Temper:
    """How soon a circuit opens, after so many failures in a row, and for how long: `first`, doubled up to `longest`."""

    failures: int
    first: timedelta
    longest: timedelta


@dataclass(frozen=True)
class Circuit:
    """`failures` in a row, the first of them at `since`; open until `retry_at`, then somebody is `trying`."""

    failures: int = 0
    since: datetime | None = None
    openings: int = 0
    retry_at: datetime | None = None
    trying: bool = False

    def state(self, now: datetime) -> State:
        if self.retry_at is None:
            return State.CLOSED
        return State.HALF_OPEN if now >= self.retry_at else State.OPEN

    def tried(self, now: datetime) -> "Circuit":
        """Somebody goes through a half-open one; for everybody else it is open until that is decided, or `TRY` over."""
        return replace(self, retry_at=now + TRY, trying=True)

    def failed(self, now: datetime, temper: Temper, *, at_once: bool = False) -> "Circuit":
        """One failure more; `at_once` opens it whatever came before."""
        failed = replace(self, failures=self.failures + 1, since=self.since or now)
        if self.state(now) is State.OPEN and not self.trying:
            return failed  # of somebody who was under way when it opened: that makes it no worse
        if self.retry_at is None and not at_once and failed.failures < temper.failures:
            return failed
        pause = min(temper.first * 2**self.openings, temper.longest)
        return replace(failed, openings=self.openings + 1, retry_at=now + pause, trying=False)

    def on_probation(self, temper: Temper) -> "Circuit":
        """A question was answered: work may be tried, and the next failure opens it again, for longer."""
        return replace(self, failures=min(self.failures, temper.failures - 1), retry_at=None, trying=False)

    def worked(self) -> "Circuit":
        """Work was done."""
        return Circuit()
