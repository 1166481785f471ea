"""One client that sends far too much costs memory to nobody, and the others are still served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from devtools.client import Client, PatternSource
from devtools.raw_socket import BINARY, CONTINUATION, PING, PONG, Socket, frame, request_of
from devtools.rude import HONEST_ADDRESS
from devtools.server_process import ServerProcess

MIB = 1024 * 1024
FLOOD = 400  # connections of one address: more than may come ahead of their share, fewer than are closed
SOCKET = "/ws_api/upload_parallel/x"
QUOTA_INFO = b"GET /api/v1/upload/quota-info HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
pytestmark = pytest.mark.every_server


@pytest.fixture
async def client(wire_server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(wire_server.url) as client:
        yield client


async def flood(server: ServerProcess, first: bytes, block: bytes, total: int) -> None:
    """Open a socket, never read, and send `block` again and again until `total` bytes are gone or nobody takes more."""
    writer = (await Socket.open(server.port, SOCKET)).writer
    try:
        writer.write(first)
        for _ in range(total // len(block)):
            writer.write(block)
            async with asyncio.timeout(2):
                await writer.drain()
    except (OSError, TimeoutError):
        pass  # refused, or held back: either will do
    finally:
        writer.transport.abort()


async def status_of(server: ServerProcess, asked: bytes) -> bytes:
    """The status that is answered to this on a connection of its own, which is left then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(asked)
    status = (await reader.readline()).split()[1]
    writer.transport.abort()
    return status


@pytest.mark.parametrize(
    ("first", "block"),
    [
        (b"", frame(PING, bytes(125)) * 500),
        (b"", frame(PING) * 5000),
        (b"", frame(BINARY) * 5000),
        (b"", frame(BINARY, bytes(1)) * 5000),
        (frame(BINARY, final=False), frame(CONTINUATION, final=False) * 5000),
    ],
    ids=["full pings", "empty pings", "empty frames", "one-byte frames", "empty continuations"],
)
async def test_a_client_that_floods_and_never_reads_costs_no_memory(
    client: Client, wire_server: ServerProcess, first: bytes, block: bytes
) -> None:
    await client.call("GET", "upload/quota-info")
    before = wire_server.memory()
    await flood(wire_server, first, block, 30 * MIB)
    assert wire_server.memory() - before < 16 * MIB
    assert await client.call("GET", "upload/quota-info")


async def test_large_frames_that_are_announced_and_not_sent_cost_no_memory(
    client: Client, wire_server: ServerProcess
) -> None:
    await client.call("GET", "upload/quota-info")
    before = wire_server.memory()
    begun = frame(BINARY, bytes(1000), length=b"\x7f" + MIB.to_bytes(8, "big"))
    writers = []
    for _ in range(100):
        writer = (await Socket.open(wire_server.port, SOCKET)).writer
        writer.write(begun)
        writers.append(writer)
    await client.call("GET", "upload/quota-info")
    assert wire_server.memory() - before < 100 * MIB // 4
    for writer in writers:
        writer.transport.abort()


async def test_endless_request_headers_are_refused(client: Client, wire_server: ServerProcess) -> None:
    before = wire_server.memory()
    _reader, writer = await asyncio.open_connection("127.0.0.1", wire_server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    sent = 0
    try:
        while sent < 30 * MIB:
            writer.write(b"X-A: " + b"a" * 8000 + b"\r\n")
            sent += 8007
            async with asyncio.timeout(10):
                await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()
    assert sent < 30 * MIB, "the server let go of the connection"
    assert wire_server.memory() - before < 16 * MIB
    assert await client.call("GET", "upload/quota-info")


async def test_many_large_bodies_that_never_come_to_their_end_cost_the_memory_of_a_few(
    client: Client, wire_server: ServerProcess
) -> None:
    before = wire_server.memory()
    headers = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {2 * MIB}\r\n\r\n"
    begun = f"POST /api/v1/batch/initiate HTTP/1.1\r\n{headers}".encode() + bytes(2 * MIB - 1)
    writers = [(await asyncio.open_connection("127.0.0.1", wire_server.port))[1] for _ in range(100)]
    for writer in writers:
        writer.write(begun)
    taken = [asyncio.create_task(writer.drain()) for writer in writers]
    await asyncio.wait(taken, timeout=3)  # most are held back
    assert wire_server.memory() - before < 48 * MIB
    assert await client.initiate("small.bin", 1)
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*taken, return_exceptions=True)


async def test_a_thousand_requests_at_once_wait_for_each_other_and_for_nobody_else(wire_server: ServerProcess) -> None:
    """Each that is worked on costs a thread; somebody else who comes later is not behind all of them."""
    program = psutil.Process(wire_server.pid)
    before, most = program.memory_info().rss, 0
    answered: list[bytes] = []

    async def ask() -> None:
        answered.append(await status_of(wire_server, QUOTA_INFO))

    flood = [asyncio.create_task(ask()) for _ in range(1000)]
    while not answered:
        await asyncio.sleep(0.01)
    async with Client(wire_server.url, address=HONEST_ADDRESS) as honest:
        await honest.call("GET", "upload/quota-info")
        assert len(answered) < 500
    while not all(asked.done() for asked in flood):
        most = max(most, program.num_threads())
        await asyncio.sleep(0.05)
    assert answered == [b"200"] * 1000
    assert most < 150
    assert program.memory_info().rss - before < 100 * MIB


