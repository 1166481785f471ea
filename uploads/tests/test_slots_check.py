"""`check` finds what `repair` mends, in the memory backend: each test spoils the state by hand as a fault would."""

from collections.abc import Callable

import pytest

from uploads.slots.books import Books
from uploads.slots.entry import Entry
from uploads.slots.manager import Absent, Granted, Waiting
from uploads.slots.memory import MemorySlotManager
from uploads.tests.slots_rig import LEASE, WINDOW, Rig, memory_rig


@pytest.fixture
async def rig() -> Rig:
    """Two slots, both held by ann; ann's third upload and ben's first wait."""
    rig = memory_rig()
    rig.limit(all_uploads=2)
    for upload, person in (("ann0", "ann"), ("ann1", "ann"), ("ann2", "ann"), ("ben0", "ben")):
        await rig.ask(upload, person)
    assert await rig.manager.check() == []
    return rig


def books_of(rig: Rig) -> Books:
    assert isinstance(rig.manager, MemorySlotManager)
    return rig.manager._books


def one_lease_too_many(books: Books) -> None:
    books.grant(books.entries["ben0"], books.entries["ann1"].since)
    books.entries["ben0"].claim_by = None


def a_lease_that_vanished(books: Books) -> None:
    del books.entries["ann0"], books.leases["ann0"]


def a_lease_that_nobody_granted(books: Books) -> None:
    books.audit.grants.pop("ann0")


def a_lease_with_anothers_fence(books: Books) -> None:
    books.entries["ann0"].fence = books.entries["ann1"].fence


def a_fence_from_the_future(books: Books) -> None:
    books.entries["ann0"].fence = 99


def a_lease_without_an_owner(books: Books) -> None:
    books.entries["ann0"].owner = ""


def a_lease_that_outlived_its_time(books: Books) -> None:
    books.entries["ann0"].expires_at -= LEASE


def a_wrong_count_of_slots(books: Books) -> None:
    books.line.granted["ann"] -= 1


def a_wrong_count_of_places(books: Books) -> None:
    books.line.places["ben"] += 1


def a_wrong_sum_of_windows(books: Books) -> None:
    books.promised += WINDOW


def a_place_that_is_not_in_line(books: Books) -> None:
    books.line.remove(books.entries["ben0"])


def a_place_in_line_of_nobody(books: Books) -> None:
    books.line.add(Entry("ghost", "cem", 77))


def a_forgotten_deadline(books: Books) -> None:
    books.deadlines.forget("ann0")
    books.entries["ann0"].expires_at -= LEASE


