"""File work in threads that keeps its order."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from uploads.storage.lane import JOBS_A_TURN, Lane


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


async def test_all_is_done_in_the_order_in_which_it_came_and_never_two_at_once(threads: ThreadPoolExecutor) -> None:
    lane, done, running = Lane(threads), list[int](), threading.Lock()

    def work(number: int) -> int:
        assert running.acquire(blocking=False)
        done.append(number)
        running.release()
        return number * 2

    results = []
    for start in range(0, 500, 5):
        results += [lane.run(work, number) for number in range(start, start + 5)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*results) == [number * 2 for number in range(500)]
    assert done == list(range(500))


async def test_the_next_is_taken_up_while_the_event_loop_is_busy(threads: ThreadPoolExecutor) -> None:
    lane, second = Lane(threads), threading.Event()
    first = lane.run(threading.get_ident)
    lane.run(second.set)
    assert second.wait(10), "it was begun although the loop has not heard of the first"
    assert not first.done()
    await first


async def test_a_failure_reaches_who_waits_for_it_and_nobody_else(threads: ThreadPoolExecutor) -> None:
    lane = Lane(threads)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    failing, next_one = lane.run(fail), lane.run(lambda: "fine")
    with pytest.raises(OSError, match="No space left"):
        await failing
    assert await next_one == "fine"


async def test_what_is_cancelled_before_its_turn_does_not_run(threads: ThreadPoolExecutor) -> None:
    lane, gate, ran = Lane(threads), threading.Event(), list[str]()
    lane.run(gate.wait, 10)
    unwanted = lane.run(ran.append, "unwanted")
    wanted = lane.run(ran.append, "wanted")
    unwanted.cancel()
    gate.set()
    await wanted
    assert ran == ["wanted"]


async def test_a_lane_is_drained_when_what_was_cancelled_in_its_turn_is_done(threads: ThreadPoolExecutor) -> None:
    lane, begun, gate, done = Lane(threads), threading.Event(), threading.Event(), list[str]()

    def slow() -> None:
        begun.set()
        gate.wait(10)
        done.append("slow")

    running = lane.run(slow)
    await asyncio.to_thread(begun.wait)
    running.cancel()
    drained = asyncio.create_task(lane.drained())
    await asyncio.sleep(0.05)
    assert not drained.done()
    gate.set()
    await drained
    assert done == ["slow"]
    await Lane(threads).drained()


async def test_a_busy_lane_leaves_others_their_turn() -> None:
    with ThreadPoolExecutor(1) as one:
        busy, other, order = Lane(one), Lane(one), list[str]()
        gate = threading.Event()
        busy.run(gate.wait, 10)
        for _ in range(4 * JOBS_A_TURN):
            last = busy.run(order.append, "busy")
        other.run(order.append, "other")
        gate.set()
        await last
        assert order.index("other") < JOBS_A_TURN
