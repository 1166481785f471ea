"""Sharing one run among all who ask."""

import asyncio

import pytest

from monitoring.once import Shared


class Work:
    def __init__(self):
        self.runs = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails = False

    async def __call__(self):
        self.runs += 1
        await self.may_end.wait()
        if self.fails:
            raise LookupError("nothing there")
        return self.runs


async def test_all_who_ask_at_once_share_one_run():
    work = Work()
    shared = Shared(work, seconds=3600)
    assert await asyncio.gather(*(shared.get() for _ in range(100))) == [1] * 100
    assert await shared.get() == 1


async def test_an_outcome_that_is_old_enough_is_made_anew():
    work = Work()
    shared = Shared(work, seconds=0)
    assert (await shared.get(), await shared.get()) == (1, 2)


async def test_after_a_run_that_took_long_there_is_none_for_as_many_times_as_long(monkeypatch):
    work, loop = Work(), asyncio.get_running_loop()
    now = 0.0
    monkeypatch.setattr(loop, "time", lambda: now)
    shared = Shared(work, seconds=0, rests=9)
    work.may_end.clear()
    asking = asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    now = 1.0
    work.may_end.set()
    assert await asking == 1
    now = 9.9
    assert await shared.get() == 1
    now = 10.0
    assert await shared.get() == 2
    assert await shared.get() == 3, "that one was quick"


async def test_an_asker_who_goes_away_stops_nobody_elses_run():
    work = Work()
    work.may_end.clear()
    shared = Shared(work, seconds=3600)
    gone, stays = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    work.may_end.set()
    assert await stays == 1


async def test_a_failure_is_told_to_all_and_is_no_last_word():
    work = Work()
    work.fails = True
    shared = Shared(work, seconds=3600)
    for _ in range(2):
        with pytest.raises(LookupError):
            await shared.get()
    assert work.runs == 1
    shared.forget()
    work.fails = False
    assert await shared.get() == 2


def test_each_event_loop_has_a_run_of_its_own():
    shared_runs = []

    async def work():
        shared_runs.append(asyncio.get_running_loop())
        return len(shared_runs)

    shared = Shared(work, seconds=3600)
    assert [asyncio.run(shared.get()) for _ in range(3)] == [1, 2, 3]