FAULTS: dict[Callable[[Books], None], str] = {
    one_lease_too_many: "3 leases are held, and at most 2 were allowed",
    a_lease_that_vanished: "The lease of ann0 vanished",
    a_lease_that_nobody_granted: "ann0 holds a lease that was never granted",
    a_lease_with_anothers_fence: "Two leases have the same fence",
    a_fence_from_the_future: "not given out yet",
    a_lease_without_an_owner: "has no owner",
    a_lease_that_outlived_its_time: "The lease of ann0 lapsed",
    a_wrong_count_of_slots: "count of slots held by each person is wrong",
    a_wrong_count_of_places: "count of places held by each person is wrong",
    a_wrong_sum_of_windows: "bytes are counted as promised",
    a_place_that_is_not_in_line: "order of the line",
    a_place_in_line_of_nobody: "order of the line",
    a_forgotten_deadline: "lapsed",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_is_found_and_mended(rig: Rig, fault: Callable[[Books], None]) -> None:
    fault(books_of(rig))
    found = await rig.manager.check()
    assert any(FAULTS[fault] in violation for violation in found)
    done = await rig.manager.repair()
    assert [f"Found: {violation}" for violation in found] == done[: len(found)]
    assert not any("Still so" in sentence for sentence in done)
    assert await rig.manager.check() == []
    assert len(await rig.holders()) == 2


async def test_slots_go_round_after_a_repair_as_before(rig: Rig) -> None:
    a_wrong_count_of_slots(books_of(rig))
    a_place_that_is_not_in_line(books_of(rig))
    await rig.manager.repair()
    assert await rig.release("ann0")
    assert isinstance(await rig.standing("ben0"), Granted)
    assert await rig.line() == ["ann2"]


async def test_a_lease_above_the_cap_goes_back_to_the_line_and_its_holder_is_told(rig: Rig) -> None:
    one_lease_too_many(books_of(rig))
    done = await rig.manager.repair()
    assert "Took the slot of ben0 back; it waits in line again." in done
    assert isinstance(await rig.standing("ben0"), Waiting)
    assert await rig.holders() == ["ann0", "ann1"]


async def test_what_lapsed_unseen_is_ended_by_a_repair_and_its_owner_told(rig: Rig) -> None:
    a_forgotten_deadline(books_of(rig))
    await rig.manager.repair()
    assert await rig.standing("ann0") == Absent()
    assert await rig.holders() == ["ann1", "ben0"]


async def test_a_slot_that_stays_idle_for_longer_than_a_poll_is_a_violation(rig: Rig) -> None:
    rig.limit(all_uploads=3)
    assert await rig.manager.check() == []  # the next poll will see the new limit
    rig.clock.advance(1.5)
    assert await rig.manager.check() == ["A slot is free, and ben0 could run but waits."]
    await rig.manager.tick()
    assert await rig.manager.check() == []


async def test_a_lost_wake_up_is_a_violation_at_once(rig: Rig) -> None:
    books = books_of(rig)
    books.drop(books.entries["ann0"], rig.clock.now)
    assert await rig.manager.check() == ["A slot is free, and ben0 could run but waits."]
    await rig.manager.repair()
    assert await rig.holders() == ["ann1", "ben0"]


async def test_nothing_is_wrong_while_memory_holds_the_line_back(rig: Rig) -> None:
    rig.memory.room = 2 * WINDOW
    rig.limit(all_uploads=3)
    await rig.manager.tick()
    rig.clock.advance(1.5)
    assert await rig.manager.check() == []


async def test_a_sum_of_windows_above_the_ceiling_is_a_violation(rig: Rig) -> None:
    rig.limit(all_uploads=3)
    rig.memory.ceiling = 2 * WINDOW
    rig.clock.advance(1)
    await rig.manager.tick()
    rig.clock.advance(1)
    for upload in ("ann0", "ann1"):
        await rig.release(upload)
    await rig.standing("ann2")
    await rig.standing("ben0")
    await rig.ask("cem0", "cem")
    assert await rig.manager.check() == []
    books = books_of(rig)
    books.grant(books.entries["cem0"], rig.clock.now)
    (violation,) = await rig.manager.check()
    assert violation == f"Windows of {3 * WINDOW} bytes are promised, above the ceiling of {2 * WINDOW}."
    await rig.manager.repair()
    assert await rig.manager.check() == []
    assert await rig.holders() == ["ben0", "ann2"]
    assert await rig.line() == ["cem0"]


async def test_a_ceiling_that_shrank_under_its_windows_is_none(rig: Rig) -> None:
    """A container can be made smaller while uploads run: they keep what they were promised, and nobody gets more."""
    rig.memory.ceiling = WINDOW
    await rig.manager.tick()
    assert await rig.manager.check() == []
    await rig.release("ann0")
    assert await rig.holders() == ["ann1"]
    assert await rig.manager.check() == []
    await rig.release("ann1")
    assert await rig.holders() == ["ann2"]
    assert await rig.manager.check() == []


async def test_a_window_above_the_ceiling_that_runs_alone_is_none() -> None:
    rig = memory_rig()
    rig.memory.ceiling = 2 * WINDOW
    rig.memory.admits = lambda window, promised: not promised  # type: ignore[method-assign]
    assert isinstance(await rig.ask("large", window=3 * WINDOW), Granted)
    assert isinstance(await rig.ask("next"), Waiting)
    assert await rig.manager.check() == []


async def test_caps_are_those_since_the_oldest_present_lease(rig: Rig) -> None:
    rig.clock.advance(1)
    rig.limit(all_uploads=1)
    await rig.manager.tick()
    assert await rig.manager.check() == []
    rig.clock.advance(1)
    for upload in ("ann0", "ann1"):
        await rig.release(upload)
    assert await rig.holders() == ["ann2"]  # its lease has seen no cap but the lower one
    books = books_of(rig)
    books.grant(books.entries["ben0"], rig.clock.now)
    assert "2 leases are held, and at most 1 were allowed." in await rig.manager.check()


async def test_a_person_above_the_cap_is_a_violation(rig: Rig) -> None:
    rig.limit(all_uploads=20, per_person=2)
    await rig.manager.tick()
    books = books_of(rig)
    rig.clock.advance(1)
    await rig.manager.tick()
    books.grant(books.entries["ann2"], rig.clock.now)
    books.entries["ann2"].claim_by = None
    # Under the cap of five that was in force with ann's oldest lease this was allowed.
    assert await rig.manager.check() == []
    for upload in ("ann0", "ann1"):
        await rig.release(upload)
    for upload in ("ann3", "ann4"):
        await rig.ask(upload, "ann")
    books.grant(books.entries["ann4"], rig.clock.now)
    assert "ann holds 3 leases, and at most 2 were allowed." in await rig.manager.check()
