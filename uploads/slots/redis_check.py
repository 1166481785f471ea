"""The books that Redis keeps of the slots, compared with one another (slots.md, `check()`). Needs no Django."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from quotas.rules import SlotLimits
from uploads.slots.audit import (
    Caps,
    Grant,
    above_caps,
    above_ceiling,
    differ_from_grants,
    lapsed,
    who_is_next,
)
from uploads.slots.entry import Entry
from uploads.slots.replies import Reply, entry, numbers, texts, unpacked

SILENT_AFTER = 5.0  # as in lua/shared/memory.lua
BEHIND_FRONTS = 10**15  # as in lua/shared/line.lua


class Books:
    """The answer of `books`. Entries by the name under which they are kept; moments are seconds of Redis."""

    def __init__(self, reply: Reply) -> None:
        entries, leases, deadlines, unclaimed, waiting, ready, heads, fronts, *rest = reply.answer
        granted, places, nodes, promised, grants, caps, last_fence = rest
        self.now = reply.now
        moments, self.unclaimed = numbers(deadlines), set(texts(unclaimed))
        self.entries = {
            name: entry(fields, moments.get(fields["upload"])) for name, fields in unpacked(entries).items()
        }
        self.deadlines, self.leases = set(moments), numbers(leases)
        self.waiting, self.ready, self.heads, self.fronts = map(texts, (waiting, ready, heads, fronts))
        self.granted, self.places, self.promised = numbers(granted), numbers(places), numbers(promised)
        self.nodes: dict[str, Mapping[str, Any]] = unpacked(nodes)
        self.grants = {
            upload: Grant(grant["person"], grant["window"], grant["fence"], grant["at"] / 1000)
            for upload, grant in unpacked(grants).items()
        }
        self._caps: dict[str, Sequence[Sequence[float]]] = unpacked(caps)
        self.last_fence = int(last_fence)
        self.holders = [entry for entry in self.entries.values() if entry.holds]
        self.places_in_line = [entry for entry in self.entries.values() if not entry.holds]

    def granted_at(self, holder: Entry) -> float:
        grant = self.grants.get(holder.upload_id)
        return grant.at if grant else holder.since

    def highest(self, cap: str, moment: float) -> int:
        """The highest value of this cap that was in force at `moment` or later."""
        in_force = [value for value, until in self._caps.get(cap, ()) if not until or until / 1000 >= moment]
        return int(max(in_force, default=0))

    def caps_since(self, moment: float) -> Caps:
        return Caps(self.highest("all", moment), self.highest("person", moment), 0)

    def on_node(self, node: str) -> list[Entry]:
        return [entry for entry in self.holders if entry.node == node]

    def admits(self, node: str, window: int) -> bool:
        """As lua/shared/memory.lua decides."""
        memory = self.nodes.get(node)
        if memory is None or self.now - memory["at"] / 1000 > SILENT_AFTER:
            return False
        promised = sum(holder.window for holder in self.on_node(node))
        held = sum(held for held, _ in memory["held"].values()) if memory["held"] else 0
        still_to_come = max(0, promised - held)
        return memory["free"] - still_to_come >= window and promised + window <= max(memory["ceiling"], window)


def violations(reply: Reply, limits: SlotLimits) -> Iterator[str]:
    """What breaks the invariants 1 to 4 of slots.md, in words."""
    books = Books(reply)
    yield from differ_from_grants(books.holders, books.grants, books.last_fence)
    yield from lapsed(books.entries.values(), books.now)
    yield from _differ_from_entries(books)
    if reply.recovery_seconds > 0:
        return  # a lease that its holder gave back just before the restart may be there again, until it lapses
    yield from above_caps(books.holders, books.granted_at, books.caps_since)
    for node in sorted({holder.node for holder in books.holders}):
        here = books.on_node(node)
        ceiling = books.highest(f"bytes|{node}", min(books.granted_at(holder) for holder in here))
        yield from above_ceiling(here, ceiling)
    yield from _idle(books, limits)


def _differ_from_entries(books: Books) -> Iterator[str]:
    """The counts and orders that grants are made by, against a recount."""
    for name, kept in books.entries.items():
        if name != kept.upload_id:
            yield f"{kept.upload_id} is kept under the name of {name}."
    uploads = {entry.upload_id for entry in books.entries.values()}
    if books.deadlines != uploads:
        yield "The deadlines are not those of the leases and places."
    if books.leases.keys() != {holder.upload_id for holder in books.holders}:
        yield "The order of the leases is not that of the leases."
    if not books.unclaimed <= books.leases.keys():
        yield "A grant waits for its claim that is none."
    orders = (
        (books.waiting, [_line_member(place) for place in books.places_in_line]),
        (books.ready, [_ready_member(place) for place in books.places_in_line if place.can_run and not place.front]),
        (books.heads, _head_members(books)),
        (books.fronts, [_front_member(place) for place in books.places_in_line if place.can_run and place.front]),
    )
    if any(kept != sorted(expected) for kept, expected in orders):
        yield "The order of the line is not that of the places."
    if books.granted != Counter(holder.person for holder in books.holders):
        yield "The count of slots held by each person is wrong."
    if books.places != Counter(place.person for place in books.places_in_line):
        yield "The count of places held by each person is wrong."
    if books.promised != _windows(books.holders):
        yield "The bytes counted as promised are not the sums of the windows."


def _windows(holders: Collection[Entry]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for holder in holders:
        sums[holder.node] += holder.window
    return dict(sums)


# The members of the sorted sets, as lua/shared/line.lua writes them.


def _line_member(place: Entry) -> str:
    return f"{int(place.paused)}{BEHIND_FRONTS + place.front:016}{place.ticket:016}|{place.upload_id}"


def _ready_member(place: Entry) -> str:
    return f"{place.person}|{place.node}|{place.ticket:016}|{place.upload_id}"


def _front_member(place: Entry) -> str:
    return f"{BEHIND_FRONTS + place.front:016}|{place.node}|{place.upload_id}"


def _head_members(books: Books) -> list[str]:
    held = Counter(holder.person for holder in books.holders)
    ready: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for place in books.places_in_line:
        if place.can_run and not place.front:
            ready[place.person, place.node].append(place)
    heads = [min(places, key=lambda place: place.ticket) for places in ready.values()]
    return [f"{head.node}|{held[head.person]:08}|{head.ticket:016}|{head.upload_id}" for head in heads]


def _idle(books: Books, limits: SlotLimits) -> Iterator[str]:
    """Invariant 4: every call grants what can run, so that nobody who could may be left behind."""
    for node in sorted({place.node for place in books.places_in_line}):
        here = [entry for entry in books.entries.values() if entry.holds or entry.node == node]
        able = who_is_next(here, limits)
        if able is not None and books.admits(node, able.window):
            yield f"A slot is free, and {able.upload_id} could run but waits."


def repaired(reply: Reply) -> Iterable[str]:
    """What `repair` did, in words."""
    done = iter(texts(reply.answer))
    for upload, what in zip(done, done, strict=True):
        if what == "back":
            yield f"Took the slot of {upload} back; it waits in line again."
        else:
            yield f"Ended the lapsed {what} of {upload}."
    yield "Counted the slots and the places again."
