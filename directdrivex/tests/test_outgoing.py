"""Streams leave when Django is done with them, and what they hold is given back however they end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse

from directdrivex import outgoing
from directdrivex.outgoing import BrokenOffError, Handler
from uploads.delivery.lasting import READER, held_by
from uploads.delivery.reader import Reader
from uploads.storage.base import StorageUnavailableError

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


class Played:
    """A handler whose one view answers with `blocks`, and the client that asks it."""

    def __init__(self, blocks: AsyncIterator[bytes] | None) -> None:
        self.blocks = blocks
        self.sent: list[dict[str, Any]] = []
        self.given_back = False
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self._handler = Handler()
        self._handler.get_response_async = self._view  # type: ignore[method-assign]
        self._asked = False

    async def _view(self, request: Any) -> Any:
        held = held_by(request.scope)
        assert held is not None
        held.callback(setattr, self, "given_back", True)
        return HttpResponse(b"whole") if self.blocks is None else StreamingHttpResponse(self.blocks)

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request"}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        self.sent.append(message)

    async def run(self, **more: Any) -> None:
        async with asyncio.timeout(10):
            await self._handler(SCOPE | more, self.receive, self.send)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_ended(self) -> bool:
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1].get("more_body")


async def two_blocks(between: Any = None) -> AsyncIterator[bytes]:
    yield b"one"
    if between is not None:
        await between()
    yield b"two"


@pytest.mark.parametrize(("blocks", "body"), [(None, b"whole"), (two_blocks, b"onetwo")])
async def test_an_answer_is_sent_to_its_end_and_what_it_holds_given_back(blocks: Any, body: bytes) -> None:
    played = Played(blocks() if blocks else None)
    await played.run()
    assert (played.body, played.is_ended, played.given_back) == (body, True, True)


async def test_a_fault_in_the_middle_never_ends_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise StorageUnavailableError("the disk failed")

    played = Played(two_blocks(fail))
    with pytest.raises(BrokenOffError):
        await played.run()
    assert (played.body, played.is_ended, played.given_back) == (b"one", False, True)


async def test_who_goes_away_ends_it_at_once_though_nothing_comes() -> None:
    ended = asyncio.Event()

    async def blocks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            played.gone.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    played = Played(blocks())
    await played.run()
    assert (played.body, played.is_ended, played.given_back, ended.is_set()) == (b"one", False, True, True)


async def test_who_takes_nothing_for_too_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "STUCK_SECONDS", 0.05)
    played = Played(two_blocks(between=lambda: asyncio.sleep(0, played.takes.clear())))
    with pytest.raises(BrokenOffError):
        await played.run()
    assert (played.body, played.given_back) == (b"one", True)


async def test_who_must_give_way_is_left_in_the_middle() -> None:
    async def stop() -> None:
        played.takes.clear()
        reader.give_way()

    reader = Reader(lambda: 0)
    played = Played(two_blocks(between=stop))
    with pytest.raises(BrokenOffError):
        await played.run(**{READER: reader})
    assert (played.body, played.is_ended, played.given_back) == (b"one", False, True)
