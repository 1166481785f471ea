"""The counts of all workers together: as exact as those of one, and those of one where Redis is away."""

import asyncio
import time

import pytest
import redis
from channels_redis.utils import decode_hosts

from devtools.redis import PrivateRedis
from uploads import shared_rates
from uploads.rates import DAY_SECONDS
from uploads.shared_rates import SharedRateStore

WINDOW_SECONDS = 2.0


def store_on(url: str) -> SharedRateStore:
    return SharedRateStore(decode_hosts([url])[0])


@pytest.fixture
def stores(redis_url: str) -> tuple[SharedRateStore, SharedRateStore]:
    """Those of two workers."""
    return store_on(redis_url), store_on(redis_url)


async def test_what_one_worker_counts_another_knows(stores: tuple[SharedRateStore, SharedRateStore]) -> None:
    here, there = stores
    assert [await store.take("one", 3, WINDOW_SECONDS) for store in (here, there, here)] == [0, 0, 0]
    for store in stores:
        assert 0 < await store.take("one", 3, WINDOW_SECONDS) <= WINDOW_SECONDS
        assert await store.take("another", 3, WINDOW_SECONDS) == 0


async def test_of_many_at_once_exactly_so_many_are_counted(redis_url: str) -> None:
    here, there = store_on(redis_url), store_on(redis_url)
    waits = await asyncio.gather(*(store.take("one", 25) for store in (here, there) * 20))
    assert waits.count(0) == 25


async def test_waiting_so_long_is_enough_and_what_was_refused_does_not_count(
    stores: tuple[SharedRateStore, SharedRateStore],
) -> None:
    here, there = stores
    begun = time.time()
    assert await here.take("one", 1, WINDOW_SECONDS) == 0
    wait = await there.take("one", 1, WINDOW_SECONDS)
    for _ in range(5):
        assert await there.take("one", 1, WINDOW_SECONDS) <= wait
    await asyncio.sleep(wait + 0.01)
    assert await there.take("one", 1, WINDOW_SECONDS) == 0
    assert time.time() - begun >= WINDOW_SECONDS


async def test_what_costs_more_than_one_waits_for_room_for_all_of_it(
    stores: tuple[SharedRateStore, SharedRateStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = stores
    assert [await here.take("one", 4) for _ in range(2)] == [0, 0]
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 1)
    assert await there.take("one", 4) == 0
    two, three, four = [await store.take("one", 4, cost=cost) for store, cost in ((here, 2), (there, 3), (here, 4))]
    assert max(two, three) < four <= 60, "until the second of the three is over, or the last"
    assert await here.counted("one", 4) == 3
    assert await there.take("another", 4, cost=99) == 0, "nothing costs more than there is"
    assert await there.take("another", 4) > 0


async def test_what_one_worker_counted_another_can_take_back(stores: tuple[SharedRateStore, SharedRateStore]) -> None:
    here, there = stores
    for window in (60.0, DAY_SECONDS):
        assert [await here.take("one", 3, window) for _ in range(2)] == [0, 0]
        assert [await store.counted("one", 3, window) for store in stores] == [2, 2]
        await there.take_back("one", 3, window)
        assert [await store.counted("one", 3, window) for store in stores] == [1, 1]
        for _ in range(3):
            await there.take_back("one", 3, window)
            await there.take_back("nobody", 3, window)
        assert [await store.counted("one", 3, window) for store in stores] == [0, 0]
        assert [await store.take("one", 3, window) for store in (here, there, here)] == [0, 0, 0]
        assert window - 10 < await there.take("one", 3, window) <= window


async def test_while_redis_is_away_each_worker_counts_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_rates, "AWAY_SECONDS", 0.0)
    private = PrivateRedis()
    try:
        here, there = store_on(private.url), store_on(private.url)
        assert await here.take("one", 1) == 0
        private.kill()
        for store in (here, there):
            assert await store.take("one", 1) == 0
            assert await store.take("one", 1) > 0
            assert await store.counted("one", 1) == 1
            await store.take_back("one", 1)
            assert await store.counted("one", 1) == 0
        private.revive()
        with redis.Redis.from_url(private.url) as client:
            client.flushall()
        assert await here.take("one", 1) == 0
        assert await there.take("one", 1) > 0
    finally:
        private.stop()
