"""How many downloads run at once, who waits, and who is refused."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from uploads import waiting as waiting_module
from uploads.delivery import line as module
from uploads.delivery.lasting import HELD, READER, TURN, UNREAD, UNSENT
from uploads.delivery.line import Line
from uploads.errors import RateLimited


class Asking:
    """One download of a person."""

    def __init__(self, line: Line, person: str) -> None:
        self.line, self.held = line, AsyncExitStack()
        self.turn_ended = False
        self.scope: dict[str, Any] = {
            HELD: self.held,
            TURN: lambda rest: setattr(self, "turn_ended", True),
            UNREAD: lambda: 0,
            UNSENT: lambda: 0,
        }
        self.request: Any = SimpleNamespace(scope=self.scope, persons=("address", person), META={})

    async def enter(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self.line.enter(self.request)
        except BaseException:
            await self.over()
            raise

    async def over(self) -> None:
        await self.held.aclose()

    @property
    def gives_way(self) -> bool:
        return bool(self.scope[READER].gives_way.done())

    def stops_reading(self) -> None:
        """Nothing was taken for as long as nobody may."""
        self.scope[READER]._credit = 0.0


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


async def let_wait(line: Line, person: str) -> "asyncio.Task[None]":
    [(_, task)] = await waiting(line, person)
    await asyncio.sleep(0)
    return task


async def done_with(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_what_nobody_reads_goes_on_while_nobody_waits() -> None:
    line = Line(at_once=2, each=1)
    a, _b = await entered(line, "a", "b")
    a.stops_reading()
    assert not a.gives_way


async def test_what_nobody_reads_gives_way_to_who_waits_and_nothing_else_does() -> None:
    line = Line(at_once=3, each=2)
    a, b, c = await entered(line, "a", "b", "c")
    b.stops_reading()
    task = await let_wait(line, "d")
    assert (a.gives_way, b.gives_way, c.gives_way) == (False, True, False)
    await b.over()
    await task


async def test_who_stops_reading_while_somebody_waits_gives_way_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    line = Line(at_once=1, each=1)
    [a] = await entered(line, "a")
    task = await let_wait(line, "b")
    assert not a.gives_way
    a.stops_reading()
    async with asyncio.timeout(5):
        await a.scope[READER].gives_way
    await done_with(task)


async def test_one_gives_way_for_each_who_waits_first_of_who_has_most() -> None:
    line = Line(at_once=5, each=3)
    everybody = await entered(line, "a", "b", "b", "b", "c")
    for one in everybody:
        one.stops_reading()
    task = await let_wait(line, "d")
    assert [one.gives_way for one in everybody].count(True) == 1
    assert any(one.gives_way for one in everybody[1:4])
    await done_with(task)


async def test_who_has_all_that_one_may_have_takes_no_place_of_anothers() -> None:
    line = Line(at_once=4, each=2)
    mine, _mine, theirs, _theirs = await entered(line, "a", "a", "b", "b")
    theirs.stops_reading()
    task = await let_wait(line, "a")
    assert not theirs.gives_way
    await done_with(task)
    mine.stops_reading()
    task = await let_wait(line, "a")
    assert (mine.gives_way, theirs.gives_way) == (True, False)
    await done_with(task)


async def test_it_is_known_how_many_run_and_wait() -> None:
    line = Line(at_once=2, each=2)
    one, _two = await entered(line, "a", "b")
    task = await let_wait(line, "c")
    assert (line.running, line.waiting) == (2, 1)
    await done_with(task)
    await one.over()
    assert (line.running, line.waiting) == (1, 0)


@pytest.mark.parametrize(("at_once", "each", "of_one"), [(200, 32, 32), (10, 32, 5), (1, 32, 1)])
def test_one_person_never_has_more_than_half_of_all(settings: Any, at_once: int, each: int, of_one: int) -> None:
    settings.MAX_CONCURRENT_DOWNLOADS, settings.MAX_CONCURRENT_DOWNLOADS_PER_USER = at_once, each
    assert module.line.__wrapped__()._each == of_one
