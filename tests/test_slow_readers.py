"""Downloads whose clients take little or nothing, and those who wait for them to end."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from devtools.client import Client, PatternSource, Upload
from devtools.server_process import ServerProcess
from tests.servers.hurried import SECONDS

MIB = 1024 * 1024
SIZE = 32 * MIB + 5  # more than the machine holds for a connection
SOURCE = PatternSource(SIZE, seed=7)
ONE, OTHER = "127.0.0.1", "127.0.0.2"

pytestmark = pytest.mark.every_server


@pytest.fixture(scope="module")
def server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Two downloads may run at once, one of each person."""
    data = tmp_path_factory.mktemp("slow-readers") / "data"
    shutil.copytree(prepared_data_dir, data)
    settings = {"MAX_CONCURRENT_DOWNLOADS": "2", "DATABASE_URL": ""}
    with ServerProcess(data, settings, ("-m", "tests.servers.hurried")) as server:
        yield server


@pytest.fixture(scope="module")
def upload(server: ServerProcess) -> Upload:
    async def sent() -> Upload:
        async with Client(server.url) as client:
            upload = await client.initiate("film.mkv", SIZE)
            await client.send(upload, SOURCE)
            return upload

    return asyncio.run(sent())


class Reading:
    """A download that is read by hand."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.got = bytearray()

    async def take(self, most: int) -> bool:
        """Take up to so much; False where the connection has ended."""
        try:
            block = await asyncio.get_running_loop().sock_recv(self._connection, most)
        except ConnectionError:
            return False
        self.got += block
        return bool(block)

    async def status(self) -> int:
        while b"\r\n\r\n" not in self.got:
            assert await self.take(1024), "the server ended it before the answer"
        head, _, body = bytes(self.got).partition(b"\r\n\r\n")
        self.got = bytearray(body)
        return int(head.split()[1])

    async def rest(self) -> None:
        while len(self.got) < SIZE and await self.take(MIB):
            pass


@asynccontextmanager
async def reading(server: ServerProcess, upload: Upload, address: str) -> AsyncIterator[Reading]:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection.bind((address, 0))
        await loop.sock_connect(connection, ("127.0.0.1", server.port))
        request = f"GET {upload.answer['download_url']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await loop.sock_sendall(connection, request.encode())
        yield Reading(connection)


async def test_what_nobody_reads_breaks_off_for_who_waits_and_can_be_resumed(
    server: ServerProcess, upload: Upload
) -> None:
    async with AsyncExitStack() as stack:
        stuck = await stack.enter_async_context(reading(server, upload, ONE))
        assert await stuck.status() == 200
        waits = await stack.enter_async_context(reading(server, upload, ONE))
        async with asyncio.timeout(30):
            assert await waits.status() == 200
            await waits.rest()
        assert waits.got == SOURCE.read(0, SIZE)
        async with asyncio.timeout(30):
            await stuck.rest()
        assert len(stuck.got) < SIZE, "no clean end"
        assert stuck.got == SOURCE.read(0, len(stuck.got))
    async with Client(server.url) as client:
        further = {"Range": f"bytes={len(stuck.got)}-"}
        async with client.http.get(upload.answer["download_url"], headers=further) as answer:
            assert answer.status == 206
            assert await answer.read() == SOURCE.read(len(stuck.got), SIZE)


async def test_who_takes_a_little_all_the_time_is_not_sent_away(server: ServerProcess, upload: Upload) -> None:
    """Far less than a block in the time that a block may take."""
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(reading(server, upload, ONE))
        assert await slow.status() == 200
        waits = await stack.enter_async_context(reading(server, upload, ONE))
        refused = asyncio.create_task(waits.status())
        async with asyncio.timeout(10 * SECONDS):
            while not refused.done():
                assert await slow.take(32 * 1024)
                await asyncio.sleep(0.5)
        assert await refused == 429
        async with asyncio.timeout(30):
            await slow.rest()
        assert slow.got == SOURCE.read(0, SIZE)
