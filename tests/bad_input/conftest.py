"""One program for each module of the matrix, and what was stored in it before: that must be there afterwards."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from devtools.client import Client, Upload
from devtools.raw_socket import HANGS_SECONDS
from devtools.server_process import ServerProcess
from tests.bad_input.matrix import TALLY

MIB = 1024 * 1024
GROWTH = 48 * MIB  # over all cells of a module; one body of 2 MiB that is kept for each cell would be far above


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@dataclass
class Treasure:
    """What honest people have on the server: a finished file, which is a batch of its own, and one half there.

    `batch` has the batch's id in the place of the file's.
    """

    server: ServerProcess
    finished: Upload
    half: Upload
    batch: Upload
    finished_bytes: bytes = field(repr=False)
    half_bytes: bytes = field(repr=False)
    stored: int
    memory: int

    async def is_untouched(self, client: Client) -> None:
        """Both are as they were, to the byte, and the server has not grown."""
        async with client.http.get(self.finished.answer["download_url"]) as response:
            assert (response.status, await response.read()) == (200, self.finished_bytes)
        status = await client.status(self.half)
        assert (status["status"], status["offset"]) == ("pending", self.stored)
        [part] = Path(self.server.data_dir).rglob(f"{self.half.file_id}.part")
        assert part.read_bytes()[: self.stored] == self.half_bytes[: self.stored]
        slots = (await client.call("GET", "system/upload-status"))["concurrency_manager"]
        assert slots["violations"] == 0
        assert self.server.memory() - self.memory < GROWTH

    async def ends_equal(self, client: Client) -> None:
        """The half that is there can be gone on from, and the whole is what was meant."""
        success = await client.send(self.half, Bytes(self.half_bytes))
        assert self.half.of_type("ready")[0]["offset"] == self.stored
        async with client.http.get(success["value"]) as response:
            assert await response.read() == self.half_bytes


# A lost connection keeps its slot a while: room for as many as a module's rude clients leave behind.
ROOMY = {
    "MAX_CONCURRENT_UPLOADS": "300",
    "MAX_CONCURRENT_UPLOADS_PER_USER": "300",
    "UPLOAD_WINDOW_BYTES": str(2 * MIB),
    "UPLOAD_IDLE_SECONDS": "5",
}


@contextmanager
def started(
    prepared: Path,
    factory: pytest.TempPathFactory,
    *,
    program: Sequence[str] = ("manage.py", "serve"),
    **environment: str,
) -> Iterator[ServerProcess]:
    """The real program on a fresh data folder, with room for many uploads of one person at once."""
    data = factory.mktemp("bad-input") / "data"
    shutil.copytree(prepared, data)
    with ServerProcess(data, ROOMY | environment, program) as server:
        yield server


@pytest.fixture(scope="module")
def server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with started(prepared_data_dir, tmp_path_factory) as server:
        yield server


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def laid_down(server: ServerProcess) -> Treasure:
    """The treasure, laid down once for the module."""
    return asyncio.run(lay_down(server))


async def lay_down(server: ServerProcess) -> Treasure:
    finished_bytes, half_bytes = os.urandom(3000), os.urandom(900_000)
    async with Client(server.url) as client:
        files = [{"filename": "finished.bin", "size": len(finished_bytes), "path": "of/a batch"}]
        batch = await client.call("POST", "batch/initiate", json={"files": files, "title": "A batch"})
        finished = client.upload_from(batch["files"][0])
        await client.send(finished, Bytes(finished_bytes))
        half = await client.initiate("half.bin", len(half_bytes))
        async with client.connect(half) as socket:
            await socket.send(f'{{"type": "start", "token": "{half.token}"}}')
            await socket.recv()
            await socket.send(half_bytes[:400_000])
            await socket.recv()
            await socket.close(1000)
        stored = (await client.status(half))["offset"]
    assert stored == 400_000
    as_batch = replace(finished, file_id=batch["batch_id"])
    return Treasure(server, finished, half, as_batch, finished_bytes, half_bytes, stored, server.memory())


@pytest.fixture
async def treasure(laid_down: Treasure, client: Client) -> AsyncIterator[Treasure]:
    """The treasure, looked after when the test is over."""
    yield laid_down
    await laid_down.is_untouched(client)


async def slots_are_free(client: Client) -> None:
    """Return when nobody has a slot or a place in line; the test fails where one stays."""
    async with asyncio.timeout(HANGS_SECONDS):
        while True:
            slots = (await client.call("GET", "system/upload-status"))["concurrency_manager"]
            assert slots["violations"] == 0
            if not slots["active_uploads"] and not slots["queued_uploads"]:
                return
            await asyncio.sleep(0.1)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY.cells:
        parts = ", ".join(f"{number} {surface}" for surface, number in TALLY.cells.items())
        terminalreporter.write_line(f"bad input: {sum(TALLY.cells.values())} cells ({parts})")
