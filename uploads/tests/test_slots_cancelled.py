"""Entering the slots, cancelled at every single await: nothing may be left behind (slots.md 7)."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

from uploads.slots import control
from uploads.slots.control import ControlServer, NoServerError, ask
from uploads.slots.keeper import SlotKeeper
from uploads.slots.manager import Granted
from uploads.tests.slots_rig import LIMITS, WINDOW

# Channels closes old connections around each call: one that an earlier test left open may be touched.
pytestmark = pytest.mark.django_db(transaction=True)

MOMENTS = range(60)  # more than there are awaits


class Cancelled:
    """Awaits `work`, which is cancelled at its await number `moment`: before what it waits for came, or with it."""

    def __init__(self, work: Coroutine[Any, Any, Any], moment: int, *, with_result: bool) -> None:
        self._work, self._moment, self._with_result = work, moment, with_result

    def __await__(self) -> Generator[Any, Any, None]:
        seen = 0
        try:
            waited_for = self._work.send(None)
            while True:
                now = seen == self._moment
                seen += 1
                if not now or self._with_result:
                    yield waited_for
                waited_for = self._work.throw(asyncio.CancelledError()) if now else self._work.send(None)
        except StopIteration:
            if seen > self._moment:
                raise AssertionError("the cancellation was swallowed") from None
            raise EndedBefore from None


class EndedBefore(Exception):
    """There are not so many awaits."""


@pytest.fixture(autouse=True)
def limits(backend: str, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("quotas.services.slot_limits", lambda: LIMITS)
    settings.DATA_DIR = tmp_path


@pytest.fixture
async def slots() -> AsyncIterator[SlotKeeper]:
    slots = SlotKeeper(LIMITS)
    yield slots
    await slots.stop()


def sockets() -> set[str]:
    """What this process has open and is a socket or a file of the slots, by descriptor and target."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:") or control.LOCK_NAME in target:
            found.add(f"{entry.name} {target}")
    return found


@pytest.mark.parametrize("with_result", [False, True], ids=["before the answer", "with the answer"])
@pytest.mark.parametrize("others", [False, True], ids=["as the first", "beside others"])
async def test_an_entry_cancelled_at_any_await_leaks_neither_slot_nor_place_nor_lock(
    slots: SlotKeeper, backend: str, tmp_path: Path, with_result: bool, others: bool
) -> None:
    if others:
        held = await slots.enter("held", "ben", WINDOW)
    ended = 0
    for moment in MOMENTS:
        try:
            await Cancelled(slots.enter("f", "ann", WINDOW), moment, with_result=with_result)
        except EndedBefore:
            ended += 1
            hold = await slots.enter("f", "ann", WINDOW)
            assert isinstance(hold.standing, Granted)
            await hold.release()
        except asyncio.CancelledError:
            pass
        assert await slots.manager.find("f") is None
        assert await slots.check() == []
    assert ended, "not every await was cancelled"
    if others:
        await held.release()
    async with asyncio.timeout(10):
        while slots._works():
            await asyncio.sleep(0.01)
    if backend != "memory":
        return
    successor = ControlServer(slots, tmp_path)
    await successor.open()  # raises where anybody has the lock
    successor.close()


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
@pytest.mark.parametrize("with_result", [False, True], ids=["before the answer", "with the answer"])
async def test_a_control_socket_cancelled_while_it_opens_is_closed(
    slots: SlotKeeper, tmp_path: Path, with_result: bool
) -> None:
    before, ended = sockets(), 0
    for moment in MOMENTS:
        server = ControlServer(slots, tmp_path)
        try:
            await Cancelled(server.open(), moment, with_result=with_result)
        except EndedBefore:
            ended += 1
            server.close()
        except asyncio.CancelledError:
            pass
        assert sockets() == before
        with pytest.raises(NoServerError):
            await ask(tmp_path, "check")
    assert ended < len(MOMENTS), "nothing was cancelled"
