"""The window of a minute, exact to the request, in memory that nobody can fill."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploads.rates import DAY_SECONDS, WINDOW_SECONDS, MemoryRateStore, RateStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[MemoryRateStore], ids=lambda store: store.__name__)
def store(request: pytest.FixtureRequest, clock: Clock) -> RateStore:
    """Every store keeps the same promise."""
    make: Callable[..., RateStore] = request.param
    return make(clock=clock)


async def test_so_many_are_counted_and_the_next_is_told_how_long_to_wait(store: RateStore, clock: Clock) -> None:
    for _ in range(3):
        assert await store.take("one", 3) == 0
        clock.now += 10
    assert await store.take("one", 3) == pytest.approx(30)


async def test_waiting_so_long_is_enough_and_less_is_not(store: RateStore, clock: Clock) -> None:
    for _ in range(3):
        await store.take("one", 3)
        clock.now += 10
    wait = await store.take("one", 3)
    clock.now += wait - 0.001
    assert await store.take("one", 3) > 0
    clock.now += 0.001
    assert await store.take("one", 3) == 0
    assert await store.take("one", 3) == pytest.approx(10), "then the next of the three is over"


async def test_what_is_refused_does_not_count(store: RateStore, clock: Clock) -> None:
    await store.take("one", 1)
    for _ in range(100):
        clock.now += 0.5
        assert await store.take("one", 1) > 0
    clock.now = 1000 + WINDOW_SECONDS
    assert await store.take("one", 1) == 0


async def test_persons_and_things_are_counted_apart(store: RateStore) -> None:
    assert await store.take("initiate address:192.0.2.7", 1) == 0
    assert await store.take("initiate address:192.0.2.8", 1) == 0
    assert await store.take("connect address:192.0.2.7", 1) == 0
    assert await store.take("initiate address:192.0.2.7", 1) > 0


async def test_a_lower_limit_counts_what_was_counted_before(store: RateStore, clock: Clock) -> None:
    for _ in range(5):
        await store.take("one", 5)
        clock.now += 1
    assert await store.take("one", 2) == pytest.approx(58), "until the last but one is over"


async def test_what_is_taken_back_was_never_counted(store: RateStore, clock: Clock) -> None:
    for _ in range(2):
        await store.take("one", 2)
        clock.now += 10
    await store.take_back("one", 2)
    assert await store.counted("one", 2) == 1
    assert await store.take("one", 2) == 0
    assert await store.take("one", 2) == pytest.approx(40), "the last one was taken back"
    for _ in range(5):
        await store.take_back("one", 2)
        await store.take_back("nobody", 2)
    assert [await store.counted(key, 2) for key in ("one", "nobody")] == [0, 0]
    assert [await store.take("one", 2) for _ in range(2)] == [0, 0], "nothing is owed to anybody"
    assert await store.take("one", 2) > 0


async def test_what_is_counted_is_told_and_not_counted_by_that(store: RateStore, clock: Clock) -> None:
    await store.take("one", 5)
    clock.now += 30
    await store.take("one", 5)
    assert [await store.counted("one", 5) for _ in range(2)] == [2, 2]
    clock.now += 30
    assert await store.counted("one", 5) == 1


async def test_a_day_is_counted_as_a_minute_is(store: RateStore, clock: Clock) -> None:
    await store.take("by the day", 1, DAY_SECONDS)
    clock.now += WINDOW_SECONDS
    await store.take("by the minute", 1)
    assert await store.take("by the day", 1, DAY_SECONDS) == pytest.approx(DAY_SECONDS - WINDOW_SECONDS)
    clock.now += WINDOW_SECONDS
    assert await store.take("by the minute", 1) == 0
    clock.now = 1000 + DAY_SECONDS
    assert await store.counted("by the day", 1, DAY_SECONDS) == 0
    assert await store.take("by the day", 1, DAY_SECONDS) == 0


async def test_what_costs_more_than_one_waits_for_room_for_all_of_it(store: RateStore, clock: Clock) -> None:
    for _ in range(3):
        await store.take("one", 5)
        clock.now += 10
    assert await store.take("one", 5, cost=2) == 0
    assert await store.take("one", 5, cost=2) == pytest.approx(40), "until the second of the three is over"
    clock.now += 40
    assert await store.take("one", 5, cost=2) == 0
    assert await store.counted("one", 5) == 5
    clock.now += WINDOW_SECONDS
    assert await store.take("one", 5, cost=99) == 0, "nothing costs more than there is"
    assert await store.take("one", 5) == pytest.approx(WINDOW_SECONDS)


@given(steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 2)), max_size=80), limit=st.integers(1, 5))
async def test_no_window_of_a_minute_ever_has_more_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    clock = Clock()
    store = MemoryRateStore(clock=clock)
    taken: list[float] = []
    for pause, tries in steps:
        clock.now += pause
        for _ in range(tries):
            wait = await store.take("one", limit)
            within = sum(time > clock.now - WINDOW_SECONDS for time in taken)
            assert (wait == 0) == (within < limit)
            if wait == 0:
                taken.append(clock.now)


# --- The memory of one process ----------------------------------------------------------------------------------


async def test_who_has_not_come_for_a_minute_is_forgotten(clock: Clock) -> None:
    store = MemoryRateStore(clock=clock)
    for number in range(100):
        await store.take(f"person {number}", 5)
    clock.now += WINDOW_SECONDS
    for _ in range(10):
        await store.take("somebody", 100)
    assert len(store) == 1


async def test_what_is_kept_for_a_day_keeps_nothing_else(clock: Clock) -> None:
    store = MemoryRateStore(clock=clock)
    for number in range(100):
        await store.take(f"day {number}", 5, DAY_SECONDS)
        await store.take(f"person {number}", 5)
        await store.take_back(f"day {number}", 5, DAY_SECONDS)
    assert len(store) == 100, "what was taken back is forgotten at once"
    await store.take("a day", 5, DAY_SECONDS)
    clock.now += WINDOW_SECONDS
    for number in range(10):
        await store.take("somebody", 100)
        assert await store.counted(f"nobody {number}", 5) == 0
    assert len(store) == 2


async def test_more_persons_than_it_keeps_push_out_the_one_not_counted_for_longest(clock: Clock) -> None:
    store = MemoryRateStore(most_persons=3, clock=clock)
    for person in ("first", "second", "third"):
        await store.take(person, 1)
        clock.now += 1
    assert await store.take("first", 1) > 0, "a refusal is no reason to be kept longer"
    await store.take("fourth", 1)
    assert len(store) == 3
    assert await store.take("second", 1) > 0
    assert await store.take("first", 1) == 0


async def test_a_million_networks_take_no_more_memory_than_the_most_that_are_kept(clock: Clock) -> None:
    import tracemalloc

    store = MemoryRateStore(most_persons=2_000, clock=clock)
    tracemalloc.start()
    for number in range(20_000):
        await store.take(f"connect address:2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64", 600)
    size, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(store) == 2_000
    assert size < 2_000 * 500
