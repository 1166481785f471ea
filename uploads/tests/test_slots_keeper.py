"""The keeper and its holds: what a connection can rely on, whatever happens beside it. Leases are short here."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.db import database_sync_to_async
from django.db import OperationalError
from structlog.testing import capture_logs

from quotas.models import LimitProfile
from quotas.services import seed_profiles
from uploads.slots import control, keeper
from uploads.slots.admission import MemoryReading
from uploads.slots.asking import alive_uploads
from uploads.slots.hold import Hold
from uploads.slots.keeper import SlotKeeper, get_keeper
from uploads.slots.manager import (
    Absent,
    Claim,
    Granted,
    LeaseView,
    QueueFullError,
    SlotsUnavailableError,
    TicketView,
    Waiting,
    WaitingFor,
)
from uploads.tests.slots_rig import LIMITS, WINDOW

LEASE = 2.4  # a holder stops by itself after half of it

# The limits are read in a thread that may have a connection open, left by a test before.
pytestmark = pytest.mark.django_db(transaction=True)


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Return once `condition` (plain or async) is true; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)


class Stored:
    """The limits as the database would tell them."""

    def __init__(self) -> None:
        self.limits = LIMITS
        self.may_answer = threading.Event()
        self.may_answer.set()

    def read(self) -> Any:
        limits = self.limits
        assert self.may_answer.wait(30)
        return limits


@pytest.fixture
def stored(backend: str, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Iterator[Stored]:
    stored = Stored()
    monkeypatch.setattr("quotas.services.slot_limits", stored.read)
    settings.DATA_DIR = tmp_path
    settings.SLOT_LEASE_SECONDS = LEASE
    settings.DISCONNECT_GRACE_SECONDS = 0.3
    yield stored
    stored.may_answer.set()


@pytest.fixture
async def slots(stored: Stored) -> AsyncIterator[SlotKeeper]:
    slots = SlotKeeper(LIMITS)
    yield slots
    await slots.stop()


async def enter(slots: SlotKeeper, upload: str, person: str = "ann") -> Hold:
    return await slots.enter(upload, person, WINDOW)


async def full(slots: SlotKeeper, stored: Stored) -> tuple[Hold, Hold]:
    """One slot, which `held` has and `waiting` waits for."""
    stored.limits = replace(LIMITS, all_uploads=1)
    return await enter(slots, "held"), await enter(slots, "waiting")


# --- the ordinary life of a hold ---


async def test_a_hold_has_a_slot_until_it_is_released(slots: SlotKeeper, stored: Stored) -> None:
    hold = await enter(slots, "f")
    assert isinstance(hold.standing, Granted)
    assert not hold.lost.is_set()
    await hold.release()
    assert await slots.find("f") is None


async def test_a_waiting_hold_is_told_of_its_grant(slots: SlotKeeper, stored: Stored) -> None:
    held, waiting = await full(slots, stored)
    assert waiting.standing == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)
    told = asyncio.create_task(waiting.changed(60))
    await asyncio.sleep(0)
    await held.release()
    async with asyncio.timeout(5):
        await told
    assert isinstance(waiting.standing, Granted)


async def test_waiting_for_a_change_ends_with_its_time_and_the_place_is_looked_at_beside_it(
    slots: SlotKeeper, stored: Stored
) -> None:
    _, waiting = await full(slots, stored)
    last = await enter(slots, "last")
    await waiting.release()
    await last.changed(0.01)
    assert isinstance(last.standing, Waiting)
    await until(lambda: last.standing == Waiting(1, WaitingFor.GLOBAL_SLOTS, None))


async def test_a_full_line_refuses_and_nothing_is_kept(slots: SlotKeeper, stored: Stored) -> None:
    await full(slots, stored)
    stored.limits = replace(stored.limits, queued=1)
    await slots.limits_changed()
    with pytest.raises(QueueFullError):
        await enter(slots, "refused")
    assert await slots.find("refused") is None


async def test_leases_and_places_outlive_their_time_while_they_are_held(slots: SlotKeeper, stored: Stored) -> None:
    held, waiting = await full(slots, stored)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await until(lambda: loop.time() > begun + 1.5 * LEASE)
    await waiting.refresh()
    await held.refresh()
    assert isinstance(held.standing, Granted)
    assert isinstance(waiting.standing, Waiting)
    assert not held.lost.is_set()


in_memory = pytest.mark.parametrize("backend", ["memory"], indirect=True)


@in_memory
async def test_nothing_is_polled_or_answered_once_nobody_has_anything(
    slots: SlotKeeper, stored: Stored, tmp_path: Path
) -> None:
    hold = await enter(slots, "f")
    assert (tmp_path / control.SOCKET_NAME).exists()
    await hold.release()
    await until(lambda: not (tmp_path / control.SOCKET_NAME).exists())
    again = await enter(slots, "f")
    assert isinstance(again.standing, Granted)
    assert (tmp_path / control.SOCKET_NAME).exists()


async def test_bytes_that_the_intake_holds_already_are_not_kept_free_twice(
    slots: SlotKeeper, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    almost_two_windows = MemoryReading(4 * WINDOW, 2 * WINDOW - 1, 2 * WINDOW + 1, 50.0, "machine")
    monkeypatch.setattr(slots.admission, "reading", lambda: almost_two_windows)
    first, second = await enter(slots, "f"), await enter(slots, "g")
    assert isinstance(first.standing, Granted)
    assert second.standing == Waiting(1, WaitingFor.MEMORY, None)
    slots.held_bytes = lambda: WINDOW  # the first one's window is full: what is available has it in it
    async with asyncio.timeout(5):
        await second.changed(60)
    assert isinstance(second.standing, Granted)


# --- losing what one had ---


async def test_a_second_connection_takes_over_and_the_first_is_told(slots: SlotKeeper, stored: Stored) -> None:
    first = await enter(slots, "f")
    told = asyncio.create_task(first.changed(60))
    await asyncio.sleep(0)
    second = await enter(slots, "f")
    async with asyncio.timeout(5):
        await told
    assert first.standing == Absent()
    assert first.lost.is_set()
    await first.release()
    await second.refresh()
    assert isinstance(second.standing, Granted)


@pytest.mark.parametrize("verb", ["take_away", "pause"])
async def test_a_holder_that_is_busy_elsewhere_is_told_of_its_loss(
    slots: SlotKeeper, stored: Stored, verb: str
) -> None:
    hold = await enter(slots, "f")
    assert await getattr(slots, verb)("f")
    await until(hold.lost.is_set)
    assert not isinstance(hold.standing, Granted)


async def test_a_paused_upload_runs_again_after_the_pause(slots: SlotKeeper, stored: Stored) -> None:
    hold = await enter(slots, "f")
    await slots.pause("f")
    await hold.changed(5)
    assert hold.standing == Waiting(1, WaitingFor.PAUSED, None)
    assert hold.lost.is_set()
    await slots.unpause("f")
    await hold.changed(5)
    assert isinstance(hold.standing, Granted)
    assert not hold.lost.is_set()


async def test_a_lost_connection_finds_its_slot_again(slots: SlotKeeper, stored: Stored) -> None:
    held, waiting = await full(slots, stored)
    await held.detach()
    back = await enter(slots, "held")
    assert isinstance(back.standing, Granted)
    await waiting.refresh()
    assert isinstance(waiting.standing, Waiting)


async def test_a_lost_connection_that_stays_away_makes_room(slots: SlotKeeper, stored: Stored) -> None:
    held, waiting = await full(slots, stored)
    await held.detach()
    async with asyncio.timeout(5):
        await waiting.changed(60)
    assert isinstance(waiting.standing, Granted)
    assert held.over


async def test_a_hold_that_its_connection_forgot_lapses(slots: SlotKeeper, stored: Stored) -> None:
    hold = await enter(slots, "f")
    del hold
    gc.collect()
    await until(lambda: _is_gone(slots, "f"))


async def _is_gone(slots: SlotKeeper, upload: str) -> bool:
    return await slots.find(upload) is None


async def test_a_hold_that_is_over_stays_over(slots: SlotKeeper, stored: Stored) -> None:
    hold = await enter(slots, "f")
    await slots.take_away("f")
    await hold.changed(5)
    again = await enter(slots, "f")
    await hold.changed(60)
    await hold.refresh()
    await hold.release()
    assert hold.standing == Absent()
    await again.refresh()
    assert isinstance(again.standing, Granted)


# --- when something beside it fails ---


async def test_a_holder_stops_by_itself_before_its_lease_ends_when_the_store_cannot_be_reached(
    slots: SlotKeeper, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: object) -> set[str]:
        raise SlotsUnavailableError("the store is away")

    hold = await enter(slots, "f")
    monkeypatch.setattr(slots.manager, "renew", unreachable)
    async with asyncio.timeout(5):
        await hold.changed(60)
    assert hold.lost.is_set()
    assert hold.standing == Absent()
    lease = await slots.find("f")
    assert isinstance(lease, LeaseView)
    assert lease.expires_in_seconds > 0


async def test_a_grant_that_is_heard_after_its_own_deadline_is_none(
    slots: SlotKeeper, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process was stopped between its question and the answer: the lease may be another's by now."""
    acquire, loop = slots.manager.acquire, asyncio.get_running_loop()

    async def heard_late(claim: Claim) -> Granted | Waiting:
        answer, begun = await acquire(claim), loop.time()
        await until(lambda: loop.time() > begun + LEASE / 2)
        return answer

    monkeypatch.setattr(slots.manager, "acquire", heard_late)
    with capture_logs() as logs:
        hold = await enter(slots, "f")
    assert (hold.standing, hold.over, hold.lost.is_set()) == (Absent(), True, True)
    assert "slot_held" not in [line["event"] for line in logs]


