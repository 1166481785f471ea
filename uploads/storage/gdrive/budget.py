"""Which account takes a new file, or from when on one can. Needs no Django.

Drive takes 750 GB a day from one user, and then nothing for 24 hours; what has begun may end (a file of more than a
day's budget too, if nothing came before it). So the budget is that of the last 24 hours, counted by the hour in which
bytes were stored, and a new file goes only where all of it fits beside what running uploads have reserved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)
# What Drive takes from one user in a day, in bytes.
DRIVE_DAY_BYTES = 750 * 10**9


@dataclass(frozen=True)
class Spent:
    """So many bytes were stored in the hour that began at `hour`."""

    hour: datetime
    length: int

    @property
    def over_at(self) -> datetime:
        """When the last of them no longer counts."""
        return self.hour + HOUR + DAY


@dataclass(frozen=True)
class Standing:
    """What is known of one account at a moment; sizes in bytes.

    `room`: what it could store beyond its reserve and what is reserved already, None where nobody knows. `reserved`: of
    the day, for running uploads. `refused_until`: Drive said that the day is over. `full_until`: Drive said that there
    is no room, whatever `room` says; asked again then. `failing_until`: its circuit is open, or somebody is trying it;
    `broken`: that will help only once an admin has done something.
    """

    id: int
    on: bool = True
    priority: int = 1
    room: int | None = None
    day_bytes: int = DRIVE_DAY_BYTES
    spent: Sequence[Spent] = ()
    reserved: int = 0
    refused_until: datetime | None = None
    full_until: datetime | None = None
    failing_until: datetime | None = None
    broken: bool = False

    def used(self, now: datetime) -> int:
        """What the last 24 hours hold, with what is reserved."""
        return self.reserved + sum(spent.length for spent in self.spent if spent.over_at > now)

    def left(self, now: datetime) -> int:
        return max(0, self.day_bytes - self.used(now))

    def has_room(self, size: int, now: datetime) -> bool:
        full = self.full_until is not None and now < self.full_until
        return not full and (self.room is None or size <= self.room)

    def fails(self, now: datetime) -> bool:
        return self.failing_until is not None and now < self.failing_until

    def takes_from(self, size: int, now: datetime) -> datetime:
        """When the day's budget has place for `size` bytes: `now`, or later."""
        earliest = max(now, self.refused_until or now)
        # What is reserved will be stored in the hours to come, and then counts for a day: nobody knows it better.
        counting = sorted((spent for spent in self.spent if spent.over_at > earliest), key=lambda spent: spent.hour)
        used = self.reserved + sum(spent.length for spent in counting)
        for spent in counting:
            if self._fits(size, used):
                return earliest
            used, earliest = used - spent.length, spent.over_at
        return earliest if self._fits(size, used) else now + HOUR + DAY

    def _fits(self, size: int, used: int) -> bool:
        return used + size <= self.day_bytes or used == 0


@dataclass(frozen=True)
class Chosen:
    id: int


@dataclass(frozen=True)
class WaitUntil:
    """Only budgets (or a circuit that is tried again before) are in the way, until then."""

    until: datetime


@dataclass(frozen=True)
class Failing:
    """All that have the room are failing, the first to be tried again at `retry_at`; None where all are off."""

    retry_at: datetime | None


@dataclass(frozen=True)
class Full:
    """None has the room."""


Choice = Chosen | WaitUntil | Failing | Full


def choose(accounts: Iterable[Standing], size: int, now: datetime, avoid: frozenset[int] = frozenset()) -> Choice:
    """Where a new file of `size` bytes goes: by priority, then where most is left of room and day.

    None of `avoid` is chosen, but what they could do later counts.
    """
    on = [account for account in accounts if account.on]
    if not on:
        return Failing(None)
    able = [account for account in on if account.has_room(size, now)]
    if not able:
        return Full()
    from_when = {account.id: account.takes_from(size, now) for account in able}
    ready = [account for account in able if from_when[account.id] <= now and not account.fails(now)]
    if wanted := [account for account in ready if account.id not in avoid]:
        return Chosen(min(wanted, key=lambda account: _rank(account, now)).id)
    if ready:
        return Failing(None)  # it failed for this upload only just now
    # When one that an admin has to mend is tried again says nothing of when a file can go anywhere.
    hopeful = [account for account in able if not account.broken] or able
    later = [max(from_when[account.id], account.failing_until or now) for account in hopeful]
    spent = any(from_when[account.id] > now for account in hopeful)
    return WaitUntil(min(later)) if spent else Failing(min(later))


def _rank(account: Standing, now: datetime) -> tuple[int, int, int]:
    """The least goes first. Where the room is not known, the day alone says how much is left."""
    left = account.left(now)
    return account.priority, -(left if account.room is None else min(account.room, left)), account.id
