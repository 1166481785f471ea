"""Every backend against a model that is too simple to be wrong, over sequences of steps that Hypothesis makes up."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from uploads.slots.manager import CLAIM_SECONDS, Absent, Granted, QueueFullError, Waiting, WaitingFor
from uploads.tests.slots_rig import BACKENDS, LEASE, WINDOW, Rig

T = TypeVar("T")
PEOPLE = ("ann", "ben", "cem")
UPLOADS = tuple(f"{person}{number}" for person in PEOPLE for number in range(4))
GRACE = 15.0
some_upload = st.sampled_from(UPLOADS)


@dataclass
class Upload:
    """What the model knows of an upload that has a slot or a place."""

    name: str
    owner: str
    ticket: int
    expires_at: float
    grant: int = 0  # counts the grants; 0 while it waits
    claim_by: float | None = None
    front: int = 0
    paused: bool = False
    absent: bool = False
    connected: bool = True

    @property
    def person(self) -> str:
        return self.name[:3]


class Model:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.uploads: dict[str, Upload] = {}
        self.count = 0

    def number(self) -> int:
        self.count += 1
        return self.count

    def held(self) -> list[Upload]:
        return sorted((u for u in self.uploads.values() if u.grant), key=lambda u: u.grant)

    def line(self) -> list[Upload]:
        waiting = (u for u in self.uploads.values() if not u.grant)
        return sorted(waiting, key=lambda u: (u.paused, u.front, u.ticket))

    def has(self) -> Counter[str]:
        return Counter(u.person for u in self.held())

    def next(self) -> Upload | None:
        if len(self.held()) >= self.rig.limits.all_uploads:
            return None
        has, cap = self.has(), self.rig.limits.per_person
        able = [u for u in self.line() if not (u.paused or u.absent) and has[u.person] < cap]
        return min(able, key=lambda u: (u.front, 0 if u.front else has[u.person], u.ticket), default=None)

    def room(self) -> bool:
        return (len(self.held()) + 1) * WINDOW <= self.rig.memory.room

    def settle(self) -> None:
        """What time has ended ends, and whoever can run runs."""
        now = self.rig.clock.now
        self.uploads = {name: u for name, u in self.uploads.items() if u.expires_at > now}
        for u in self.uploads.values():
            if u.claim_by is not None and u.claim_by <= now:
                u.grant, u.claim_by, u.absent = 0, None, True
        while (u := self.next()) and self.room():
            u.grant, u.claim_by = self.number(), now + CLAIM_SECONDS

    def claim(self, u: Upload) -> None:
        if u.grant:
            u.claim_by, u.front = None, 0

    def reason(self, u: Upload) -> WaitingFor:
        if u.paused:
            return WaitingFor.PAUSED
        if self.has()[u.person] >= self.rig.limits.per_person:
            return WaitingFor.USER_SLOTS
        return WaitingFor.MEMORY if self.next() else WaitingFor.GLOBAL_SLOTS


class SlotMachine(RuleBasedStateMachine):
    backend = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rig = BACKENDS[self.backend]()
        self.rig.limit(all_uploads=3, per_person=2, queued=5)
        self.model = Model(self.rig)
        self.owners = 0

    @initialize(every=st.integers(1, 4), person=st.integers(1, 3))
    def slots_are_scarce(self, every: int, person: int) -> None:
        self.rig.limit(all_uploads=every, per_person=person, queued=8)

    def teardown(self) -> None:
        self.loop.close()

    def run(self, verb: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(verb)

    @rule(name=some_upload)
    def a_connection_asks(self, name: str) -> None:
        """A new upload enters; one that is there is taken over by a newer connection."""
        self.owners += 1
        owner = f"owner{self.owners}"
        self.model.settle()
        if known := self.model.uploads.get(name):
            known.owner, known.connected, known.absent = owner, True, False
            known.expires_at = self.rig.clock.now + LEASE
            refused = False
        else:
            known = Upload(name, owner, self.model.number(), self.rig.clock.now + LEASE)
            self.model.uploads[name] = known
        self.model.settle()
        refused = not known.grant and known.ticket == self.model.count and self.model_is_full()
        if refused:
            del self.model.uploads[name]
            with pytest.raises(QueueFullError):
                self.run(self.rig.ask(name, name[:3], owner))
            return
        answer = self.run(self.rig.ask(name, name[:3], owner))
        assert isinstance(answer, Granted if known.grant else Waiting)
        self.model.claim(known)

    def model_is_full(self) -> bool:
        return len(self.model.line()) > self.rig.limits.queued

    @rule(name=some_upload)
    def an_owner_looks(self, name: str) -> None:
        standing = self.run(self.rig.manager.standing(name, self.owner_of(name)))
        self.model.settle()
        known = self.model.uploads.get(name)
        if known is None:
            assert standing == Absent()
            return
        known.absent = False
        self.model.settle()
        assert isinstance(standing, Granted if known.grant else Waiting)
        self.model.claim(known)

    @rule(name=some_upload)
    def an_owner_releases(self, name: str) -> None:
        known = name in self.model.uploads
        assert self.run(self.rig.manager.release(name, self.owner_of(name))) == known
        self.model.uploads.pop(name, None)

    @rule(name=some_upload)
    def a_stale_owner_tries_everything(self, name: str) -> None:
        assert not self.run(self.rig.manager.release(name, "stale"))
        self.run(self.rig.manager.detach(name, "stale", 0.0))
        assert self.run(self.rig.manager.renew([(name, "stale")])) == {name}
        assert self.run(self.rig.manager.standing(name, "stale")) == Absent()

    @rule(name=some_upload)
    def a_connection_is_lost(self, name: str) -> None:
        self.run(self.rig.manager.detach(name, self.owner_of(name), GRACE))
        if (known := self.model.uploads.get(name)) and known.connected:
            known.connected, known.expires_at = False, self.rig.clock.now + GRACE

    @rule(names=st.sets(some_upload))
    def a_worker_renews(self, names: set[str]) -> None:
        gone = self.run(self.rig.manager.renew([(name, self.owner_of(name)) for name in names]))
        assert gone == names - self.model.uploads.keys()
        for name in names & self.model.uploads.keys():
            if self.model.uploads[name].connected:
                self.model.uploads[name].expires_at = self.rig.clock.now + LEASE

    @rule(name=some_upload)
    def an_admin_takes_away(self, name: str) -> None:
        assert self.run(self.rig.manager.take_away(name)) == (name in self.model.uploads)
        self.model.uploads.pop(name, None)

    @rule(name=some_upload)
    def an_admin_pauses(self, name: str) -> None:
        known = self.model.uploads.get(name)
        assert self.run(self.rig.manager.pause(name)) == (known is not None)
        if known:
            if known.grant:
                known.absent = False
            known.paused, known.grant, known.claim_by = True, 0, None

    @rule(name=some_upload)
    def an_admin_unpauses(self, name: str) -> None:
        known = self.model.uploads.get(name)
        assert self.run(self.rig.manager.unpause(name)) == bool(known and known.paused)
        if known:
            known.paused = False

    @rule(name=some_upload)
    def an_admin_sends_to_the_front(self, name: str) -> None:
        known = self.model.uploads.get(name)
        assert self.run(self.rig.manager.to_front(name)) == bool(known and not known.grant)
        if known and not known.grant:
            known.front = -self.model.number()

    @rule(slots=st.integers(1, 6), each=st.integers(1, 4), queued=st.integers(0, 8))
    def an_admin_changes_the_limits(self, slots: int, each: int, queued: int) -> None:
        self.rig.limit(all_uploads=slots, per_person=each, queued=queued)
        self.run(self.rig.manager.tick())

    @rule(windows=st.integers(0, 6))
    def memory_changes(self, windows: int) -> None:
        self.rig.memory.room = windows * WINDOW
        self.run(self.rig.manager.tick())

    @rule(seconds=st.sampled_from([0.5, 3.0, CLAIM_SECONDS, 10.0, GRACE, LEASE]))
    def time_passes(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)

    @invariant()
    def the_backend_is_as_the_model(self) -> None:
        self.model.settle()
        seen = self.run(self.rig.manager.snapshot())
        assert [lease.upload_id for lease in seen.leases] == [u.name for u in self.model.held()]
        assert [ticket.upload_id for ticket in seen.tickets] == [u.name for u in self.model.line()]
        assert [ticket.position for ticket in seen.tickets] == list(range(1, len(seen.tickets) + 1))
        for ticket in seen.tickets:
            assert ticket.waiting_for == self.model.reason(self.model.uploads[ticket.upload_id])

    @invariant()
    def no_invariant_is_broken(self) -> None:
        assert self.run(self.rig.manager.check()) == []

    def owner_of(self, name: str) -> str:
        known = self.model.uploads.get(name)
        return known.owner if known else "nobody"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_does_what_the_model_does(backend: str) -> None:
    machine = type("Machine", (SlotMachine,), {"backend": backend})
    run_state_machine_as_test(machine, settings=settings(max_examples=80, stateful_step_count=40, deadline=None))
