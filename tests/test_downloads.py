"""Downloads from a disk that fails, from files that change, by clients that stop, and more of them than may run."""

import asyncio
import errno
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from devtools.client import Client, PatternSource, Refused, Upload
from devtools.faulty_server import FaultyServer
from tests.faults import MIB, open_uploads, until

SIZE = 32 * MIB + 5
SOURCE = PatternSource(SIZE, seed=6)
HERE, THERE = "127.0.0.1", "127.0.0.2"

pytestmark = pytest.mark.every_server


@pytest.fixture(scope="module")
def server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    data = tmp_path_factory.mktemp("downloads") / "data"
    shutil.copytree(prepared_data_dir, data)
    with FaultyServer(data, {"MAX_CONCURRENT_DOWNLOADS_PER_USER": "3", "DATABASE_URL": ""}) as server:
        yield server


@pytest.fixture
async def client(server: FaultyServer) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        yield client
    server.mend()
    await until(lambda: not open_uploads(server), "what nobody downloads is closed")


@pytest.fixture
async def upload(client: Client) -> AsyncIterator[Upload]:
    """A file that is there, and gone after the test."""
    upload = await client.initiate("film.mkv", SIZE)
    await client.send(upload, SOURCE)
    yield upload
    await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)


def stored(server: FaultyServer, upload: Upload) -> Path:
    return server.data_dir / "storage" / "files" / upload.file_id[:2] / upload.file_id


