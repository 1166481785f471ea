"""What the scripts answer (lua/shared/given.lua, granting.lua), as the slot port's own values. Needs no Django."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import msgpack

from quotas.rules import SlotLimits
from uploads.slots.entry import Entry
from uploads.slots.eta import seconds_for
from uploads.slots.manager import Granted, LeaseView, SlotSnapshot, TicketView, Waiting, WaitingFor

LINE_KEY_BYTES = 34  # what stands before the upload in a member of the line


@dataclass(frozen=True)
class Reply:
    """One answer. Moments are seconds of Redis; `changes` are pairs of worker and upload; `held` counts the leases."""

    turn: int
    now: float
    run: str
    recovery_seconds: float
    held: int
    changes: tuple[tuple[str, str], ...]
    answer: Any

    @classmethod
    def read(cls, raw: Sequence[Any]) -> "Reply":
        turn, now, run, recovery, held, changes, answer = raw
        told = tuple(_pairs(map(_text, changes)))
        return cls(turn, now / 1000, run.decode(), recovery / 1000, held, told, msgpack.unpackb(answer, raw=True))


def _text(value: bytes) -> str:
    return value.decode()


def _pairs(values: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    each = iter(values)
    return zip(each, each, strict=True)


def texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode() for value in values]


def numbers(values: Iterable[bytes]) -> dict[str, int]:
    """Of a hash of counts, or of a sorted set with its scores."""
    return {name.decode(): int(float(value)) for name, value in _pairs(values)}


def unpacked(values: Iterable[bytes]) -> dict[str, Any]:
    """Of a hash of packed values."""
    return {name.decode(): msgpack.unpackb(value) for name, value in _pairs(values)}


def _moments(value: bytes | None) -> list[float]:
    return [moment / 1000 for moment in msgpack.unpackb(value)] if value else []


def entry(fields: Mapping[str, Any], deadline: int | None, *, unclaimed: bool = False) -> Entry:
    """An entry as Redis keeps it; one without a `deadline`, in milliseconds, has lapsed long ago."""
    expires_at = (deadline or 0) / 1000
    return Entry(
        fields["upload"],
        fields["person"],
        fields["ticket"],
        fields["front"],
        fields["paused"],
        fields["absent"],
        fields["stored_from"] / 1000,
        owner=fields["owner"],
        window=fields["window"],
        since=fields["since"] / 1000,
        expires_at=expires_at,
        connected=fields["connected"],
        fence=fields["fence"],
        claim_by=expires_at if unclaimed else None,
        node=fields["node"],
    )


def granted(answer: Sequence[Any], lease_seconds: float) -> Granted | None:
    """The lease in a standing, or None where it is a place."""
    return Granted(answer[0], lease_seconds) if answer[0] > 0 else None


@dataclass(frozen=True)
class Line:
    """What decides why somebody waits and how long: the state at the moment of a reply, and the limits."""

    reply: Reply
    limits: SlotLimits

    def waiting_for(self, paused: bool, stored_from: float, slots_of_person: int) -> WaitingFor:
        if paused:
            return WaitingFor.PAUSED
        if stored_from:
            return WaitingFor.STORAGE
        if self.reply.recovery_seconds > 0:
            return WaitingFor.RECOVERY
        if slots_of_person >= self.limits.per_person:
            return WaitingFor.USER_SLOTS
        # Every script grants what it can: with a slot free, only memory is in the way.
        return WaitingFor.MEMORY if self.reply.held < self.limits.all_uploads else WaitingFor.GLOBAL_SLOTS

    def eta(
        self,
        reason: WaitingFor,
        stored_from: float,
        position: int,
        among_own: int,
        own: Sequence[float],
        all_: Sequence[float],
    ) -> int | None:
        if reason is WaitingFor.STORAGE:
            return max(0, ceil(stored_from - self.reply.now))
        if reason is WaitingFor.USER_SLOTS:
            return seconds_for(among_own, own, self.reply.now)
        if reason is WaitingFor.GLOBAL_SLOTS:
            return seconds_for(position, all_, self.reply.now)
        return None

    def waiting(self, answer: Sequence[Any]) -> Waiting:
        """The place in a standing."""
        _, _, position, paused, moment, slots_of_person, among_own, own, all_ = answer
        stored_from = moment / 1000
        reason = self.waiting_for(bool(paused), stored_from, slots_of_person)
        eta = self.eta(reason, stored_from, position, among_own, _moments(own), _moments(all_))
        return Waiting(position, reason, eta)

    def found(self) -> Iterator[LeaseView | TicketView]:
        """The answer of `find`."""
        for packed, deadline, position, slots_of_person, among_own, own, all_ in self.reply.answer:
            found = entry(msgpack.unpackb(packed), deadline)
            if found.holds:
                yield self.lease(found)
                continue
            reason = self.waiting_for(found.paused, found.stored_from, slots_of_person)
            eta = self.eta(reason, found.stored_from, position, among_own, _moments(own), _moments(all_))
            yield self.ticket(found, position, reason, eta)

    def lease(self, entry: Entry) -> LeaseView:
        held, left = self.reply.now - entry.since, entry.expires_at - self.reply.now
        return LeaseView(
            entry.upload_id, entry.person, entry.window, entry.fence, held, left, entry.connected, entry.node
        )

    def ticket(self, entry: Entry, position: int, reason: WaitingFor, eta: int | None) -> TicketView:
        waited = self.reply.now - entry.since
        return TicketView(entry.upload_id, entry.person, position, reason, waited, eta, entry.connected)

    def snapshot(self) -> SlotSnapshot:
        """The answer of `snapshot`."""
        packed, leases, line, deadlines, granted, released = self.reply.answer
        moments, slots = numbers(deadlines), numbers(granted)
        releases = {name.decode(): _moments(value) for name, value in _pairs(released)}
        entries = {
            fields["upload"]: entry(fields, moments.get(fields["upload"])) for fields in map(msgpack.unpackb, packed)
        }
        return SlotSnapshot(
            backend="redis",
            healthy=True,
            total=self.limits.all_uploads,
            per_person=self.limits.per_person,
            # What the orders name and nobody has is for the check to tell of.
            leases=tuple(self.lease(entries[upload]) for upload in texts(leases) if upload in entries),
            tickets=tuple(
                self._tickets([entries[at] for place in line if (at := upload_at(place)) in entries], slots, releases)
            ),
            recovery_seconds=self.reply.recovery_seconds,
        )

    def _tickets(
        self, line: Sequence[Entry], slots: Mapping[str, int], releases: Mapping[str, Sequence[float]]
    ) -> Iterator[TicketView]:
        ready: dict[str, int] = {}  # of each person, how many that can run stand before
        for position, waiting in enumerate(line, 1):
            person, among_own = waiting.person, 1 if waiting.front else ready.get(waiting.person, 0) + 1
            if waiting.can_run and not waiting.front:
                ready[person] = among_own
            reason = self.waiting_for(waiting.paused, waiting.stored_from, slots.get(person, 0))
            own, all_ = releases.get(person, ()), releases.get("", ())
            eta = self.eta(reason, waiting.stored_from, position, among_own, own, all_)
            yield self.ticket(waiting, position, reason, eta)


def upload_at(place: bytes) -> str:
    """The upload in a member of the line."""
    return place[LINE_KEY_BYTES:].decode()
