"""The state of the memory backend, changed by steps that keep its entries, counts, order and audit in agreement."""

from collections.abc import Iterator

from uploads.slots.audit import Audit, Caps
from uploads.slots.deadlines import Deadlines
from uploads.slots.entry import Entry
from uploads.slots.eta import Turnover
from uploads.slots.line import Line
from uploads.slots.manager import CLAIM_SECONDS, Claim


class Books:
    """Entries by upload id; the leases among them, in the order of their grants; the line; the windows promised."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.leases: dict[str, Entry] = {}
        self.line, self.audit = Line(), Audit()
        self.turnover, self.deadlines = Turnover(), Deadlines()
        self.promised = self.last_fence = self._last_ticket = self._last_front = 0

    def enter(self, claim: Claim, now: float, expires_at: float) -> Entry:
        self._last_ticket += 1
        entry = Entry(
            claim.upload_id,
            claim.person,
            self._last_ticket,
            owner=claim.owner,
            window=claim.window,
            since=now,
            expires_at=expires_at,
        )
        self.entries[entry.upload_id] = entry
        self.line.add(entry)
        self.watch(entry)
        return entry

    def watch(self, entry: Entry) -> None:
        """Note when the entry may lapse."""
        self.deadlines.watch(entry.upload_id, entry.deadline())

    def grant(self, entry: Entry, now: float) -> None:
        self.line.remove(entry)
        self.last_fence += 1
        entry.fence, entry.since, entry.claim_by = self.last_fence, now, now + CLAIM_SECONDS
        self._count_lease(entry, now)
        self.watch(entry)

    def new_fence(self, entry: Entry) -> None:
        """The lease has a new owner, whose writes must win over what the older one still has under way."""
        self.last_fence += 1
        entry.fence = self.last_fence
        self.audit.taken_over(entry)

    def back_to_line(self, entry: Entry, now: float, *, paused: bool = False, absent: bool = False) -> None:
        """End a lease; the upload waits again, with the ticket that it had."""
        self._end_lease(entry)
        if not absent:
            self.turnover.released(entry.person, now)
        entry.since, entry.paused, entry.absent = now, paused, absent
        self.line.add(entry)

    def move(
        self,
        entry: Entry,
        *,
        paused: bool | None = None,
        absent: bool | None = None,
        stored_from: float | None = None,
    ) -> None:
        """Change what a waiting entry is."""
        self.line.remove(entry)
        entry.paused = entry.paused if paused is None else paused
        entry.absent = entry.absent if absent is None else absent
        entry.stored_from = entry.stored_from if stored_from is None else stored_from
        self.line.add(entry)

    def to_front(self, entry: Entry) -> None:
        self.line.remove(entry)
        self._last_front -= 1
        entry.front = self._last_front
        self.line.add(entry)

    def drop(self, entry: Entry, now: float) -> None:
        """End the lease or the place, whichever it is."""
        if entry.holds:
            self._end_lease(entry)
            self.turnover.released(entry.person, now)
        else:
            self.line.remove(entry)
        del self.entries[entry.upload_id]
        self.deadlines.forget(entry.upload_id)
        if not (self.line.granted[entry.person] or self.line.places[entry.person]):
            self.turnover.forget(entry.person)

    def rebuild(self, now: float, caps: Caps) -> Iterator[str]:
        """Make everything anew from the entries, and say what changed of these; no more are kept than `caps` allow."""
        kept = [entry for entry in self.entries.values() if entry.deadline() > now]
        for entry in self.entries.values():
            if entry.deadline() <= now:
                yield f"Ended the lapsed {'lease' if entry.holds else 'place'} of {entry.upload_id}."
        self.entries = {entry.upload_id: entry for entry in kept}
        self.line, self.deadlines, self.leases, self.promised = Line(), Deadlines(), {}, 0
        self.audit.grants.clear()
        self.last_fence = max([self.last_fence, *(entry.fence for entry in kept)])
        fences: set[int] = set()
        for entry in sorted((entry for entry in kept if entry.holds), key=lambda entry: entry.fence):
            if entry.fence in fences:
                self.last_fence += 1
                entry.fence = self.last_fence
            fences.add(entry.fence)
            in_number = len(self.leases) < caps.all and self.line.granted[entry.person] < caps.person
            in_bytes = not self.leases or self.promised + entry.window <= caps.bytes
            if in_number and in_bytes and entry.owner:
                self._count_lease(entry, entry.since)
            else:
                entry.fence, entry.claim_by, entry.since = 0, None, now
                yield f"Took the slot of {entry.upload_id} back; it waits in line again."
        for entry in self.entries.values():
            if not entry.holds:
                self.line.add(entry)
            self.watch(entry)
        yield "Counted the slots and the places again."

    def _count_lease(self, entry: Entry, now: float) -> None:
        self.leases[entry.upload_id] = entry
        self.line.count_granted(entry.person, +1)
        self.promised += entry.window
        self.audit.granted(entry, now)

    def _end_lease(self, entry: Entry) -> None:
        del self.leases[entry.upload_id]
        self.line.count_granted(entry.person, -1)
        self.promised -= entry.window
        self.audit.ended(entry.upload_id)
        entry.fence, entry.claim_by = 0, None
