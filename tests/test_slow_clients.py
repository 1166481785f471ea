"""Clients that say nothing, half of something, or never read: each is let go in the end, and costs others nothing."""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from devtools.client import Client, PatternSource, sha256_of
from devtools.raw_socket import BINARY, HANGS_SECONDS, KEY, TEXT, Ending, Socket, frame
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import slots_are_free, started
from tests.bad_input.sockets import brought_to

MIB = 1024 * 1024
INITIATE = b"POST /api/v1/upload/initiate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
UPGRADE = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n".encode()


# All come from one address.
SETTINGS = {
    "UPLOAD_IDLE_SECONDS": "6",
    "MAX_CONCURRENT_DOWNLOADS": "600",
    "MAX_CONCURRENT_DOWNLOADS_PER_USER": "300",
}


@pytest.fixture(scope="module")
def impatient(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that waits for a request's headers for 1 s, for its body for 2, for a reader for 3."""
    program = ("-m", "tests.servers.impatient")
    with started(prepared_data_dir, tmp_path_factory, program=program, **SETTINGS) as server:
        yield server


@pytest.fixture
async def client(impatient: ServerProcess) -> AsyncIterator[Client]:
    async with Client(impatient.url) as client:
        yield client


class Connection:
    """A bare TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: ServerProcess) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def drip(self, data: bytes, pause: float) -> None:
        """Send `data` byte by byte, and then nothing more, until the server has had enough."""
        with suppress(ConnectionError):
            for byte in data:
                self.writer.write(bytes([byte]))
                await self.writer.drain()
                await asyncio.sleep(pause)

    async def is_ended(self) -> bool:
        """Whether the server ends it, whatever it says before; fails where it never does."""
        async with asyncio.timeout(HANGS_SECONDS):
            with suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
        self.writer.transport.abort()
        return True


HALVES: dict[str, bytes] = {
    "nothing": b"",
    "a letter": b"G",
    "half a request line": b"GET /api/v1/upload/quo",
    "no end of headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n",
    "half a header": b"GET / HTTP/1.1\r\nHost: 127.",
    "half a handshake": b"GET /ws_api/upload/x HTTP/1.1\r\nHost: 127.0.0.1\r\n" + UPGRADE,
    "no body": INITIATE + b"Content-Length: 50\r\n\r\n",
    "half a body": INITIATE + b'Content-Length: 50\r\n\r\n{"filename": "a',
    "half a chunk": INITIATE + b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"file',
    "no last chunk": INITIATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "too long a body, of which nothing comes": INITIATE + b"Content-Length: 99999999\r\n\r\n",
    "a body on a call that takes none": INITIATE.replace(b"initiate", b"cancel/x") + b"Content-Length: 50\r\n\r\n",
    "half a second request": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /hea",
    "half of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "half of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
}


@pytest.mark.parametrize("half", HALVES)
async def test_half_a_request_is_not_waited_for_for_ever(impatient: ServerProcess, half: str) -> None:
    connection = await Connection.open(impatient)
    connection.writer.write(HALVES[half])
    assert await connection.is_ended()


@pytest.mark.parametrize("half", ["no end of headers", "half a body", "half a second request", "half a handshake"])
async def test_a_byte_now_and_then_buys_no_time(impatient: ServerProcess, half: str) -> None:
    connection = await Connection.open(impatient)
    start = HALVES[half]
    connection.writer.write(start)
    dripping = asyncio.create_task(connection.drip(b"x" * 1000, pause=0.2))
    assert await connection.is_ended()
    dripping.cancel()


async def test_a_request_that_takes_a_while_is_answered_all_the_same(impatient: ServerProcess) -> None:
    """Its headers and its body each come in their time, and further requests on the same connection too."""
    connection = await Connection.open(impatient)
    body = b'{"filename": "a", "size": 1}'
    for _ in range(3):
        head = INITIATE + f"Content-Length: {len(body)}\r\n".encode()
        for part in (head, b"\r\n", body[:10], body[10:]):
            connection.writer.write(part)
            await asyncio.sleep(0.3)
        async with asyncio.timeout(HANGS_SECONDS):
            assert (await connection.reader.readline()).startswith(b"HTTP/1.1 200")
            head = await connection.reader.readuntil(b"\r\n\r\n")
            [length] = [
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            ]
            await connection.reader.readexactly(length)
    connection.writer.transport.abort()


async def test_a_socket_outlives_the_clocks_of_a_request(impatient: ServerProcess, client: Client) -> None:
    async with brought_to("half sent", impatient, client) as scene:
        for _ in range(5):
            await asyncio.sleep(0.5)
            await scene.socket.send(frame(9))
        await scene.socket.send(frame(BINARY, b"45"))
        await scene.socket.say(type="finish")
        heard = await scene.socket.until("success")
        assert not isinstance(heard, Ending)
        assert heard["type"] == "success"


# --- silence on the upload socket ---


@pytest.mark.parametrize("stage", ["at `ready`", "half sent", "all sent", "told `incomplete`", "rewound"])
async def test_a_sender_that_goes_silent_is_told_and_loses_nothing(
    impatient: ServerProcess, client: Client, stage: str
) -> None:
    async with brought_to(stage, impatient, client) as scene:
        assert await scene.refused_with("idle_timeout") is None
        assert await scene.is_as_it_was() is None
    await slots_are_free(client)


async def test_a_client_that_never_takes_leave_is_left(impatient: ServerProcess, client: Client) -> None:
    """It is refused, and never answers the close."""
    async with brought_to("half sent", impatient, client) as scene:
        await scene.socket.send(frame(TEXT, b"nonsense"))
        connection = Connection(scene.socket.reader, scene.socket.writer)
        assert await connection.is_ended()
        assert await scene.is_as_it_was() is None


# --- downloads that nobody reads ---


async def large_file(client: Client, size: int) -> str:
    upload = await client.initiate("large.bin", size)
    await client.send(upload, PatternSource(size))
    return str(upload.answer["download_url"])


@pytest.mark.every_server
async def test_downloads_that_nobody_reads_cost_little_and_are_ended(impatient: ServerProcess, client: Client) -> None:
    url = await large_file(client, 64 * MIB)
    await client.call("GET", "upload/quota-info")
    before = impatient.memory()
    stuck = [await Connection.open(impatient) for _ in range(200)]
    for connection in stuck:
        connection.writer.write(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    for connection in stuck:
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.writer.transport.pause_reading()
    await asyncio.sleep(1)
    peak = impatient.memory()
    async with client.http.get(url) as response:
        assert len(await response.read()) == 64 * MIB, "somebody who reads gets the file meanwhile"
    assert peak - before < 128 * MIB
    async with asyncio.timeout(HANGS_SECONDS):
        while (await open_sockets(impatient)) > 20:
            await asyncio.sleep(0.2)
    for connection in stuck:
        connection.writer.transport.abort()


async def open_sockets(server: ServerProcess) -> int:
    return sum(1 for link in Path(f"/proc/{server.pid}/fd").iterdir() if "socket:" in _target(link))


def _target(link: Path) -> str:
    with suppress(OSError):
        return str(link.readlink())
    return ""


async def test_requests_piled_up_on_a_connection_that_nobody_reads_cost_little(
    impatient: ServerProcess, client: Client
) -> None:
    await client.call("GET", "upload/quota-info")
    before = impatient.memory()
    connection = await Connection.open(impatient)
    connection.writer.transport.pause_reading()
    requests = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2000
    with suppress(ConnectionError, TimeoutError):
        for _ in range(50):
            connection.writer.write(requests)
            async with asyncio.timeout(2):
                await connection.writer.drain()
    assert impatient.memory() - before < 16 * MIB
    connection.writer.transport.abort()


# --- many at once ---


async def an_upload_ends_equal(client: Client) -> None:
    source = PatternSource(32 * MIB + 5, seed=3)
    upload = await client.initiate("honest.bin", source.size)
    success = await client.send(upload, source, sha256=sha256_of(source))
    assert success["sha256"] == await client.digest_of_download(upload)


async def test_a_thousand_idle_connections_keep_nobody_out(start_server: Callable[..., ServerProcess]) -> None:
    """More than the usual soft limit on open files, which a server starts with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        server = start_server()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    async with Client(server.url) as client:
        await client.call("GET", "upload/quota-info")
        before = server.memory()
        idle = [await Connection.open(server) for _ in range(1200)]
        for number, connection in enumerate(idle):
            connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" if number % 2 else b"GET /")
        await an_upload_ends_equal(client)
        assert server.memory() - before < 1200 * 64 * 1024 + 16 * MIB
        for connection in idle:
            connection.writer.transport.abort()


async def test_five_hundred_sockets_that_say_nothing_keep_nobody_out(server: ServerProcess) -> None:
    async with Client(server.url) as client:
        await five_hundred_say_nothing(server, client)


async def five_hundred_say_nothing(server: ServerProcess, client: Client) -> None:
    upload = await client.initiate("silent.bin", 5)
    before = server.memory()
    silent = await asyncio.gather(*(Socket.open(server.port, upload.answer["upload_url"]) for _ in range(500)))
    assert {socket.status for socket in silent} == {101}
    await an_upload_ends_equal(client)
    assert server.memory() - before < 500 * 64 * 1024 + 24 * MIB
    for socket in silent:
        socket.abort()
    await slots_are_free(client)