async def test_a_database_that_does_not_answer_costs_nobody_the_slot(slots: SlotKeeper, stored: Stored) -> None:
    hold = await enter(slots, "f")
    stored.may_answer.clear()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await until(lambda: loop.time() > begun + 1.5 * LEASE)
    await hold.refresh()
    assert isinstance(hold.standing, Granted)
    assert not hold.lost.is_set()


async def test_limits_that_were_read_late_do_not_replace_newer_ones(slots: SlotKeeper, stored: Stored) -> None:
    slow = asyncio.Event()
    calls = 0
    old, new = replace(LIMITS, all_uploads=1), replace(LIMITS, all_uploads=2)

    def reading() -> Any:
        async def read() -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                await slow.wait()
                return old
            return new

        return read()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "database_sync_to_async", lambda _: reading)
        first = asyncio.create_task(slots.limits_changed())
        await until(lambda: calls == 1)
        await slots.limits_changed()
        assert slots.limits == new
        slow.set()
        await first
        assert slots.limits == new


async def test_a_fault_in_the_task_is_logged_and_costs_nobody_the_slot(
    slots: SlotKeeper, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("a fault")

    hold = await enter(slots, "f")
    with capture_logs() as lines, monkeypatch.context() as patch:
        patch.setattr(slots.manager, "tick", broken)
        await until(lambda: any(line["event"] == "slot_keeper_failed" for line in lines))
    assert not slots._works()
    await until(lambda: _is_renewed(slots, "f"))
    assert isinstance(hold.standing, Granted)
    assert not hold.lost.is_set()
    assert isinstance((await enter(slots, "g")).standing, Granted)


async def _is_renewed(slots: SlotKeeper, upload: str) -> bool:
    view = await slots.find(upload)
    return isinstance(view, LeaseView) and view.held_seconds + view.expires_in_seconds > LEASE + 1


async def test_an_upload_cancelled_while_the_store_grants_leaks_nothing(
    slots: SlotKeeper, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = asyncio.Event()
    acquire = slots.manager.acquire

    async def slow(claim: Any) -> Any:
        answer = await acquire(claim)
        granted.set()
        await asyncio.sleep(60)  # the answer is on its way
        return answer

    monkeypatch.setattr(slots.manager, "acquire", slow)
    entering = asyncio.create_task(enter(slots, "f"))
    await granted.wait()
    assert await slots.find("f") is not None
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert await slots.find("f") is None


@in_memory
async def test_a_second_server_on_the_same_data_grants_nothing_beside_the_first(
    slots: SlotKeeper, stored: Stored, tmp_path: Path
) -> None:
    second = SlotKeeper(LIMITS)
    hold = await enter(slots, "f")
    with pytest.raises(SlotsUnavailableError, match="DATA_DIR"):
        await enter(second, "g")
    assert await alive_uploads() == {"f"}
    await hold.release()
    await until(lambda: not slots._works())
    assert isinstance((await enter(second, "g")).standing, Granted)
    await second.stop()


# --- limits, and the keeper of a process ---


@pytest.mark.django_db(transaction=True)
async def test_a_limit_saved_in_the_database_wakes_the_line_within_a_second(
    backend: str, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    await database_sync_to_async(seed_profiles)()
    profile = LimitProfile.objects.filter(environment=settings.ENVIRONMENT)
    await database_sync_to_async(profile.update)(max_concurrent_uploads=1)
    slots = SlotKeeper(LIMITS)
    await enter(slots, "held")
    waiting = await enter(slots, "waiting")
    assert waiting.standing == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)
    await database_sync_to_async(profile.update)(max_concurrent_uploads=2)
    async with asyncio.timeout(5):
        await waiting.changed(60)
    assert isinstance(waiting.standing, Granted)
    await slots.stop()


@pytest.fixture
async def in_database(backend: str, settings: Any, tmp_path: Path) -> AsyncIterator[SlotKeeper]:
    """A keeper that reads its limits from the real database, with two slots for all."""
    settings.DATA_DIR = tmp_path
    settings.SLOT_LEASE_SECONDS = LEASE
    await database_sync_to_async(seed_profiles)()
    await save_limits(max_concurrent_uploads=2)
    slots = SlotKeeper(LIMITS)
    yield slots
    await slots.stop()


async def save_limits(**limits: int) -> None:
    """As the admin does; the keeper is not told of it."""
    profile = LimitProfile.objects.filter(environment="development")
    await database_sync_to_async(profile.update)(**limits)


@pytest.mark.django_db(transaction=True)
async def test_a_limit_lowered_in_the_database_takes_nothing_away(in_database: SlotKeeper) -> None:
    slots = in_database
    first, second = await enter(slots, "first"), await enter(slots, "second")
    waiting = await enter(slots, "waiting")
    await save_limits(max_concurrent_uploads=1)
    await until(lambda: slots.limits.all_uploads == 1)
    assert len((await slots.snapshot()).leases) == 2
    assert not first.lost.is_set()
    assert not second.lost.is_set()
    await first.release()
    await waiting.refresh()
    assert waiting.standing == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)
    assert await slots.check() == []
    await second.release()
    await waiting.changed(5)
    assert isinstance(waiting.standing, Granted)


@pytest.mark.django_db(transaction=True)
async def test_an_environment_variable_wins_over_the_database(in_database: SlotKeeper, settings: Any) -> None:
    settings.LIMIT_OVERRIDES = {**settings.LIMIT_OVERRIDES, "max_concurrent_uploads": 1}
    held, waiting = await enter(in_database, "held"), await enter(in_database, "waiting")
    assert isinstance(held.standing, Granted)
    assert waiting.standing == Waiting(1, WaitingFor.GLOBAL_SLOTS, None)
    await save_limits(max_concurrent_uploads=20, max_concurrent_uploads_per_user=3)
    await until(lambda: in_database.limits.per_person == 3)
    assert in_database.limits.all_uploads == 1
    assert isinstance(await in_database.find("waiting"), TicketView)


@pytest.mark.django_db(transaction=True)
async def test_a_database_that_fails_for_a_while_leaves_the_last_limits_in_force(
    in_database: SlotKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError("server closed the connection unexpectedly")

    held = await enter(in_database, "held")
    await save_limits(max_concurrent_uploads=1)
    with capture_logs() as lines, monkeypatch.context() as patch:
        patch.setattr("quotas.services.slot_limits", away)
        await until(lambda: sum(line["event"] == "limits_unreadable" for line in lines) >= 2)
        second = await enter(in_database, "second")
        assert isinstance(second.standing, Granted)  # by the two slots known last
        waiting = await enter(in_database, "waiting")
        assert isinstance(waiting.standing, Waiting)
    assert not held.lost.is_set()
    await until(lambda: in_database.limits.all_uploads == 1)


@pytest.mark.django_db(transaction=True)
async def test_uploads_enter_by_the_seeds_when_the_database_never_answered(
    in_database: SlotKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError("could not connect")

    monkeypatch.setattr("quotas.services.slot_limits", away)
    assert isinstance((await enter(in_database, "f")).standing, Granted)
    assert in_database.limits == LIMITS


async def test_limits_that_are_told_bite_at_once(slots: SlotKeeper, stored: Stored) -> None:
    _, waiting = await full(slots, stored)
    stored.limits = LIMITS
    await slots.limits_changed()
    assert isinstance(await slots.find("waiting"), LeaseView)
    await waiting.refresh()
    assert isinstance(waiting.standing, Granted)


async def test_synchronous_code_of_the_server_reaches_the_same_keeper(stored: Stored) -> None:
    async def ours() -> SlotKeeper:
        return get_keeper()

    assert await sync_to_async(lambda: async_to_sync(ours)())() is get_keeper()


def test_a_new_loop_has_a_keeper_of_its_own_after_the_old_one_ended(stored: Stored) -> None:
    async def ours() -> SlotKeeper:
        assert get_keeper() is get_keeper()
        return get_keeper()

    assert asyncio.run(ours()) is not asyncio.run(ours())


async def test_a_second_loop_beside_the_first_is_refused(stored: Stored) -> None:
    get_keeper()

    async def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            get_keeper()

    await asyncio.to_thread(asyncio.run, elsewhere())