class Download:
    """A download on a connection of its own, which is read as far as the test reads it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status = self.length = 0
        self.got = bytearray()

    async def read_head(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.status = int(head.split()[1])
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        self.length = int(lines.get("content-length", 0))

    async def read(self, count: int) -> None:
        self.got += await self.reader.readexactly(count)

    async def read_on(self) -> bool:
        """Read until the connection ends; whether all came that was announced."""
        try:
            while block := await self.reader.read(MIB):
                self.got += block
                if len(self.got) >= self.length:
                    return True
        except ConnectionError:
            pass
        return len(self.got) >= self.length


@asynccontextmanager
async def downloading(server: FaultyServer, upload: Upload, address: str = HERE) -> AsyncIterator[Download]:
    """Asked for, whether or not an answer comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
    writer.write(f"GET {upload.answer['download_url']} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    try:
        yield Download(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def running(
    server: FaultyServer, upload: Upload, count: int, address: str = HERE
) -> AsyncIterator[list[Download]]:
    """So many downloads that have begun, one after the other."""
    async with AsyncExitStack() as stack:
        downloads = []
        for _ in range(count):
            downloads.append(await stack.enter_async_context(downloading(server, upload, address)))
            await downloads[-1].read_head()
        yield downloads


async def rest_of(client: Client, upload: Upload, start: int) -> bytes:
    async with client.http.get(upload.answer["download_url"], headers={"Range": f"bytes={start}-"}) as answer:
        assert answer.status == 206
        return await answer.read()


async def is_refused(client: Client, upload: Upload) -> bool:
    async with client.http.get(upload.answer["download_url"], headers={"Range": "bytes=0-0"}) as answer:
        return answer.status == 429


# --- The disk, and what lies on it ---


async def test_a_disk_that_fails_in_the_middle_breaks_the_connection_and_the_next_range_goes_on(
    server: FaultyServer, client: Client, upload: Upload
) -> None:
    async with downloading(server, upload) as download:
        await download.read_head()
        await download.read(MIB)
        server.fail("pread", errno=errno.EIO)
        async with asyncio.timeout(20):
            assert not await download.read_on()
    assert download.status == 200
    assert MIB <= len(download.got) < download.length == SIZE
    assert download.got == SOURCE.read(0, len(download.got)), "an error page is no part of a file"
    server.mend()
    assert await rest_of(client, upload, len(download.got)) == SOURCE.read(len(download.got), SIZE)
    assert "Exception in" not in server.text(), "it is foreseen"


async def test_a_disk_that_fails_at_the_start_is_told_by_its_code(
    server: FaultyServer, client: Client, upload: Upload
) -> None:
    server.fail("open", errno=errno.EIO, path=f"/{upload.file_id}")
    with pytest.raises(Refused) as refused:
        await client.call("GET", f"download/stream/{upload.file_id}")
    assert (refused.value.code, refused.value.extra["status"]) == ("storage_unavailable", 503)


async def test_a_file_that_is_cut_or_written_to_under_a_download_breaks_it(
    server: FaultyServer, client: Client, upload: Upload
) -> None:
    path = stored(server, upload)
    async with downloading(server, upload) as one:
        await one.read_head()
        await one.read(MIB)
        with path.open("r+b") as file:
            file.seek(SIZE - 5)
            file.write(b"other")
        assert not await one.read_on()
    assert one.got == SOURCE.read(0, len(one.got))
    async with downloading(server, upload) as other:
        await other.read_head()
        await other.read(MIB)
        os.truncate(path, SIZE - 1)
        assert not await other.read_on()
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await client.call("GET", f"download/stream/{upload.file_id}")
        assert refused.value.code == "storage_unavailable", "from then on not a byte is given"
        path.unlink(missing_ok=True)


async def test_a_file_that_another_takes_the_place_of_is_given_to_its_end(
    server: FaultyServer, client: Client, upload: Upload, tmp_path: Path
) -> None:
    async with downloading(server, upload) as download:
        await download.read_head()
        await download.read(MIB)
        other = tmp_path / "other"
        other.write_bytes(b"x" * SIZE)
        shutil.move(other, stored(server, upload))
        assert await download.read_on()
    assert download.got == SOURCE.read(0, SIZE)


# --- Clients that go, and those that come beyond what may run ---


async def test_who_goes_away_in_the_middle_leaves_nothing_open(
    server: FaultyServer, client: Client, upload: Upload
) -> None:
    for read in (0, MIB):
        async with downloading(server, upload) as download:
            await download.read_head()
            await download.read(read)
            await until(lambda: open_uploads(server), "it is under way")
        await until(lambda: not open_uploads(server), "its file is closed")


async def test_downloads_that_run_keep_no_threads(server: FaultyServer, client: Client, upload: Upload) -> None:
    """But for those of the storage, which are few, and made when they are needed first."""
    async with running(server, upload, 3), AsyncExitStack() as stack:
        before = server.threads()
        for number in range(2, 14):
            await stack.enter_async_context(running(server, upload, 3, f"127.0.0.{number}"))
        assert server.threads() - before < 36 / 2


async def test_who_has_enough_downloads_waits_for_one_to_end_and_keeps_nobody_else_waiting(
    server: FaultyServer, client: Client, upload: Upload
) -> None:
    async with running(server, upload, 3) as [one, _two, _three], downloading(server, upload) as four:
        waiting = asyncio.create_task(four.read_head())
        await until(lambda: len(open_uploads(server)) == 3, "three of them run")
        assert (await client.call("GET", f"files/{upload.file_id}/meta"))["status"] == "completed"
        async with Client(server.url, address=THERE) as other, other.http.get(upload.answer["download_url"]) as answer:
            assert await answer.read() == SOURCE.read(0, SIZE)
        assert not waiting.done()
        one.writer.transport.abort()
        async with asyncio.timeout(10):
            await waiting
        assert four.status == 200
        assert await four.read_on()


async def test_where_too_many_wait_already_a_download_is_told_when_to_come_back(
    server: FaultyServer, client: Client, upload: Upload
) -> None:
    async with running(server, upload, 3), AsyncExitStack() as stack:
        more = [await stack.enter_async_context(downloading(server, upload)) for _ in range(4)]
        heads = {asyncio.create_task(download.read_head()): download for download in more}
        async with asyncio.timeout(10):
            done, waiting = await asyncio.wait(heads, return_when=asyncio.FIRST_COMPLETED)
        [refused] = [heads[head] for head in done]
        assert refused.status == 429
        problem = json.loads(await refused.reader.readexactly(refused.length))
        assert (problem["code"], problem["retryable"], problem["retry_after"]) == ("rate_limited", True, 10)
        async with client.http.head(upload.answer["download_url"]) as head:
            assert head.status == 200, "what has no body needs no turn"
        for task in waiting:
            task.cancel()
    async with asyncio.timeout(20):
        while await is_refused(client, upload):  # until the server has seen that they are gone
            await asyncio.sleep(0.05)
    assert await rest_of(client, upload, SIZE - 1) == SOURCE.read(SIZE - 1, SIZE)
