"""Several workers on one Redis, each with its own keeper, as their connections and commands see it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from channels.db import database_sync_to_async
from django.db import OperationalError

from devtools.redis import PrivateRedis
from directdrivex.env import redis_layer
from quotas.services import seed_profiles
from uploads.models import SlotStoreRun
from uploads.slots import asking, hints
from uploads.slots.control import NoAnswerError
from uploads.slots.keeper import SlotKeeper
from uploads.slots.manager import Absent, Granted, SlotsUnavailableError, Waiting, WaitingFor
from uploads.slots.runs import DatabaseRuns
from uploads.tests.slots_rig import LIMITS, WINDOW, Memo

# Channels closes old connections around each call: one that an earlier test left open may be touched.
pytestmark = pytest.mark.django_db(transaction=True)

ONE_SLOT = replace(LIMITS, all_uploads=1)


@pytest.fixture
def memo(monkeypatch: pytest.MonkeyPatch) -> Memo:
    """What all workers remember of Redis, in place of the database."""
    memo = Memo()
    monkeypatch.setattr("uploads.slots.backing.DatabaseRuns", lambda: memo)
    return memo


@pytest.fixture
async def worker(
    settings: Any, redis_url: str, memo: Memo, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., SlotKeeper]]:
    """Makes workers, all with one slot; one that `is_deaf_to_time` never polls."""
    settings.CHANNEL_LAYERS = {"default": redis_layer(redis_url)}
    monkeypatch.setattr("quotas.services.slot_limits", lambda: ONE_SLOT)
    made: list[SlotKeeper] = []

    def make(*, is_deaf_to_time: bool = False, **given: Any) -> SlotKeeper:
        made.append(SlotKeeper(ONE_SLOT, **given))
        if is_deaf_to_time:
            made[-1]._poll_seconds = 3600
        return made[-1]

    yield make
    for keeper in made:
        await keeper.stop()


async def told(awaited: Any) -> None:
    async with asyncio.timeout(10):
        await awaited


async def hears(keeper: SlotKeeper, redis_url: str) -> None:
    """Return once the worker's ear is open."""
    group = f"asgi__group__slots.{keeper.manager._caller.worker}"  # type: ignore[attr-defined]
    with redis.Redis.from_url(redis_url) as client:
        async with asyncio.timeout(10):
            while not client.pubsub_numsub(group)[0][1]:
                await asyncio.sleep(0.01)


async def test_a_waiter_hears_of_its_grant_by_another_worker(worker: Callable[..., SlotKeeper], redis_url: str) -> None:
    one, two = worker(), worker(is_deaf_to_time=True)
    held, waiting = await one.enter("held", "ann", WINDOW), await two.enter("next", "ben", WINDOW)
    assert isinstance(waiting.standing, Waiting)
    await hears(two, redis_url)
    await held.release()
    await told(waiting.changed(60))
    assert isinstance(waiting.standing, Granted)