@asynccontextmanager
async def somebody_uploads(server: ServerProcess) -> AsyncIterator[None]:
    """An honest upload that moves for as long as this lasts, a little at a time."""
    async with Client(server.url, address=HONEST_ADDRESS) as honest:
        source = PatternSource(4096 * MIB)
        upload = await honest.initiate("honest.bin", source.size)
        moves = asyncio.Event()

        async def slowly(length: int) -> None:
            if upload.stored:
                moves.set()
            await asyncio.sleep(0.05)

        sending = asyncio.create_task(honest.send(upload, source, pace=slowly))
        async with asyncio.timeout(30):
            await moves.wait()
        yield
        assert upload.connections == 1, "nobody broke the honest connection"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await honest.call("POST", f"upload/cancel/{upload.file_id}", token=upload.token)


@pytest.mark.parametrize("what", ["requests", "handshakes"])
async def test_who_opens_hundreds_of_connections_beside_an_upload_waits_is_answered_and_delays_nobody(
    wire_server: ServerProcess, what: str
) -> None:
    asked = {
        "requests": QUOTA_INFO,
        "handshakes": request_of(SOCKET, wire_server.port),
    }[what]
    answered: list[bytes] = []

    async def ask() -> None:
        answered.append(await status_of(wire_server, asked))

    async with somebody_uploads(wire_server), Client(wire_server.url, address="127.0.0.3") as other:
        flood = [asyncio.create_task(ask()) for _ in range(FLOOD)]
        async with asyncio.timeout(60):
            while len(answered) < 20:
                await asyncio.sleep(0.01)
            # Nothing that is written: a slow disk delays that, and does not delay the flood.
            assert await other.call("GET", "upload/quota-info")
            assert len(answered) < FLOOD * 3 // 4, "somebody else was not behind all of them"
            await asyncio.gather(*flood)
    assert answered == [{"requests": b"200", "handshakes": b"101"}[what]] * FLOOD


async def test_bodies_in_chunks_of_one_byte_are_read_beside_what_everybody_else_asks(
    wire_server: ServerProcess,
) -> None:
    """Reading them takes much time, and nobody is in company yet."""
    head = b"POST /api/v1/upload/initiate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    body = head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + b"1\r\n \r\n" * 20_000 + b"0\r\n\r\n"
    answered: list[bytes] = []

    async def ask() -> None:
        answered.append(await status_of(wire_server, body))

    async with Client(wire_server.url, address=HONEST_ADDRESS) as honest:
        flood = [asyncio.create_task(ask()) for _ in range(8)]
        for _ in range(3):
            await honest.call("GET", "upload/quota-info")
        assert len(answered) < 4
        await asyncio.gather(*flood)
    assert answered == [b"422"] * 8


async def test_who_connects_and_leaves_without_a_word_leaves_nothing_behind(wire_server: ServerProcess) -> None:
    program = psutil.Process(wire_server.pid)
    async with somebody_uploads(wire_server), Client(wire_server.url, address="127.0.0.3") as other:
        before = program.num_fds()
        for number in range(500):
            _reader, writer = await asyncio.open_connection("127.0.0.1", wire_server.port)
            if number % 2:
                writer.write(request_of(SOCKET, wire_server.port))
            writer.transport.abort()
        assert await other.initiate("small.bin", 1)
        async with asyncio.timeout(30):
            while program.num_fds() > before + 20:
                await asyncio.sleep(0.1)


async def test_a_connection_that_is_only_there_for_control_frames_is_cut_off(
    client: Client, wire_server: ServerProcess
) -> None:
    socket = await Socket.open(wire_server.port, SOCKET)
    reader, writer = socket.reader, socket.writer
    writer.write(frame(PONG) * 150)
    await writer.drain()
    with pytest.raises(TimeoutError):  # as many as a healthy client sends in an hour do no harm
        async with asyncio.timeout(1):
            await reader.read(1)
    try:
        writer.write(frame(PONG) * 5000)
        async with asyncio.timeout(10):
            await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    assert await client.call("GET", "upload/quota-info")


async def test_no_header_of_a_client_moves_the_root_of_the_addresses(wire_server: ServerProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", wire_server.port)
    writer.write(
        b"GET /static/api/v1/upload/quota-info HTTP/1.1\r\nHost: 127.0.0.1\r\nDaphne-Root-Path: /static\r\n"
        b"Connection: close\r\n\r\n"
    )
    async with asyncio.timeout(10):
        assert (await reader.readline()).split()[1] == b"404"
    writer.close()
