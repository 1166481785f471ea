"""The slot port's contract (slots.md, `slots/manager.py`), over every backend."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from uploads.slots.manager import Absent, Granted, LeaseView, QueueFullError, TicketView, Waiting, WaitingFor
from uploads.tests.slots_rig import BACKENDS, LEASE, WINDOW, Rig, make_rig


@pytest.fixture(params=BACKENDS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A backend with nothing in it; whatever a test does, no invariant may be broken at its end."""
    rig = make_rig(request.param, request)
    yield rig
    assert await rig.manager.check() == []
    await rig.manager.close()


# --- caps, and the line behind them ---


async def test_a_person_runs_five_at_once_and_the_rest_wait_in_order(rig: Rig) -> None:
    answers = [await rig.ask(f"f{number}") for number in range(12)]
    assert all(isinstance(answer, Granted) for answer in answers[:5])
    assert answers[5:] == [Waiting(position, WaitingFor.USER_SLOTS, None) for position in range(1, 8)]


async def test_the_cap_for_all_holds_for_many_people(rig: Rig) -> None:
    rig.limit(all_uploads=3)
    for number in range(3):
        assert isinstance(await rig.ask(f"f{number}", f"person{number}"), Granted)
    assert await rig.ask("late", "latecomer") == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)


async def test_a_released_slot_goes_to_the_next_who_need_not_ask_again(rig: Rig) -> None:
    for number in range(6):
        await rig.ask(f"f{number}")
    assert await rig.release("f2")
    assert isinstance(await rig.standing("f5"), Granted)


async def test_fences_only_grow(rig: Rig) -> None:
    fences = []
    for number in range(4):
        answer = await rig.ask(f"f{number}")
        assert isinstance(answer, Granted)
        fences.append(answer.fence)
        await rig.release(f"f{number}")
    again = await rig.ask("f0")
    assert isinstance(again, Granted)
    assert fences == sorted(set(fences))
    assert again.fence > fences[-1]


