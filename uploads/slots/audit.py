"""A second set of books on the slots in one process's memory, and the comparison of both (slots.md, `check()`)."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from quotas.rules import SlotLimits
from uploads.slots.entry import Entry
from uploads.slots.line import Line


@dataclass(frozen=True)
class Grant:
    person: str
    window: int
    fence: int
    at: float


@dataclass(frozen=True)
class Caps:
    """The most that may be held: slots of all, slots of one person, bytes of all windows."""

    all: int
    person: int
    bytes: int


class Audit:
    """Every grant as it was made, and every cap as it was in force; written beside the manager's own books."""

    def __init__(self) -> None:
        self.grants: dict[str, Grant] = {}
        self._caps: list[tuple[float, Caps]] = []  # each with the moment from which it was in force

    def limits_in_force(self, limits: SlotLimits, ceiling: int, now: float) -> None:
        caps = Caps(limits.all_uploads, limits.per_person, ceiling)
        if not self._caps or self._caps[-1][1] != caps:
            oldest = min((grant.at for grant in self.grants.values()), default=now)
            # Of what was in force before the oldest present lease, only the last can still have been in force with it.
            earlier = [index for index, (since, _) in enumerate(self._caps) if since < oldest]
            self._caps = [*self._caps[earlier[-1] if earlier else 0 :], (now, caps)]

    def granted(self, entry: Entry, now: float) -> None:
        self.grants[entry.upload_id] = Grant(entry.person, entry.window, entry.fence, now)

    def taken_over(self, entry: Entry) -> None:
        old = self.grants[entry.upload_id]
        self.grants[entry.upload_id] = Grant(old.person, old.window, entry.fence, old.at)

    def ended(self, upload_id: str) -> None:
        self.grants.pop(upload_id, None)

    def highest_caps_since(self, moment: float) -> Caps:
        """The highest of each cap that were in force at `moment` or later."""
        ends = [since for since, _ in self._caps[1:]] + [float("inf")]
        in_force = [caps for (_, caps), end in zip(self._caps, ends, strict=True) if end >= moment]
        return Caps(
            max(caps.all for caps in in_force),
            max(caps.person for caps in in_force),
            max(caps.bytes for caps in in_force),
        )

    def compare_grants(self, leases: Collection[Entry], last_fence: int) -> Iterable[str]:
        """Invariant 2: one lease an upload, with the fence that was granted."""
        return differ_from_grants(leases, self.grants, last_fence)

    def compare_caps(self, leases: Collection[Entry]) -> Iterable[str]:
        """Invariant 1, with the highest caps in force since the oldest present lease."""
        yield from above_caps(leases, self._granted_at, self.highest_caps_since)
        if leases:
            yield from above_ceiling(leases, self.highest_caps_since(min(map(self._granted_at, leases))).bytes)

    def _granted_at(self, entry: Entry) -> float:
        grant = self.grants.get(entry.upload_id)
        return grant.at if grant else entry.since


def differ_from_grants(leases: Collection[Entry], grants: Mapping[str, Grant], last_fence: int) -> Iterable[str]:
    """Invariant 2: one lease an upload, as it was granted, and with a fence of its own."""
    held = {entry.upload_id: entry for entry in leases}
    for upload_id in grants.keys() - held.keys():
        yield f"The lease of {upload_id} vanished without being released."
    for upload_id, entry in held.items():
        grant = grants.get(upload_id)
        if grant is None:
            yield f"{upload_id} holds a lease that was never granted."
        elif (grant.person, grant.window, grant.fence) != (entry.person, entry.window, entry.fence):
            yield f"The lease of {upload_id} is not as it was granted."
        if not entry.owner:
            yield f"The lease of {upload_id} has no owner."
    if len({entry.fence for entry in leases}) != len(leases):
        yield "Two leases have the same fence."
    if any(entry.fence > last_fence for entry in leases):
        yield "A lease has a fence that was not given out yet."


def above_caps(
    leases: Collection[Entry], granted_at: Callable[[Entry], float], highest_since: Callable[[float], Caps]
) -> Iterable[str]:
    """Invariant 1, in numbers: of all, and of each person."""
    if not leases:
        return
    caps = highest_since(min(map(granted_at, leases)))
    if len(leases) > caps.all:
        yield f"{len(leases)} leases are held, and at most {caps.all} were allowed."
    for person, count in Counter(entry.person for entry in leases).items():
        caps = highest_since(min(granted_at(entry) for entry in leases if entry.person == person))
        if count > caps.person:
            yield f"{person} holds {count} leases, and at most {caps.person} were allowed."


def above_ceiling(leases: Collection[Entry], ceiling: int) -> Iterable[str]:
    """Invariant 1, in bytes. One window alone may be above the ceiling: its upload would never run otherwise."""
    if (promised := sum(entry.window for entry in leases)) > ceiling and len(leases) > 1:
        yield f"Windows of {promised} bytes are promised, above the ceiling of {ceiling}."


def lapsed(entries: Iterable[Entry], now: float) -> Iterable[str]:
    """Invariant 3: nothing outlives its time."""
    for entry in entries:
        if entry.deadline() <= now:
            what = "lease" if entry.holds else "place"
            yield f"The {what} of {entry.upload_id} lapsed {now - entry.deadline():.0f} s ago and is still there."


def compare_books(entries: dict[str, Entry], line: Line, promised: int) -> Iterable[str]:
    """The counters and orders that grants are made by, against a recount."""
    waiting = sorted((entry for entry in entries.values() if not entry.holds), key=lambda entry: entry.key)
    leases = [entry for entry in entries.values() if entry.holds]
    for key in [key for key, entry in entries.items() if key != entry.upload_id]:
        yield f"{entries[key].upload_id} is kept under the name of {key}."
    if [place.upload_id for place in line.in_order()] != [entry.upload_id for entry in waiting]:
        yield "The order of the line is not that of the places."
    if line.granted != Counter(entry.person for entry in leases):
        yield "The count of slots held by each person is wrong."
    if line.places != Counter(entry.person for entry in waiting):
        yield "The count of places held by each person is wrong."
    if promised != sum(entry.window for entry in leases):
        yield f"{promised} bytes are counted as promised, which is not the sum of the windows."


def who_is_next(entries: Collection[Entry], limits: SlotLimits) -> Entry | None:
    """Invariant 5 by brute force: who would get a slot that is free now, memory aside; None if none is, or nobody."""
    granted = Counter(entry.person for entry in entries if entry.holds)
    if granted.total() >= limits.all_uploads:
        return None
    able = [e for e in entries if not e.holds and e.can_run and granted[e.person] < limits.per_person]
    return min(able, key=lambda e: (e.front, 0 if e.front else granted[e.person], e.ticket), default=None)
