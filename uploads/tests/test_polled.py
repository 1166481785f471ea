"""An answer that many poll for is made once at a time, after they asked, and with rests between."""

import asyncio

import pytest

from uploads.polled import Polled


class Source:
    """Something that changes, and is slow to tell how it is."""

    def __init__(self) -> None:
        self.value = 0
        self.runs = self.at_once = self.most_at_once = 0
        self.may_end = asyncio.Event()

    async def read(self, key: str) -> tuple[str, int]:
        self.runs += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        value = self.value
        try:
            await self.may_end.wait()
        finally:
            self.at_once -= 1
        return key, value


async def asked(polled: Polled, key: str = "a") -> asyncio.Task:
    task = asyncio.create_task(polled.get(key))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_who_comes_while_one_is_made_shares_the_next_which_knows_what_happened_before_they_asked() -> None:
    source = Source()
    polled = Polled(source.read)
    first = await asked(polled)
    source.value = 1
    others = [await asked(polled) for _ in range(50)]
    source.may_end.set()
    assert await first == ("a", 0)
    assert set(await asyncio.gather(*others)) == {("a", 1)}
    assert (source.runs, source.most_at_once) == (2, 1)


async def test_each_key_has_an_answer_of_its_own() -> None:
    source = Source()
    polled = Polled(source.read)
    tasks = [await asked(polled, key) for key in "abc"]
    source.may_end.set()
    assert [key for key, _value in await asyncio.gather(*tasks)] == ["a", "b", "c"]
    assert source.most_at_once == 3


async def test_an_asker_that_goes_away_takes_nothing_from_the_others() -> None:
    source = Source()
    polled = Polled(source.read)
    gone, stays = await asked(polled), await asked(polled)
    waits = await asked(polled)
    gone.cancel()
    source.may_end.set()
    assert await stays == await waits == ("a", 0)


async def test_a_fault_is_told_to_all_who_asked_and_the_next_asker_gets_a_new_try() -> None:
    faults = [LookupError("gone"), None]

    async def make(key: str) -> str:
        if fault := faults.pop(0):
            raise fault
        return key

    polled = Polled(make)
    outcomes = await asyncio.gather(*(polled.get("a") for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert await polled.get("a") == "a"


async def test_between_two_answers_it_rests_four_times_as_long_as_the_last_one_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    now, rests, sleep = 1000.0, [], asyncio.sleep

    async def make(key: str) -> None:
        nonlocal now
        now += 0.1

    async def rest(seconds: float) -> None:
        nonlocal now
        rests.append(round(seconds, 6))
        now += seconds
        await sleep(0)

    monkeypatch.setattr(loop, "time", lambda: now, raising=False)
    monkeypatch.setattr(asyncio, "sleep", rest)
    polled = Polled(make)
    for _ in range(3):
        await polled.get("a")
    await polled.get("b")
    monkeypatch.undo()
    assert rests == [0.4, 0.4]


async def test_nothing_is_kept_of_what_nobody_asks_for_any_longer() -> None:
    async def make(key: str) -> str:
        return key

    polled = Polled(make)
    await asyncio.gather(*(polled.get(str(number)) for number in range(100)))
    async with asyncio.timeout(10):
        while polled._rests_until:
            await asyncio.sleep(0.01)
    assert not polled._running
    assert not polled._next
