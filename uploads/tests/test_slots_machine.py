"""Any sequence of calls, over every backend, against a model that says in a few lines who holds and who waits."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quotas.rules import SlotLimits
from uploads.slots.manager import (
    CLAIM_SECONDS,
    PLACES_PER_PERSON,
    Absent,
    Granted,
    LeaseView,
    QueueFullError,
    Standing,
    TicketView,
    Waiting,
    WaitingFor,
)
from uploads.tests.slots_rig import BACKENDS, LEASE, WINDOW, Rig, make_rig

EXAMPLES = {"memory": 120, "redis": 30, "redis, several workers": 30}
UPLOADS = {"ann0": "ann", "ann1": "ann", "ann2": "ann", "ben0": "ben", "ben1": "ben", "cem0": "cem"}
some_upload = st.sampled_from(list(UPLOADS))


@dataclass
class Have:
    """What one upload has by the model: a slot, or a place in the line."""

    upload: str
    person: str
    owner: str
    ticket: int
    window: int
    expires_at: float
    grant: int = 0  # counts the grants; 0 while it waits
    claim_by: float | None = None
    connected: bool = True
    front: int = 0
    paused: bool = False
    absent: bool = False
    stored_from: float = 0.0

    def kind(self) -> str:
        return "holds" if self.grant else "paused" if self.paused else "later" if self.stored_from else "waits"


class Model:
    """slots.md 1, 3, 4 and 5 by brute force."""

    def __init__(self) -> None:
        self.have: dict[str, Have] = {}
        self.tickets, self.grants, self.fronts = count(1), count(1), count(-1, -1)

    def holders(self) -> list[Have]:
        return sorted((have for have in self.have.values() if have.grant), key=lambda have: have.grant)

    def line(self) -> list[Have]:
        waiting = (have for have in self.have.values() if not have.grant)
        return sorted(waiting, key=lambda have: (have.paused, have.front, have.ticket))

    def held(self) -> Counter[str]:
        return Counter(have.person for have in self.holders())

    def next(self, limits: SlotLimits) -> Have | None:
        if (held := self.held()).total() >= limits.all_uploads:
            return None
        able = [have for have in self.line() if not (have.paused or have.absent or have.stored_from)]
        able = [have for have in able if held[have.person] < limits.per_person]
        return min(
            able, key=lambda have: (have.front, 0 if have.front else held[have.person], have.ticket), default=None
        )

    def settle(self, limits: SlotLimits, room: int, now: float) -> None:
        """What time has ended ends, and whoever can run runs."""
        self.have = {upload: have for upload, have in self.have.items() if have.expires_at > now}
        for have in self.holders():
            if have.claim_by is not None and have.claim_by <= now:
                have.grant, have.claim_by, have.absent = 0, None, True
        while have := self.next(limits):
            if sum(holder.window for holder in self.holders()) + have.window > room:
                return  # the next waits for memory, and nobody overtakes it
            have.grant, have.claim_by = next(self.grants), now + CLAIM_SECONDS


class SlotMachine(RuleBasedStateMachine):
    """Calls a backend as connections, the keeper and admins do, and does the same to the model."""

    def __init__(self, make_rig: Callable[[], Rig]) -> None:
        super().__init__()
        self.rig, self.model, self.runner = make_rig(), Model(), asyncio.Runner()
        self.owners = count(1)
        self.stale: dict[str, str] = {}
        self.told: dict[str, str] = {}  # what the present owner of each upload was told last
        self.fences: dict[tuple[str, int], int] = {}  # by owner and grant
        self.last_fence = 0

    @initialize(every=st.integers(1, 4), person=st.integers(1, 3), uploads=st.permutations(list(UPLOADS)))
    def more_ask_than_can_run(self, every: int, person: int, uploads: list[str]) -> None:
        self.rig.limit(all_uploads=every, per_person=person, queued=6)
        for upload in uploads:
            self.a_connection_asks(upload, WINDOW)

    def teardown(self) -> None:
        self.do(self.rig.manager.close())
        self.runner.close()

    def do(self, verb: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(verb)

    def settle(self) -> None:
        self.model.settle(self.rig.limits, self.rig.memory.room, self.rig.clock.now)

    def agree(self, upload: str, standing: Standing) -> None:
        """What the owner is told is what the model says; by being told it claims a grant."""
        have = self.model.have[upload]
        self.told[upload] = have.kind()
        if not have.grant:
            assert isinstance(standing, Waiting)
            assert (standing.waiting_for == WaitingFor.PAUSED) == have.paused
            return
        assert isinstance(standing, Granted)
        have.claim_by, have.front = None, 0
        seen = self.do(self.rig.manager.find(upload))
        assert isinstance(seen, LeaseView)
        assert standing == Granted(seen.fence, LEASE)

    # --- connections ---

    @rule(upload=some_upload, window=st.sampled_from([WINDOW, 3 * WINDOW]))
    def a_connection_asks(self, upload: str, window: int) -> None:
        """A first one enters; a later one takes slot or place over from the older."""
        owner, now, person = f"{upload}-{next(self.owners)}", self.rig.clock.now, UPLOADS[upload]
        if older := self.model.have.get(upload):
            self.stale[upload] = older.owner
            self.takes_over(older, owner)
        else:
            self.model.have[upload] = Have(upload, person, owner, next(self.model.tickets), window, now + LEASE)
        self.settle()
        if not (older or self.model.have[upload].grant) and self.is_full(person):
            del self.model.have[upload]
            with pytest.raises(QueueFullError):
                self.do(self.rig.ask(upload, person, owner, window))
            return
        self.agree(upload, self.do(self.rig.ask(upload, person, owner, window)))

    def takes_over(self, have: Have, owner: str) -> None:
        have.owner, have.connected, have.absent, have.stored_from = owner, True, False, 0.0
        have.expires_at = self.rig.clock.now + LEASE

    def is_full(self, person: str) -> bool:
        own = sum(have.person == person for have in self.model.line())
        return own > PLACES_PER_PERSON or len(self.model.line()) > self.rig.limits.queued

    @rule(data=st.data())
    @precondition(lambda self: len(self.model.have) < len(UPLOADS))
    def a_new_upload_comes(self, data: st.DataObject) -> None:
        upload = data.draw(st.sampled_from([upload for upload in UPLOADS if upload not in self.model.have]))
        self.a_connection_asks(upload, WINDOW)

    @rule(data=st.data())
    @precondition(lambda self: self.model.have)
    def the_owner_looks(self, data: st.DataObject) -> None:
        have = self.pick(data)
        have.absent = False
        self.settle()
        self.agree(have.upload, self.do(self.rig.standing(have.upload)))

    @rule(data=st.data())
    @precondition(lambda self: self.model.have)
    def the_owner_asks_again(self, data: st.DataObject) -> None:
        have = self.pick(data)
        if not have.connected:
            self.takes_over(have, have.owner)
        self.settle()
        self.agree(have.upload, self.do(self.rig.ask(have.upload, have.person, have.owner)))

    @rule(data=st.data())
    @precondition(lambda self: self.model.have)
    def the_owner_releases(self, data: st.DataObject) -> None:
        have = self.pick(data)
        self.drop(have)
        assert self.do(self.rig.release(have.upload))
        assert self.do(self.rig.standing(have.upload)) == Absent()

    @rule(data=st.data(), seconds=st.sampled_from([0, 0, 4.0, 3600.0]))
    @precondition(lambda self: self.model.have)
    def the_storage_takes_it_later(self, data: st.DataObject, seconds: float) -> None:
        have = self.pick(data)
        have.grant, have.claim_by, have.absent = 0, None, False
        have.stored_from = self.rig.clock.now + seconds if seconds else 0.0
        self.settle()
        assert self.do(self.rig.postpone(have.upload, seconds))

    @rule(data=st.data(), seconds=st.sampled_from([0.5, 15.0]))
    @precondition(lambda self: self.model.have)
    def a_connection_is_lost(self, data: st.DataObject, seconds: float) -> None:
        have = self.pick(data)
        if have.connected:
            have.connected, have.expires_at = False, self.rig.clock.now + seconds
        self.do(self.rig.detach(have.upload, seconds))

    @rule(data=st.data())
    @precondition(lambda self: self.stale)
    def a_stale_owner_tries_everything(self, data: st.DataObject) -> None:
        upload = data.draw(st.sampled_from(sorted(self.stale)))
        owner, manager = self.stale[upload], self.rig.manager
        assert not self.do(manager.release(upload, owner))
        self.do(manager.detach(upload, owner, 0.0))
        assert self.do(manager.renew([(upload, owner)])) == {upload}
        assert self.do(manager.standing(upload, owner)) == Absent()

    # --- the keeper, and time ---

    @rule(seconds=st.sampled_from([0.5, 4.5, CLAIM_SECONDS, 15.0]), forgotten=st.sets(some_upload, max_size=2))
    def time_passes(self, seconds: float, forgotten: set[str]) -> None:
        """The keeper renews before it, but what a dead worker would have renewed."""
        asked = self.rig.owners.keys() - forgotten
        for have in self.model.have.values():
            if have.upload in asked and have.connected:
                have.expires_at = self.rig.clock.now + LEASE
        assert self.do(self.rig.renew(*asked)) == asked - self.model.have.keys()
        self.rig.clock.advance(seconds)
        self.settle()
        for known in (self.told, self.stale):
            for upload in known.keys() - self.model.have.keys():
                del known[upload]

    @rule()
    def the_keeper_polls(self) -> None:
        self.settle()
        self.do(self.rig.manager.tick())

    # --- limits and memory, which bite at the next poll, or at a release before it ---

    @rule(data=st.data(), every=st.integers(0, 6), person=st.integers(1, 4), queued=st.integers(0, 8))
    def an_admin_changes_the_limits(self, data: st.DataObject, every: int, person: int, queued: int) -> None:
        self.rig.limit(all_uploads=every, per_person=person, queued=queued)
        self.bite(data)

    @rule(data=st.data(), windows=st.integers(0, 10))
    def memory_changes(self, data: st.DataObject, windows: int) -> None:
        self.rig.memory.room = windows * WINDOW
        self.bite(data)

    def bite(self, data: st.DataObject) -> None:
        if self.model.have and data.draw(st.booleans(), label="a release comes before the poll"):
            self.the_owner_releases(data)
        self.the_keeper_polls()

    # --- admins ---

    @rule(upload=some_upload)
    def an_admin_takes_away(self, upload: str) -> None:
        have = self.model.have.get(upload)
        if have:
            self.drop(have)
        assert self.do(self.rig.manager.take_away(upload)) is bool(have)

    @rule(upload=some_upload)
    def an_admin_pauses(self, upload: str) -> None:
        have = self.model.have.get(upload)
        if have:
            have.absent = have.absent and not have.grant
            have.grant, have.claim_by, have.paused = 0, None, True
            self.settle()
        assert self.do(self.rig.manager.pause(upload)) is bool(have)

    @rule(upload=some_upload)
    def an_admin_unpauses(self, upload: str) -> None:
        have = self.model.have.get(upload)
        was_paused = bool(have and have.paused)
        if have:
            have.paused = False
            self.settle()
        assert self.do(self.rig.manager.unpause(upload)) is was_paused

    @rule(upload=some_upload)
    def an_admin_sends_to_the_front(self, upload: str) -> None:
        have = self.model.have.get(upload)
        waits = bool(have and not have.grant)
        if have and waits:
            have.front = next(self.model.fronts)
            self.settle()
        assert self.do(self.rig.manager.to_front(upload)) is waits

    @rule()
    def an_admin_repairs_what_is_sound(self) -> None:
        assert self.do(self.rig.manager.repair()) == []

    # --- what must hold after each step ---

    @invariant()
    def no_violation_is_found(self) -> None:
        assert self.do(self.rig.manager.check()) == []

    @invariant()
    def slots_and_line_are_as_the_model_says(self) -> None:
        seen, model = self.do(self.rig.manager.snapshot()), self.model
        assert [lease.upload_id for lease in seen.leases] == [have.upload for have in model.holders()]
        assert [ticket.upload_id for ticket in seen.tickets] == [have.upload for have in model.line()]
        assert [ticket.position for ticket in seen.tickets] == list(range(1, len(seen.tickets) + 1))
        for view in (*seen.leases, *seen.tickets):
            self.is_seen_rightly(view, model.have[view.upload_id])

    @invariant()
    def no_wake_up_is_lost(self) -> None:
        """Whoever was told something else hears of the change, whenever the waiting began."""

        async def hear() -> None:
            for upload, told in self.told.items():
                if self.model.have[upload].kind() != told:
                    async with asyncio.timeout(10):
                        await self.rig.manager.changed(upload, self.rig.owners[upload], 60)

        self.do(hear())

    @invariant()
    def a_new_holder_has_a_fence_above_all_before_it(self) -> None:
        fences = {}
        for lease in self.do(self.rig.manager.snapshot()).leases:
            have = self.model.have[lease.upload_id]
            fences[have.owner, have.grant] = lease.fence
            known = self.fences.get((have.owner, have.grant))
            assert lease.fence == known or lease.fence > self.last_fence
        assert len(set(fences.values())) == len(fences)
        self.fences, self.last_fence = fences, max([self.last_fence, *fences.values()])

    def is_seen_rightly(self, view: LeaseView | TicketView, have: Have) -> None:
        assert (view.person, view.connected) == (have.person, have.connected)
        if isinstance(view, LeaseView):
            assert view.window == have.window
            assert view.expires_in_seconds == have.expires_at - self.rig.clock.now
        elif not have.absent:
            assert view.waiting_for == self.reason(have)

    def reason(self, have: Have) -> WaitingFor:
        if have.paused:
            return WaitingFor.PAUSED
        if have.stored_from:
            return WaitingFor.STORAGE
        if self.model.held()[have.person] >= self.rig.limits.per_person:
            return WaitingFor.USER_SLOTS
        return WaitingFor.MEMORY if self.model.next(self.rig.limits) else WaitingFor.GLOBAL_SLOTS

    # --- small things ---

    def pick(self, data: st.DataObject) -> Have:
        return self.model.have[data.draw(st.sampled_from(sorted(self.model.have)), label="upload")]

    def drop(self, have: Have) -> None:
        del self.model.have[have.upload]
        for known in (self.told, self.stale):
            known.pop(have.upload, None)
        self.settle()


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_sequence_of_calls_leaves_slots_and_line_as_the_model_says(
    backend: str, request: pytest.FixtureRequest
) -> None:
    run_state_machine_as_test(
        lambda: SlotMachine(lambda: make_rig(backend, request)),
        settings=settings(max_examples=EXAMPLES[backend], stateful_step_count=40, deadline=None),
    )
