"""Whose requests are read now, and that nothing of them is lost by waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from directdrivex.reading import PIECE_BYTES, MeasuredHTTP, Readers
from uploads.time_shares import Share

HERE, THERE = "127.0.0.1", "127.0.0.2"
HEAD = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
ONE_BYTE = b"1\r\nx\r\n"


async def tells_the_length(scope: Any, receive: Any, send: Any) -> None:
    length, more = 0, True
    while more:
        if (message := await receive())["type"] == "http.disconnect":
            return
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    told = str(length).encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@asynccontextmanager
async def served(share: Share, everybody: str = "", state: ServerState | None = None) -> AsyncIterator[int]:
    config = uvicorn.Config(tells_the_length, log_config=None, lifespan="off", proxy_headers=False)
    config.load()
    state = state or ServerState()
    whole: dict[str, Any] = {"config": config, "server_state": state, "app_state": {}}
    connection = partial(MeasuredHTTP, Readers(share), lambda address: None if address == everybody else address)
    server = await asyncio.get_running_loop().create_server(partial(connection, **whole), "127.0.0.1", 0)
    async with asyncio.timeout(20), server:
        yield server.sockets[0].getsockname()[1]
        while state.connections:
            await asyncio.sleep(0.01)


async def ask(port: int, request: bytes, address: str = HERE) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n")[2]


def in_chunks_of_one_byte(length: int) -> bytes:
    return f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + ONE_BYTE * length + b"0\r\n\r\n"


def at_once(length: int) -> bytes:
    return f"{HEAD}Content-Length: {length}\r\n\r\n".encode() + bytes(length)


def generous() -> Share:
    return Share(lambda person: True, part=1.0, ahead=1000.0)


def stingy() -> Share:
    return Share(lambda person: True, part=0.05, ahead=0.0)


@pytest.mark.parametrize("share", [generous, stingy])
async def test_a_request_of_many_pieces_comes_in_whole(share: Any) -> None:
    async with served(share()) as port:
        assert await ask(port, at_once(5 * PIECE_BYTES + 1)) == str(5 * PIECE_BYTES + 1).encode()
        assert await ask(port, in_chunks_of_one_byte(PIECE_BYTES // 2)) == str(PIECE_BYTES // 2).encode()


async def test_who_used_their_share_up_is_read_later_and_others_at_once() -> None:
    async with served(stingy()) as port:
        flood = asyncio.create_task(ask(port, in_chunks_of_one_byte(PIECE_BYTES)))
        await asyncio.sleep(0.05)
        assert await ask(port, at_once(1), THERE) == b"1"
        assert not flood.done()
        assert await flood == str(PIECE_BYTES).encode()


async def test_all_connections_of_a_person_keep_to_one_share_and_all_are_read_in_the_end() -> None:
    async with served(stingy()) as port:
        assert await asyncio.gather(*(ask(port, at_once(PIECE_BYTES)) for _ in range(5))) == [b"%d" % PIECE_BYTES] * 5


async def test_who_is_everybody_never_waits() -> None:
    share = stingy()
    async with served(share, everybody=HERE) as port:
        await ask(port, in_chunks_of_one_byte(PIECE_BYTES))
    assert len(share) == 0


async def test_who_leaves_while_they_wait_leaves_the_turn_to_who_comes_next() -> None:
    async with served(stingy()) as port:
        for _ in range(3):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(HERE, 0))
            writer.write(in_chunks_of_one_byte(PIECE_BYTES // 4))
            await asyncio.sleep(0.02)
            writer.transport.abort()
        assert await ask(port, at_once(1)) == b"1"


async def test_who_waits_does_not_keep_the_program_from_its_end() -> None:
    share, state = stingy(), ServerState()
    async with served(share, state=state) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(in_chunks_of_one_byte(100 * PIECE_BYTES))
        while not share.wait(HERE):
            await asyncio.sleep(0.01)
        for connection in list(state.connections):
            connection.shutdown()
        writer.transport.abort()