async def test_asking_again_with_the_same_token_changes_nothing(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    first = await rig.ask("held")
    assert await rig.ask("held") == first
    waiting = await rig.ask("waiting")
    assert await rig.ask("waiting") == waiting
    assert await rig.holders() == ["held"]
    assert await rig.line() == ["waiting"]


async def test_a_full_line_refuses_and_keeps_nothing_of_the_refused(rig: Rig) -> None:
    rig.limit(all_uploads=1, queued=2)
    for number in range(3):
        await rig.ask(f"f{number}", f"person{number}")
    with pytest.raises(QueueFullError) as refusal:
        await rig.ask("f3", "person3")
    assert refusal.value.scope == "all"
    assert await rig.manager.find("f3") is None
    assert await rig.line() == ["f1", "f2"]


async def test_a_full_line_refuses_nobody_who_can_run_at_once(rig: Rig) -> None:
    rig.limit(queued=0)
    for number in range(5):
        assert isinstance(await rig.ask(f"f{number}"), Granted)
    with pytest.raises(QueueFullError):
        await rig.ask("f5")
    assert isinstance(await rig.ask("other", "ben"), Granted)


async def test_a_person_has_at_most_fifty_places(rig: Rig) -> None:
    for number in range(55):
        await rig.ask(f"f{number}")
    with pytest.raises(QueueFullError) as refusal:
        await rig.ask("one-more")
    assert refusal.value.scope == "person"
    assert isinstance(await rig.ask("other", "ben"), Granted)


# --- fairness ---


async def test_the_next_slot_goes_to_whoever_holds_fewest(rig: Rig) -> None:
    rig.limit(all_uploads=3)
    for number in range(4):
        await rig.ask(f"ann{number}", "ann")
    await rig.ask("ben0", "ben")
    await rig.release("ann0")
    assert isinstance(await rig.standing("ben0"), Granted)
    assert await rig.line() == ["ann3"]


async def test_among_equals_the_oldest_ticket_goes_first(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("first", "zoe")
    for name in ("c", "a", "b"):
        await rig.ask(name, f"person-{name}")
    order = []
    await rig.release("first")
    for _ in range(3):
        (holder,) = await rig.holders()
        order.append(holder)
        await rig.release(holder)
    assert order == ["c", "a", "b"]


async def test_somebody_at_the_cap_is_skipped_and_keeps_the_place(rig: Rig) -> None:
    rig.limit(all_uploads=7)
    for number in range(7):
        await rig.ask(f"ann{number}", "ann")
    assert isinstance(await rig.ask("ben0", "ben"), Granted)
    assert await rig.line() == ["ann5", "ann6"]
    await rig.release("ann0")
    assert await rig.line() == ["ann6"]
    assert await rig.standing("ann6") == Waiting(1, WaitingFor.USER_SLOTS, None)


async def test_twenty_slots_spread_over_twenty_people(rig: Rig) -> None:
    rig.limit(per_person=20)
    for number in range(40):
        await rig.ask(f"greedy{number}", "greedy")
    for person in range(19):
        await rig.ask(f"p{person}", f"person{person}")
    for number in range(19):
        await rig.release(f"greedy{number}")
    assert set(await rig.holders()) == {"greedy19"} | {f"p{person}" for person in range(19)}


async def test_an_admins_to_the_front_goes_before_fairness_and_age(rig: Rig) -> None:
    rig.limit(all_uploads=2)
    for number in range(4):
        await rig.ask(f"ann{number}", "ann")
    await rig.ask("ben0", "ben")
    assert await rig.manager.to_front("ann3")
    assert await rig.line() == ["ann3", "ann2", "ben0"]
    await rig.release("ann0")
    assert isinstance(await rig.standing("ann3"), Granted)


async def test_to_the_front_does_not_break_the_cap_of_a_person(rig: Rig) -> None:
    rig.limit(all_uploads=6)
    for number in range(6):
        await rig.ask(f"ann{number}", "ann")
    assert await rig.manager.to_front("ann5")
    assert isinstance(await rig.ask("ben0", "ben"), Granted)
    assert await rig.standing("ann5") == Waiting(1, WaitingFor.USER_SLOTS, None)


async def test_the_latest_sent_to_the_front_stands_before_the_earlier(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    for number in range(4):
        await rig.ask(f"f{number}", f"person{number}")
    await rig.manager.to_front("f2")
    await rig.manager.to_front("f3")
    assert await rig.line() == ["f3", "f2", "f1"]


async def test_the_front_counts_for_one_slot_only(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    for name in ("held", "next", "older", "favoured"):
        await rig.ask(name)
    await rig.manager.to_front("favoured")
    await rig.release("held")
    assert isinstance(await rig.standing("favoured"), Granted)
    await rig.manager.pause("favoured")
    assert await rig.holders() == ["next"]
    await rig.manager.unpause("favoured")
    assert await rig.line() == ["older", "favoured"]


async def test_only_what_waits_can_be_sent_to_the_front(rig: Rig) -> None:
    await rig.ask("held")
    assert not await rig.manager.to_front("held")
    assert not await rig.manager.to_front("unknown")


# --- owners, and taking over ---


async def test_a_second_connection_takes_the_slot_over(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    first = await rig.ask("f", owner="old")
    second = await rig.ask("f", owner="new")
    assert isinstance(first, Granted)
    assert isinstance(second, Granted)
    assert second.fence > first.fence
    assert await rig.manager.standing("f", "old") == Absent()
    assert await rig.holders() == ["f"]


async def test_a_second_connection_takes_the_place_over(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held", "zoe")
    for number in range(3):
        await rig.ask(f"f{number}", f"person{number}", owner="old")
    assert await rig.ask("f1", "person1", owner="new") == Waiting(2, WaitingFor.GLOBAL_SLOTS, None)
    assert await rig.manager.standing("f1", "old") == Absent()
    assert await rig.line() == ["f0", "f1", "f2"]


async def test_taking_over_needs_no_free_place(rig: Rig) -> None:
    rig.limit(all_uploads=1, queued=1)
    await rig.ask("held")
    await rig.ask("waiting", owner="old")
    assert isinstance(await rig.ask("waiting", owner="new"), Waiting)


async def test_a_stale_owner_changes_nothing(rig: Rig) -> None:
    await rig.ask("f", owner="old")
    await rig.ask("f", owner="new")
    before = await rig.manager.find("f")
    assert not await rig.manager.release("f", "old")
    await rig.manager.detach("f", "old", 0.0)
    assert await rig.manager.renew([("f", "old")]) == {"f"}
    assert await rig.manager.find("f") == before


async def test_an_unknown_upload_is_absent_everywhere(rig: Rig) -> None:
    rig.owners["ghost"] = "nobody"
    assert await rig.standing("ghost") == Absent()
    assert not await rig.release("ghost")
    await rig.detach("ghost")
    assert await rig.renew("ghost") == {"ghost"}
    assert not await rig.manager.take_away("ghost")
    assert not await rig.manager.pause("ghost")
    assert not await rig.manager.unpause("ghost")
    await rig.manager.changed("ghost", "nobody", 60)


# --- leases, grace and claims ---


async def test_a_lease_that_is_not_renewed_is_gone_at_anybodys_next_call(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("dead", "ann")
    await rig.ask("next", "ben")
    rig.clock.advance(20)
    assert await rig.renew("next") == set()
    rig.clock.advance(10.1)
    assert isinstance(await rig.standing("next"), Granted)
    assert await rig.standing("dead") == Absent()


async def test_one_renewal_keeps_all_leases_and_places_of_a_worker(rig: Rig) -> None:
    for number in range(8):
        await rig.ask(f"f{number}")
    uploads = [f"f{number}" for number in range(8)]
    for _ in range(10):
        rig.clock.advance(LEASE / 3)
        assert await rig.renew(*uploads) == set()
    assert await rig.holders() == uploads[:5]
    assert await rig.line() == uploads[5:]


async def test_a_renewal_names_those_that_have_lapsed(rig: Rig) -> None:
    await rig.ask("lapsed")
    rig.clock.advance(LEASE + 0.1)
    await rig.ask("kept")
    assert await rig.renew("lapsed", "kept") == {"lapsed"}


async def test_a_place_that_is_not_renewed_is_gone(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("dead")
    rig.clock.advance(LEASE / 2)
    await rig.renew("held")
    rig.clock.advance(LEASE / 2 + 0.1)
    assert await rig.line() == []
    assert await rig.holders() == ["held"]


async def test_a_lost_connection_keeps_its_slot_for_its_return(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("f", owner="old")
    await rig.ask("other", "ben")
    await rig.detach("f")
    rig.clock.advance(14.9)
    assert isinstance(await rig.ask("f", owner="new"), Granted)
    rig.clock.advance(14.9)
    assert await rig.holders() == ["f"]


async def test_a_lost_connection_that_does_not_return_frees_its_slot(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("f")
    await rig.ask("other", "ben")
    await rig.detach("f")
    assert await rig.renew("f") == set()  # of no use: only the return of the connection keeps it
    rig.clock.advance(15.1)
    assert isinstance(await rig.standing("other"), Granted)


async def test_a_lost_connection_keeps_its_place(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("f", owner="old")
    await rig.ask("behind")
    await rig.detach("f")
    rig.clock.advance(10)
    assert await rig.ask("f", owner="new") == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)


async def test_a_grant_that_nobody_claims_goes_to_the_next(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("away")
    await rig.ask("here")
    await rig.detach("away")
    await rig.release("held")
    assert await rig.holders() == ["away"]
    rig.clock.advance(5.1)
    assert isinstance(await rig.standing("here"), Granted)
    assert await rig.line() == ["away"]


async def test_who_missed_a_grant_keeps_the_place_until_the_grace_ends(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("away", owner="old")
    await rig.ask("here")
    await rig.ask("behind")
    await rig.detach("away")
    await rig.release("held")
    rig.clock.advance(5.1)
    assert isinstance(await rig.standing("here"), Granted)
    assert await rig.ask("away", owner="new") == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)
    await rig.release("here")
    assert isinstance(await rig.standing("away"), Granted)


async def test_who_missed_a_grant_gets_the_free_slot_on_return(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("away", owner="old")
    await rig.detach("away")
    await rig.release("held")
    rig.clock.advance(5.1)
    assert await rig.holders() == []
    assert isinstance(await rig.ask("away", owner="new"), Granted)


async def test_a_connected_waiter_that_missed_its_grant_gets_it_when_it_looks(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("slow")
    await rig.release("held")
    rig.clock.advance(5.1)
    assert await rig.holders() == []
    assert isinstance(await rig.standing("slow"), Granted)


async def test_a_claimed_grant_is_not_taken_back(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("next")
    await rig.release("held")
    await rig.standing("next")
    rig.clock.advance(6)
    assert await rig.holders() == ["next"]


# --- waking up ---


async def test_a_waiter_is_woken_by_its_grant(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("next")
    waiter = asyncio.create_task(rig.manager.changed("next", rig.owners["next"], 60))
    await asyncio.sleep(0)
    assert not waiter.done()
    await rig.release("held")
    async with asyncio.timeout(5):
        await waiter


async def test_a_grant_between_looking_and_waiting_is_not_missed(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("next")
    await rig.release("held")
    async with asyncio.timeout(5):
        await rig.manager.changed("next", rig.owners["next"], 60)


async def test_waiting_for_a_change_ends_with_its_time(rig: Rig) -> None:
    await rig.ask("held")
    async with asyncio.timeout(5):
        await rig.manager.changed("held", rig.owners["held"], 0.01)


@pytest.mark.parametrize("how", ["taken over", "taken away", "paused"])
async def test_a_holder_is_woken_by_its_loss(rig: Rig, how: str) -> None:
    await rig.ask("f", owner="old")
    waiter = asyncio.create_task(rig.manager.changed("f", "old", 60))
    await asyncio.sleep(0)
    match how:
        case "taken over":
            await rig.ask("f", owner="new")
        case "taken away":
            await rig.manager.take_away("f")
        case _:
            await rig.manager.pause("f")
    async with asyncio.timeout(5):
        await waiter
    assert not isinstance(await rig.manager.standing("f", "old"), Granted)


async def test_a_waiter_cancelled_after_its_grant_leaks_nothing(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("cancelled")
    await rig.ask("next")
    waiter = asyncio.create_task(rig.manager.changed("cancelled", rig.owners["cancelled"], 60))
    await asyncio.sleep(0)
    await rig.release("held")
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    rig.clock.advance(5.1)
    assert isinstance(await rig.standing("next"), Granted)


# --- limits that change ---


async def test_a_lowered_limit_takes_nothing_away_and_grants_nothing_new(rig: Rig) -> None:
    for number in range(6):
        await rig.ask(f"f{number}")
    rig.limit(all_uploads=2, per_person=2)
    await rig.manager.tick()
    assert len(await rig.holders()) == 5
    for number in range(3):
        await rig.release(f"f{number}")
        assert await rig.manager.check() == []
    assert await rig.holders() == ["f3", "f4"]
    await rig.release("f3")
    assert await rig.holders() == ["f4", "f5"]


async def test_a_raised_limit_wakes_the_line_at_the_next_poll(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    for number in range(4):
        await rig.ask(f"f{number}")
    rig.limit(all_uploads=3)
    await rig.manager.tick()
    assert await rig.holders() == ["f0", "f1", "f2"]


async def test_a_change_of_the_cap_of_a_person_is_in_force_at_once(rig: Rig) -> None:
    rig.limit(per_person=1)
    await rig.ask("f0")
    assert isinstance(await rig.ask("f1"), Waiting)
    rig.limit(per_person=3)
    assert isinstance(await rig.ask("f2"), Granted)
    assert isinstance(await rig.standing("f1"), Granted)


# --- memory ---


async def test_who_finds_no_memory_waits_and_is_not_refused(rig: Rig) -> None:
    rig.memory.room = 2 * WINDOW
    answers = [await rig.ask(f"f{number}", f"person{number}") for number in range(3)]
    assert isinstance(answers[1], Granted)
    assert answers[2] == Waiting(1, WaitingFor.MEMORY, None)


async def test_memory_that_comes_back_wakes_the_line_at_the_next_poll(rig: Rig) -> None:
    rig.memory.room = 0
    await rig.ask("f")
    rig.memory.room = WINDOW
    await rig.manager.tick()
    assert isinstance(await rig.standing("f"), Granted)


async def test_a_released_window_is_promised_to_the_next(rig: Rig) -> None:
    rig.memory.room = WINDOW
    await rig.ask("f0")
    await rig.ask("f1")
    await rig.release("f0")
    assert isinstance(await rig.standing("f1"), Granted)


async def test_a_small_window_does_not_overtake_a_large_one_for_ever(rig: Rig) -> None:
    rig.memory.room = 2 * WINDOW
    await rig.ask("running", "ann")
    await rig.ask("large", "ben", window=2 * WINDOW)
    assert await rig.ask("small", "cem") == Waiting(2, WaitingFor.MEMORY, None)
    await rig.release("running")
    assert await rig.holders() == ["large"]


# --- an admin's hand ---


async def test_a_slot_taken_away_goes_to_the_next(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("next")
    assert await rig.manager.take_away("held")
    assert await rig.standing("held") == Absent()
    assert isinstance(await rig.standing("next"), Granted)


async def test_a_place_can_be_taken_away(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("waiting")
    assert await rig.manager.take_away("waiting")
    assert await rig.standing("waiting") == Absent()


async def test_a_paused_upload_gives_its_slot_back_and_waits(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("stopped")
    await rig.ask("next")
    assert await rig.manager.pause("stopped")
    assert await rig.standing("stopped") == Waiting(1, WaitingFor.PAUSED, None)
    assert await rig.holders() == ["next"]
    await rig.release("next")
    assert await rig.holders() == []


async def test_nobody_stands_behind_a_paused_upload(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    for name in ("held", "stopped", "next"):
        await rig.ask(name)
    assert await rig.manager.pause("stopped")
    assert await rig.line() == ["next", "stopped"]


async def test_an_unpaused_upload_has_its_old_ticket(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    for name in ("stopped", "next", "last"):
        await rig.ask(name)
    await rig.manager.pause("stopped")
    assert await rig.manager.unpause("stopped")
    assert await rig.line() == ["stopped", "last"]
    await rig.release("next")
    assert isinstance(await rig.standing("stopped"), Granted)


async def test_unpausing_what_is_not_paused_says_so(rig: Rig) -> None:
    await rig.ask("held")
    assert not await rig.manager.unpause("held")


async def test_a_paused_upload_stays_paused_when_it_is_taken_over(rig: Rig) -> None:
    await rig.ask("f", owner="old")
    await rig.manager.pause("f")
    await rig.detach("f")
    assert await rig.ask("f", owner="new") == Waiting(1, WaitingFor.PAUSED, None)


# --- a storage that says when ---


async def test_who_waits_for_the_storage_gives_the_slot_back_and_is_told_when(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("large")
    await rig.ask("small")
    assert await rig.postpone("large", 3600.0)
    assert await rig.standing("large") == Waiting(1, WaitingFor.STORAGE, 3600)
    assert await rig.holders() == ["small"]
    rig.clock.advance(10)
    await rig.renew("large", "small")
    assert await rig.standing("large") == Waiting(1, WaitingFor.STORAGE, 3590)


async def test_who_waits_for_the_storage_is_passed_over_and_keeps_the_place(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    for name in ("large", "next", "last"):
        await rig.ask(name)
    await rig.postpone("large", 3600.0)
    assert await rig.line() == ["large", "last"]
    assert await rig.postpone("large", 0)
    assert await rig.standing("large") == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)
    await rig.release("next")
    assert await rig.holders() == ["large"]


async def test_it_is_the_owner_who_comes_again_and_nobody_else(rig: Rig) -> None:
    await rig.ask("f", owner="old")
    await rig.postpone("f", 5.0)
    rig.clock.advance(6)
    await rig.manager.tick()
    assert await rig.standing("f") == Waiting(1, WaitingFor.STORAGE, 0)
    assert await rig.holders() == []
    assert not await rig.manager.postpone("f", "another", 0)
    assert isinstance(await rig.ask("f", owner="new"), Granted), "a new connection may try at once"
    assert not await rig.manager.postpone("f", "old", 100.0)
    assert await rig.holders() == ["f"]


async def test_waiting_for_the_storage_can_be_taken_away_and_lapses_as_every_place(rig: Rig) -> None:
    for name in ("taken", "lapsed"):
        await rig.ask(name)
        await rig.postpone(name, 3600.0)
    assert await rig.manager.take_away("taken")
    assert await rig.standing("taken") == Absent()
    rig.clock.advance(LEASE + 0.1)
    assert await rig.line() == []
    assert await rig.manager.check() == []


async def test_an_admins_pause_outlives_the_wait_for_the_storage(rig: Rig) -> None:
    await rig.ask("f")
    await rig.postpone("f", 3600.0)
    await rig.manager.pause("f")
    assert await rig.standing("f") == Waiting(1, WaitingFor.PAUSED, None)
    await rig.postpone("f", 0)
    assert await rig.holders() == []
    await rig.manager.unpause("f")
    assert isinstance(await rig.standing("f"), Granted)


async def test_an_admin_who_favours_it_does_not_make_the_storage_take_it(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("f")
    await rig.ask("other")
    await rig.postpone("f", 3600.0)
    await rig.manager.to_front("f")
    await rig.release("other")
    assert await rig.holders() == []
    await rig.postpone("f", 0)
    assert await rig.holders() == ["f"]


# --- what is seen ---


async def test_the_snapshot_shows_leases_and_places_without_their_tokens(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    granted = await rig.ask("held", "ann")
    await rig.ask("waiting", "ben")
    rig.clock.advance(4)
    await rig.detach("waiting")
    seen = await rig.manager.snapshot()
    assert isinstance(granted, Granted)
    assert (seen.total, seen.per_person, seen.available, seen.healthy) == (1, 5, 0, True)
    assert seen.leases == (LeaseView("held", "ann", WINDOW, granted.fence, 4.0, LEASE - 4, True, seen.leases[0].node),)
    assert seen.tickets == (TicketView("waiting", "ben", 1, WaitingFor.GLOBAL_SLOTS, 4.0, None, False),)


async def test_finding_shows_the_same_as_the_snapshot(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("waiting")
    seen = await rig.manager.snapshot()
    assert await rig.manager.find("held") == seen.leases[0]
    assert await rig.manager.find("waiting") == seen.tickets[0]
    assert await rig.manager.find("unknown") is None
    found = await rig.manager.find_all(["waiting", "unknown", "held"])
    assert found == {"waiting": seen.tickets[0], "held": seen.leases[0]}
    assert await rig.manager.find_all([]) == {}


async def test_looking_claims_nothing(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    await rig.ask("held")
    await rig.ask("away")
    await rig.detach("away")
    await rig.release("held")
    await rig.manager.find("away")
    await rig.manager.snapshot()
    await rig.renew("away")
    rig.clock.advance(5.1)
    assert await rig.holders() == []


async def test_the_estimate_follows_the_recent_releases(rig: Rig) -> None:
    rig.limit(all_uploads=1)
    for number in range(6):
        await rig.ask(f"f{number}", f"person{number}")
    estimates = []
    for number in range(4):
        rig.clock.advance(10)
        await rig.renew(*(f"f{later}" for later in range(number, 6)))
        await rig.release(f"f{number}")
        await rig.standing(f"f{number + 1}")
        waiting = await rig.standing("f5")
        assert isinstance(waiting, Waiting)
        estimates.append((waiting.position, waiting.eta_seconds))
    # One release says nothing yet; then every ten seconds one place.
    assert estimates == [(4, None), (3, 30), (2, 20), (1, 10)]


async def test_the_estimate_of_somebody_at_the_cap_counts_that_persons_own_releases(rig: Rig) -> None:
    rig.limit(per_person=1)
    for number in range(4):
        await rig.ask(f"ann{number}", "ann")
    for number in range(2):
        rig.clock.advance(5)
        await rig.renew(*(f"ann{later}" for later in range(4)))
        await rig.release(f"ann{number}")
        await rig.standing(f"ann{number + 1}")
    assert await rig.standing("ann3") == Waiting(1, WaitingFor.USER_SLOTS, 5)


# --- check and repair ---


async def test_a_sound_state_needs_no_repair(rig: Rig) -> None:
    for number in range(7):
        await rig.ask(f"f{number}")
    assert await rig.manager.repair() == []
    assert len(await rig.holders()) == 5
