"""Who waits long for others keeps nothing that others need: no turn, no connection to the database.

More wait here than PostgreSQL has connections for (20) or there are turns, and then somebody honest asks.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from directdrivex.outgoing import Handler
from directdrivex.turns import InTurn
from uploads import batch_api, doors
from uploads.polled import Polled
from uploads.rates import MemoryRateStore
from uploads.sharing import passwords
from uploads.storage import get_store
from uploads.tests.sharing_rig import SECRET, batch, hashed, whole_file
from uploads.turns import Turns, WithRests
from uploads.waiting import EACH, MOST, Waiters

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
API = "/api/v1"
PATIENCE_SECONDS = 20


@pytest.fixture(autouse=True)
async def _anew(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(doors, "rates", MemoryRateStore())
    monkeypatch.setattr(passwords, "_line", WithRests())
    monkeypatch.setattr(passwords, "_waiters", Waiters())
    monkeypatch.setattr(batch_api, "_batches", WithRests())
    monkeypatch.setattr(batch_api, "_announcing", Waiters())
    get_store.cache_clear()
    yield
    get_store.cache_clear()


class Program:
    """Django behind turns, as many ask it: each request has a thread of its own, as on a server."""

    def __init__(self, at_once: int) -> None:
        self._application = InTurn(Handler(), Turns(at_once, at_once), turned_away=None)  # nobody is
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Whoever has asked until now goes away."""
        self._leaving.set()
        self._leaving = asyncio.Event()

    async def ask(self, method: str, path: str, body: Any = None, address: int = 1, **headers: str) -> int:
        """The status of the answer to this address, or 0 where it went away before."""
        sent: list[Any] = []
        leaving = self._leaving
        asked = [{"type": "http.request", "body": b"" if body is None else json.dumps(body).encode()}]
        given = {"host": "localhost", "content-type": "application/json", **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "client": (f"192.0.2.{address}", 1),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }

        async def receive() -> Any:
            if asked:
                return asked.pop()
            await leaving.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._application(scope, receive, send)
        return int(sent[0]["status"]) if sent else 0

    @asynccontextmanager
    async def asked_by(self, ask: Callable[[int], Any], many: int, they_wait: Callable[[], bool]) -> AsyncIterator[Any]:
        """So many ask, by their number, until all of them wait; at the end they go away."""
        tasks = [asyncio.create_task(ask(number)) for number in range(many)]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not they_wait():
                    assert not any(task.done() for task in tasks)
                    await asyncio.sleep(0.01)
            yield tasks
        finally:
            self.leave()
            await asyncio.gather(*tasks, return_exceptions=True)


def address_of(number: int) -> int:
    return 10 + number // EACH


async def test_who_wait_for_news_of_a_batch_keep_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    coming, waiting = asyncio.Event(), 0

    async def make(key: str) -> bytes:
        await coming.wait()
        return b"{}"

    class Counted(Polled[bytes]):
        async def get(self, key: str) -> bytes:
            nonlocal waiting
            waiting += 1
            return await super().get(key)

    monkeypatch.setattr(batch_api, "_answers", Counted(make))
    whole = await batch()
    file = await whole_file(batch=whole)
    program = Program(at_once=64)

    def poll(number: int) -> Any:
        return program.ask("GET", f"{API}/batch/{whole.pk}", authorization="Bearer x", cookie=f"sessionid={'a' * 32}")

    async with program.asked_by(poll, 40, lambda: waiting == 40) as polling:
        assert await program.ask("GET", f"{API}/files/{file.pk}/meta") == 200
        coming.set()
        assert await asyncio.gather(*polling) == [200] * 40


async def test_who_wait_with_a_password_keep_neither_turn_nor_connection() -> None:
    whole = await batch(password_hash=hashed())
    await whole_file(batch=whole)
    file = await whole_file(batch=await batch())
    program = Program(at_once=4)

    def guess(number: int) -> Any:
        return unlock("a guess", address_of(number))

    def unlock(password: str, address: int) -> Any:
        return program.ask("POST", f"{API}/batch/{whole.pk}/unlock", {"password": password}, address)

    async with passwords._line.turn("somebody"), program.asked_by(guess, MOST, lambda: len(passwords._waiters) == MOST):
        assert await program.ask("GET", f"{API}/files/{file.pk}/meta") == 200
        assert await unlock(SECRET, 9) == 429, "so many may wait, of all"
    assert await unlock(SECRET, 9) == 200


async def test_who_wait_to_announce_a_batch_keep_neither_turn_nor_connection() -> None:
    file = await whole_file(batch=await batch())
    program = Program(at_once=4)

    def announce(number: int) -> Any:
        body = {"files": [{"filename": "a", "size": 1}]}
        return program.ask("POST", f"{API}/batch/initiate", body, address_of(number))

    turn: AbstractAsyncContextManager[None] = batch_api._batches.turn("somebody")
    async with turn, program.asked_by(announce, MOST, lambda: len(batch_api._announcing) == MOST):
        assert await program.ask("GET", f"{API}/files/{file.pk}/meta") == 200
        assert await announce(-1 - EACH) == 429, "so many may wait, of all"
    assert await announce(-1 - EACH) == 200


@pytest.mark.parametrize("what", ["announce", "unlock"])
async def test_one_person_has_few_places_and_leaves_the_others_to_others(what: str) -> None:
    whole = await batch(password_hash=hashed())
    await whole_file(batch=whole)
    program = Program(at_once=4)
    waiters = batch_api._announcing if what == "announce" else passwords._waiters

    def ask(address: int) -> Any:
        if what == "announce":
            return program.ask("POST", f"{API}/batch/initiate", {"files": [{"filename": "a", "size": 1}]}, address)
        return program.ask("POST", f"{API}/batch/{whole.pk}/unlock", {"password": SECRET}, address)

    held = batch_api._batches if what == "announce" else passwords._line
    turn: AbstractAsyncContextManager[None] = held.turn("somebody")
    async with turn, program.asked_by(lambda number: ask(1), EACH, lambda: len(waiters) == EACH):
        assert await ask(1) == 429
        async with program.asked_by(lambda number: ask(2), 1, lambda: len(waiters) == EACH + 1):
            pass
    assert len(waiters) == 0


async def test_a_batch_whose_passwords_wait_keeps_no_other_batch_waiting() -> None:
    program = Program(at_once=4)

    def announce(address: int, **protection: Any) -> Any:
        return program.ask(
            "POST", f"{API}/batch/initiate", {"files": [{"filename": "a", "size": 1}]} | protection, address
        )

    turn: AbstractAsyncContextManager[None] = passwords._line.turn("somebody")
    async with (
        turn,
        program.asked_by(lambda number: announce(1, password=SECRET), 1, lambda: len(passwords._waiters) == 1),
    ):
        assert await announce(2) == 200
