"""The slot port within one process: all state belongs to one event loop, so that a verb without `await` is atomic."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import Protocol

from quotas.rules import SlotLimits
from uploads.slots.audit import compare_books, lapsed, who_is_next
from uploads.slots.books import Books
from uploads.slots.entry import Entry
from uploads.slots.manager import (
    PLACES_PER_PERSON,
    POLL_SECONDS,
    Absent,
    Claim,
    Granted,
    LeaseView,
    QueueFullError,
    SlotManager,
    SlotSnapshot,
    Standing,
    TicketView,
    Waiting,
    WaitingFor,
)


class Admits(Protocol):
    """Whether memory allows one more upload (`admission.Admission`). Sizes in bytes."""

    @property
    def ceiling(self) -> int:
        """What all windows together may come to."""

    def admits(self, window: int, promised: int) -> bool:
        """May an upload of `window` run beside those whose windows sum up to `promised`?"""


class MemorySlotManager(SlotManager):
    """Slots and line of one process. `limits` gives those in force now; `clock` counts seconds and never goes back."""

    def __init__(
        self,
        limits: Callable[[], SlotLimits],
        admission: Admits,
        *,
        lease_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._admission = limits, admission
        self._lease_seconds, self._clock = lease_seconds, clock
        self._books = Books()
        self._news: dict[str, asyncio.Event] = {}  # set when the standing of the upload's present owner changed
        # The last time that slots were granted, the limits that it went by, and whether memory ended it.
        self._granted_at, self._memory_refused = clock(), False
        self._granted_by: SlotLimits | None = None

    # --- the verbs of the port ---

    async def acquire(self, claim: Claim) -> Granted | Waiting:
        now = self._now()
        entry = self._books.entries.get(claim.upload_id)
        if entry is None:
            entry = self._enter(claim, now)
        elif entry.owner != claim.owner or not entry.connected:
            self._take_over(entry, claim.owner, now)
        return self._claimed(entry, now)

    async def standing(self, upload_id: str, owner: str) -> Standing:
        now = self._now()
        entry = self._owned(upload_id, owner)
        if entry is None:
            return Absent()
        if entry.absent:
            self._books.move(entry, absent=False)
            self._grant(now)
        return self._claimed(entry, now)

    async def standings(self, holders: Sequence[tuple[str, str]]) -> list[Standing]:
        return [await self.standing(upload_id, owner) for upload_id, owner in holders]

    async def changed(self, upload_id: str, owner: str, timeout: float) -> bool:
        if self._owned(upload_id, owner) is None:
            await asyncio.sleep(0)  # a caller that asks again and again must not hold up the loop
            return True
        try:
            async with asyncio.timeout(timeout):
                return await self._news[upload_id].wait()
        except TimeoutError:
            return False

    async def renew(self, holders: Iterable[tuple[str, str]]) -> set[str]:
        now = self._now()
        gone = set()
        for upload_id, owner in holders:
            entry = self._owned(upload_id, owner)
            if entry is None:
                gone.add(upload_id)
            elif entry.connected:
                entry.expires_at = now + self._lease_seconds
        return gone

    async def release(self, upload_id: str, owner: str) -> bool:
        now = self._now()
        return self._end(self._owned(upload_id, owner), now)

    async def detach(self, upload_id: str, owner: str, seconds: float) -> None:
        now = self._now()
        entry = self._owned(upload_id, owner)
        if entry is not None and entry.connected:
            entry.connected, entry.expires_at = False, now + seconds
            self._books.watch(entry)

    async def postpone(self, upload_id: str, owner: str, seconds: float) -> bool:
        now = self._now()
        entry = self._owned(upload_id, owner)
        if entry is None:
            return False
        if entry.holds:
            self._books.back_to_line(entry, now)
        self._books.move(entry, absent=False, stored_from=now + seconds if seconds else 0.0)
        self._news[upload_id].set()
        self._grant(now)
        return True

    async def take_away(self, upload_id: str) -> bool:
        now = self._now()
        return self._end(self._books.entries.get(upload_id), now)

    async def pause(self, upload_id: str) -> bool:
        now = self._now()
        entry = self._books.entries.get(upload_id)
        if entry is None:
            return False
        if entry.holds:
            self._books.back_to_line(entry, now, paused=True)
        else:
            self._books.move(entry, paused=True)
        self._news[upload_id].set()
        self._grant(now)
        return True

    async def unpause(self, upload_id: str) -> bool:
        now = self._now()
        entry = self._books.entries.get(upload_id)
        if entry is None or not entry.paused:
            return False
        self._books.move(entry, paused=False)
        self._news[upload_id].set()
        self._grant(now)
        return True

    async def to_front(self, upload_id: str) -> bool:
        now = self._now()
        entry = self._books.entries.get(upload_id)
        if entry is None or entry.holds:
            return False
        self._books.to_front(entry)
        self._news[upload_id].set()
        self._grant(now)
        return True

    async def tick(self) -> None:
        self._grant(self._now())

    async def find_all(self, upload_ids: Sequence[str]) -> dict[str, LeaseView | TicketView]:
        now, known = self._now(), self._books.entries
        entries = [known[upload_id] for upload_id in upload_ids if upload_id in known]
        return {
            entry.upload_id: self._lease_view(entry, now) if entry.holds else self._ticket_view(entry, now)
            for entry in entries
        }

    async def snapshot(self) -> SlotSnapshot:
        now, limits = self._now(), self._limits()
        waiting = (self._books.entries[place.upload_id] for place in self._books.line.in_order())
        return SlotSnapshot(
            backend="memory",
            healthy=True,
            total=limits.all_uploads,
            per_person=limits.per_person,
            leases=tuple(self._lease_view(entry, now) for entry in self._books.leases.values()),
            tickets=tuple(self._ticket_view(entry, now) for entry in waiting),
        )

    async def check(self) -> list[str]:
        now, books = self._now(), self._books
        leases = [entry for entry in books.entries.values() if entry.holds]
        return [
            *books.audit.compare_caps(leases),
            *books.audit.compare_grants(leases, books.last_fence),
            *lapsed(books.entries.values(), now),
            *compare_books(books.entries, books.line, books.promised),
            *self._idle(now),
        ]

    async def repair(self) -> list[str]:
        if not (found := await self.check()):
            return []
        now, books = self._clock(), self._books
        books.audit.limits_in_force(self._limits(), self._admission.ceiling, now)
        oldest = min((entry.since for entry in books.entries.values() if entry.holds), default=now)
        done = [f"Found: {violation}" for violation in found]
        done += books.rebuild(now, books.audit.highest_caps_since(oldest))
        for upload_id in self._news.keys() - books.entries.keys():
            self._news.pop(upload_id).set()
        for upload_id in books.entries:
            self._news.setdefault(upload_id, asyncio.Event()).set()
        self._grant(now)
        return done + [f"Still so: {violation}" for violation in await self.check()]

    async def close(self) -> None:
        pass

    # --- the steps that they are made of ---

    def _now(self) -> float:
        """The time, once everything that has lapsed by then is gone."""
        now, freed = self._clock(), False
        for upload_id in self._books.deadlines.due(now):
            entry = self._books.entries[upload_id]
            if entry.expires_at <= now:
                self._drop(entry, now)
                freed = True
            elif entry.deadline() <= now:  # nobody claimed the grant: the place is kept, the slot goes to the next
                self._books.back_to_line(entry, now, absent=True)
                self._books.watch(entry)
                self._news[upload_id].set()
                freed = True
            else:
                self._books.watch(entry)
        if freed:
            self._grant(now)
        return now

    def _owned(self, upload_id: str, owner: str) -> Entry | None:
        entry = self._books.entries.get(upload_id)
        return entry if entry is not None and entry.owner == owner else None

    def _enter(self, claim: Claim, now: float) -> Entry:
        entry = self._books.enter(claim, now, now + self._lease_seconds)
        self._news[entry.upload_id] = asyncio.Event()
        self._grant(now)
        if not entry.holds:
            crowded = self._books.line.places[entry.person] > PLACES_PER_PERSON
            if crowded or len(self._books.line) > self._limits().queued:
                self._drop(entry, now)
                raise QueueFullError("person" if crowded else "all")
        return entry

    def _take_over(self, entry: Entry, owner: str, now: float) -> None:
        self._news[entry.upload_id].set()  # the older owner looks, and finds itself absent
        self._news[entry.upload_id] = asyncio.Event()
        entry.owner, entry.connected, entry.expires_at = owner, True, now + self._lease_seconds
        if entry.holds:
            self._books.new_fence(entry)
        elif entry.absent or entry.stored_from:
            self._books.move(entry, absent=False, stored_from=0.0)
            self._grant(now)

    def _claimed(self, entry: Entry, now: float) -> Granted | Waiting:
        """The entry's standing as its owner is told it, who by that claims what was granted."""
        self._news[entry.upload_id].clear()
        if entry.holds:
            entry.claim_by, entry.front = None, 0
            return Granted(entry.fence, self._lease_seconds)
        reason = self._waiting_for(entry)
        return Waiting(self._books.line.position(entry), reason, self._eta(entry, reason, now))

    def _grant(self, now: float) -> None:
        """Grant slots for as long as one is free, somebody can run and memory allows it."""
        limits, books = self._limits(), self._books
        books.audit.limits_in_force(limits, self._admission.ceiling, now)
        self._granted_at, self._granted_by, self._memory_refused = now, limits, False
        while len(books.leases) < limits.all_uploads and (place := books.line.next(limits.per_person)) is not None:
            entry = books.entries[place.upload_id]
            if not self._admission.admits(entry.window, books.promised):
                self._memory_refused = True
                return
            books.grant(entry, now)
            self._news[entry.upload_id].set()

    def _end(self, entry: Entry | None, now: float) -> bool:
        if entry is None:
            return False
        self._drop(entry, now)
        self._grant(now)
        return True

    def _drop(self, entry: Entry, now: float) -> None:
        self._books.drop(entry, now)
        self._news.pop(entry.upload_id).set()

    # --- looking at the state ---

    def _waiting_for(self, entry: Entry) -> WaitingFor:
        limits = self._limits()
        if entry.paused:
            return WaitingFor.PAUSED
        if entry.stored_from:
            return WaitingFor.STORAGE
        if self._books.line.granted[entry.person] >= limits.per_person:
            return WaitingFor.USER_SLOTS
        if self._memory_refused and len(self._books.leases) < limits.all_uploads:
            return WaitingFor.MEMORY
        return WaitingFor.GLOBAL_SLOTS

    def _eta(self, entry: Entry, reason: WaitingFor, now: float) -> int | None:
        line, turnover = self._books.line, self._books.turnover
        if reason is WaitingFor.USER_SLOTS:
            return turnover.seconds(line.position_among_own(entry), now, entry.person)
        if reason is WaitingFor.STORAGE:
            return max(0, ceil(entry.stored_from - now))
        if reason is WaitingFor.GLOBAL_SLOTS:
            return turnover.seconds(line.position(entry), now)
        return None  # neither an admin's pause nor the machine's memory has a timetable

    def _lease_view(self, entry: Entry, now: float) -> LeaseView:
        held, left = now - entry.since, entry.expires_at - now
        return LeaseView(entry.upload_id, entry.person, entry.window, entry.fence, held, left, entry.connected)

    def _ticket_view(self, entry: Entry, now: float) -> TicketView:
        position, reason = self._books.line.position(entry), self._waiting_for(entry)
        eta, waited = self._eta(entry, reason, now), now - entry.since
        return TicketView(entry.upload_id, entry.person, position, reason, waited, eta, entry.connected)

    def _idle(self, now: float) -> Iterable[str]:
        """Invariant 4: granting leaves nobody behind who could run; limits and memory bite within one poll."""
        overdue = now - self._granted_at > 2 * POLL_SECONDS
        limits = self._limits() if overdue else self._granted_by
        if limits is None or (self._memory_refused and not overdue):
            return
        able = who_is_next(self._books.entries.values(), limits)
        if able is not None and self._admission.admits(able.window, self._books.promised):
            yield f"A slot is free, and {able.upload_id} could run but waits."
