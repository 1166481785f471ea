"""Many downloads send one block in each round of the event loop, whoever else goes away meanwhile."""

import asyncio
import itertools

from uploads.delivery.pace import Pace


async def test_each_round_of_the_loop_has_one_turn_in_the_order_of_asking() -> None:
    pace = Pace()
    asked: list[str] = []
    turns: list[tuple[str, int]] = []
    rounds = 0

    async def download(name: str) -> None:
        for _ in range(2):
            asked.append(name)
            await pace.turn()
            turns.append((name, rounds))

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(download(name))
        while len(turns) < 6:
            rounds += 1
            await asyncio.sleep(0)
    assert [name for name, _ in turns] == asked
    assert len({when for _, when in turns}) == 6


async def test_a_block_may_have_several_rounds_to_itself_so_that_others_have_them() -> None:
    rounds_of_a_block, round_now = 3, 0
    pace = Pace(lambda: rounds_of_a_block)
    turns: list[int] = []

    async def download() -> None:
        for _ in range(3):
            await pace.turn()
            turns.append(round_now)

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(download())
        tasks.create_task(download())
        while len(turns) < 6:
            round_now += 1
            await asyncio.sleep(0)
    assert all(later - before >= rounds_of_a_block for before, later in itertools.pairwise(turns))


async def test_who_goes_away_while_waiting_holds_nobody_up() -> None:
    pace = Pace()
    await pace.turn()
    gone, stays = asyncio.create_task(pace.turn()), asyncio.create_task(pace.turn())
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(5):
        await stays


def test_a_loop_that_ended_in_the_middle_holds_up_no_other() -> None:
    pace = Pace()
    asyncio.run(pace.turn())
    asyncio.run(asyncio.wait_for(pace.turn(), 5))