async def test_a_waiter_whose_message_was_lost_finds_its_grant_by_the_poll(
    worker: Callable[..., SlotKeeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints.Hints, "tell", lambda self, others: None)
    one, two = worker(), worker()
    held, waiting = await one.enter("held", "ann", WINDOW), await two.enter("next", "ben", WINDOW)
    await held.release()
    await told(waiting.changed(60))
    assert isinstance(waiting.standing, Granted)


@pytest.mark.parametrize("hears_it", [True, False], ids=["by message", "by poll"])
async def test_an_upload_that_comes_back_on_another_worker_ends_the_older_hold(
    worker: Callable[..., SlotKeeper], redis_url: str, monkeypatch: pytest.MonkeyPatch, hears_it: bool
) -> None:
    if not hears_it:
        monkeypatch.setattr(hints.Hints, "tell", lambda self, others: None)
    one, two = worker(is_deaf_to_time=hears_it), worker()
    older = await one.enter("f", "ann", WINDOW)
    await hears(one, redis_url)
    loss = asyncio.create_task(older.changed(60))
    newer = await two.enter("f", "ann", WINDOW)
    assert isinstance(newer.standing, Granted)
    await told(loss)
    assert older.standing == Absent()
    assert older.lost.is_set()
    await older.release()
    await newer.refresh()
    assert isinstance(newer.standing, Granted)


async def test_an_admin_steers_from_any_worker(worker: Callable[..., SlotKeeper], redis_url: str) -> None:
    one, two = worker(is_deaf_to_time=True), worker()
    hold = await one.enter("f", "ann", WINDOW)
    await hears(one, redis_url)
    for act, standing in ((two.pause, Waiting), (two.unpause, Granted), (two.take_away, Absent)):
        change = asyncio.create_task(hold.changed(60))
        assert await act("f")
        await told(change)
        assert isinstance(hold.standing, standing)


async def test_a_worker_polls_and_renews_by_one_call_for_all_its_uploads(
    worker: Callable[..., SlotKeeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = worker()
    holds = [await keeper.enter(f"f{number}", f"person {number}", WINDOW) for number in range(20)]
    calls: list[tuple[str, list[Any]]] = []
    store = keeper.manager._store  # type: ignore[attr-defined]
    call, polled = store.call, asyncio.Event()

    async def counted(verb: str, arguments: list[Any]) -> Any:
        calls.append((verb, arguments))
        if [seen for seen, _ in calls].count("tick") == 3:
            polled.set()
        return await call(verb, arguments)

    monkeypatch.setattr(store, "call", counted)
    keeper._renewed_at = 0.0
    await told(polled.wait())
    count = Counter(verb for verb, _ in calls)
    assert count["renew"] == 1
    assert count["standing"] <= count["tick"] == 3
    assert count.total() == count["renew"] + count["standing"] + count["tick"]
    [renewed] = [arguments for verb, arguments in calls if verb == "renew"]
    assert {hold.upload_id for hold in holds} <= set(renewed)
    for hold in holds:
        await hold.release()


async def test_places_in_line_are_read_by_one_call_for_all(
    worker: Callable[..., SlotKeeper], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = worker()
    held = await keeper.enter("held", "ann", WINDOW)
    line = [await keeper.enter(f"f{number}", "ben", WINDOW) for number in range(20)]
    calls: list[set[str]] = []
    standings = keeper.manager.standings

    async def counted(holders: Any) -> Any:
        calls.append({upload_id for upload_id, _ in holders})
        return await standings(holders)

    monkeypatch.setattr(keeper.manager, "standings", counted)
    await line[0].release()
    watching = [asyncio.create_task(hold.changed(60)) for hold in line[1:]]

    async with asyncio.timeout(20):
        while line[-1].standing.position != 19:  # type: ignore[union-attr]
            await asyncio.sleep(0.02)
    everybody = {hold.upload_id for hold in (held, *line[1:])}
    assert everybody in calls
    assert all(call in ({"held"}, everybody) for call in calls)  # holders are looked at more often
    assert [hold.standing.position for hold in line[1:]] == list(range(1, 20))  # type: ignore[union-attr]
    for watch in watching:
        watch.cancel()
    await held.release()


async def test_a_command_tells_the_worker_whose_slot_it_takes_away(
    worker: Callable[..., SlotKeeper], redis_url: str
) -> None:
    keeper = worker(is_deaf_to_time=True)
    hold = await keeper.enter("f", "ann", WINDOW)
    await hears(keeper, redis_url)
    loss = asyncio.create_task(hold.changed(60))
    assert await asking.ask("release", upload_id="f") is True
    assert await asking.ask("release", upload_id="f") is False
    await told(loss)
    assert hold.standing == Absent()


# --- a Redis that goes away ---


async def test_holders_stop_by_themselves_while_redis_does_not_answer(
    worker: Callable[..., SlotKeeper], settings: Any
) -> None:
    private = PrivateRedis()
    try:
        settings.CHANNEL_LAYERS = {"default": redis_layer(private.url)}
        settings.SLOT_LEASE_SECONDS = 6
        keeper = worker()
        hold = await keeper.enter("f", "ann", WINDOW)
        private.freeze()
        await told(hold.lost.wait())
        assert hold.over
        with pytest.raises(SlotsUnavailableError):
            await keeper.enter("g", "ann", WINDOW)
        with pytest.raises(SlotsUnavailableError):
            await keeper.snapshot()
    finally:
        private.thaw()
        private.stop()


async def test_while_redis_recovers_nobody_is_told_that_nothing_is_alive(
    worker: Callable[..., SlotKeeper], memo: Memo, redis_url: str
) -> None:
    """Without knowing who is alive no cleanup is safe."""
    keeper = worker()
    hold = await keeper.enter("f", "ann", WINDOW)
    assert await asking.alive_uploads() == {"f"}
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    with pytest.raises(NoAnswerError, match="restarted"):
        await asking.alive_uploads()
    late = await keeper.enter("g", "ben", WINDOW)
    assert late.standing == Waiting(1, WaitingFor.RECOVERY, None)
    await hold.release()
    await late.release()


# --- the run that was seen last ---


@pytest.mark.every_database
async def test_the_last_run_is_kept_in_the_database() -> None:
    runs = DatabaseRuns()
    assert await runs.last() == ""
    for run in ("first", "second"):
        assert await runs.keep(run)
        assert await DatabaseRuns().last() == run
    assert await SlotStoreRun.objects.acount() == 1


async def test_a_database_that_does_not_tell_the_last_run_is_no_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> str:
        raise OperationalError("could not connect")

    monkeypatch.setattr("uploads.slots.runs._last", away)
    monkeypatch.setattr("uploads.slots.runs._keep", away)
    assert await DatabaseRuns().last() is None
    assert not await DatabaseRuns().keep("run")


async def test_a_run_that_could_not_be_kept_is_kept_later(
    settings: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHANNEL_LAYERS = {"default": redis_layer(redis_url)}
    await database_sync_to_async(seed_profiles)()
    keeper = SlotKeeper(ONE_SLOT)
    with monkeypatch.context() as patch:
        patch.setattr("uploads.slots.runs._keep", _fails)
        hold = await keeper.enter("f", "ann", WINDOW)
        assert isinstance(hold.standing, Granted)
    async with asyncio.timeout(10):
        while not await SlotStoreRun.objects.acount():
            await asyncio.sleep(0.02)
    await hold.release()
    await keeper.stop()


def _fails(*_: object) -> None:
    raise OperationalError("the database is locked")
