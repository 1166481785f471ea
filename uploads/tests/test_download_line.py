"""How many downloads run at once, who waits, and who is refused."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from uploads import waiting as waiting_module
from uploads.delivery import line as module
from uploads.delivery.lasting import HELD, TURN
from uploads.delivery.line import Line
from uploads.errors import RateLimited


class Asking:
    """One download of a person."""

    def __init__(self, line: Line, person: str) -> None:
        self.line, self.held = line, AsyncExitStack()
        self.turn_ended = False
        scope = {HELD: self.held, TURN: lambda: setattr(self, "turn_ended", True)}
        self.request: Any = SimpleNamespace(scope=scope, persons=("address", person), META={})

    async def enter(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self.line.enter(self.request)
        except BaseException:
            await self.over()
            raise

    async def over(self) -> None:
        await self.held.aclose()


async def entered(line: Line, *persons: str) -> list[Asking]:
    asking = [Asking(line, person) for person in persons]
    for one in asking:
        await one.enter()
    return asking


async def waiting(line: Line, *persons: str) -> list[tuple[Asking, "asyncio.Task[None]"]]:
    asking = [(one, asyncio.create_task(one.enter())) for one in (Asking(line, person) for person in persons)]
    while not all(one.turn_ended for one, _ in asking):
        await asyncio.sleep(0)
    return asking


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "free_connection", _do_nothing)


async def _do_nothing() -> None:
    pass


async def test_one_person_has_so_many_and_another_theirs() -> None:
    line = Line(at_once=4, each=2)
    first, _ = await entered(line, "a", "a")
    [(third, task)] = await waiting(line, "a")
    await entered(line, "b", "b")
    assert not task.done()
    await first.over()
    assert not task.done() or not task.exception()
    await task
    assert third.turn_ended, "who waits is not worked on"


async def test_the_next_turn_goes_to_another_person_who_waits() -> None:
    line = Line(at_once=2, each=1)
    a, _b = await entered(line, "a", "b")
    [(_, mine), (_, theirs)] = await waiting(line, "a", "c")
    await a.over()
    await asyncio.wait({mine, theirs}, return_when=asyncio.FIRST_COMPLETED)
    assert (mine.done(), theirs.done()) == (False, True)
    mine.cancel()
    await asyncio.wait({mine})


@pytest.mark.parametrize(("at_once", "each", "persons"), [(100, 2, "aaaa"), (2, 2, "abcd")])
async def test_beyond_twice_as_many_nobody_waits(at_once: int, each: int, persons: str) -> None:
    line = Line(at_once, each)
    await entered(line, *persons[:2])
    tasks = [task for _, task in await waiting(line, *persons[2:])]
    with pytest.raises(RateLimited) as refused:
        await Asking(line, "a").enter()
    assert refused.value.retry_after == module.RETRY_SECONDS
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    [(_, task)] = await waiting(line, "a")  # their places are free again
    task.cancel()
    await asyncio.wait({task})


async def test_who_has_waited_too_long_is_refused_and_leaves_no_place_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    line = Line(at_once=1, each=1)
    [one] = await entered(line, "a")
    with pytest.raises(RateLimited):
        await Asking(line, "a").enter()
    await one.over()
    await entered(line, "a")
