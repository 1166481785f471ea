"""A database that is locked, frozen or gone while uploads run: nobody hangs, nothing is promised, work goes on."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devtools.client import Client, PatternSource, Refused
from devtools.faulty_server import FaultyServer
from devtools.postgres import PrivatePostgres
from devtools.server_process import prepare
from tests.faults import MIB, codes, ends_equal, nothing_left, readiness, until
from uploads.sharing import giving

BOUND_SECONDS = 60  # of what must not hang; the machine may be a slow one
CROWD = 60
THREADS = 50  # all that the program keeps, of whatever kind; a request has one while it lasts

Outage = Callable[[], Any]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process has SQLite's lock."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


@contextmanager
def frozen(postgres: PrivatePostgres) -> Iterator[None]:
    postgres.freeze()
    try:
        yield
    finally:
        postgres.thaw()


@contextmanager
def gone(postgres: PrivatePostgres) -> Iterator[None]:
    postgres.halt()
    try:
        yield
    finally:
        postgres.revive()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    postgres = PrivatePostgres()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="module")
def on_sqlite(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    data = tmp_path_factory.mktemp("sqlite") / "data"
    shutil.copytree(prepared_data_dir, data)
    server = FaultyServer(data, {"FAULTS_PATIENCE": "1", "DATABASE_URL": ""})
    if not (data / "directdrivex.sqlite3").exists():  # the tests' own database is another
        prepare({"DATA_DIR": str(data), **server.overrides})
    with server:
        yield server


@pytest.fixture(scope="module")
def on_postgresql(postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    data = tmp_path_factory.mktemp("postgresql") / "data"
    server = FaultyServer(data, {"FAULTS_PATIENCE": "1", "DATABASE_URL": postgres.url})
    data.mkdir(mode=0o700)
    prepare({"DATA_DIR": str(data), **server.overrides})
    with server:
        yield server


@pytest.fixture(params=["sqlite locked", "postgresql frozen", "postgresql gone"])
def trial(request: pytest.FixtureRequest) -> tuple[FaultyServer, Outage]:
    """A server, and what takes its database away for as long as the context lasts."""
    if request.param == "sqlite locked":
        server = request.getfixturevalue("on_sqlite")
        return server, lambda: locked(server.data_dir / "directdrivex.sqlite3")
    postgres = request.getfixturevalue("postgres")
    outage = frozen if request.param == "postgresql frozen" else gone
    return request.getfixturevalue("on_postgresql"), lambda: outage(postgres)


@pytest.fixture
async def client(trial: tuple[FaultyServer, Outage]) -> AsyncIterator[Client]:
    async with nothing_left(trial[0]) as client:
        yield client


async def refusal(call: Any) -> str:
    """The code that a call was refused with; it must be refused, and in time."""
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(Refused) as refused:
            await call
    return refused.value.code


async def test_bytes_go_on_and_whoever_needs_the_database_is_told_so_and_comes_back(
    client: Client, trial: tuple[FaultyServer, Outage]
) -> None:
    server, outage = trial
    long, short = PatternSource(200 * MIB, seed=1), PatternSource(8 * MIB, seed=2)
    running, ending, waiting = [
        await client.initiate(name, size)
        for name, size in (("running", long.size), ("ending", short.size), ("waiting", short.size))
    ]
    server.fail("pwritev", seconds=0.5, path=running.file_id)  # it is to outlast the outage
    sends = asyncio.create_task(client.send(running, long, patience=120))
    await until(lambda: running.stored > 0, "bytes move")
    with outage():
        finishing = asyncio.create_task(client.send(ending, short))
        beginning = asyncio.create_task(client.send(waiting, short))
        stored = running.stored
        crowd = await asyncio.gather(*(refusal(client.initiate("crowd", 1)) for _ in range(CROWD)))
        assert set(crowd) == {"internal"}
        assert await refusal(client.cancel(ending)) == "internal"
        async with asyncio.timeout(BOUND_SECONDS):
            assert not (await readiness(client, 503))["checks"]["database"]["ok"]
            async with client.http.get("/healthz") as alive, client.http.get("/") as page:
                assert (alive.status, page.status) == (200, 200)
            figures = await client.call("GET", "system/upload-status")
        assert figures["concurrency_manager"]["active_uploads"] >= 1
        assert figures["alerts"] >= 1
        await until(lambda: running.stored > stored, "bytes move while the database is away")
        await until(lambda: codes(waiting), "a connection that begins is told")
        assert set(codes(waiting) + codes(ending)) == {"internal"}
        assert codes(running) == []
        assert not finishing.done()
    server.mend()
    for upload, source, send in ((running, long, sends), (ending, short, finishing), (waiting, short, beginning)):
        await ends_equal(client, upload, source, send)
    await until(lambda: server.threads() <= THREADS, "no thread stays behind")


@pytest.mark.parametrize("trial", ["sqlite locked", "postgresql frozen"], indirect=True)
async def test_a_server_whose_database_is_away_ends_when_it_is_asked_to(
    client: Client, trial: tuple[FaultyServer, Outage]
) -> None:
    server, outage = trial
    source = PatternSource(100 * MIB, seed=3)
    upload = await client.initiate("restarted", source.size)
    sends = asyncio.create_task(client.send(upload, source, patience=120))
    await until(lambda: upload.stored > 0, "bytes move")
    with outage():
        asking = [asyncio.create_task(client.call("GET", "upload/quota-info")) for _ in range(5)]
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(server.stop) == 0
        await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.to_thread(server.restart)
    await ends_equal(client, upload, source, sends)


async def test_a_download_that_nobody_limited_goes_on_while_the_database_is_away(
    trial: tuple[FaultyServer, Outage], client: Client
) -> None:
    source = PatternSource(64 * MIB, seed=5)
    upload = await client.initiate("film.mkv", source.size)
    await client.send(upload, source)
    loop = asyncio.get_running_loop()
    got = bytearray()
    async with client.http.get(upload.answer["download_url"]) as answer, asyncio.timeout(BOUND_SECONDS):
        got += await answer.content.readexactly(MIB)
        with trial[1]():
            away_until = loop.time() + giving.LOOK_AGAIN_SECONDS + 1
            while loop.time() < away_until:
                got += await answer.content.readexactly(256 * 1024)
                await asyncio.sleep(0.05)  # a line that is slow enough for the download to last
        got += await answer.content.read()
    assert bytes(got) == source.read(0, source.size)
    await readiness(client, 200)
    await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
