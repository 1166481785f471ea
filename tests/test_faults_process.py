"""A program that is stopped, blocked, without memory or descriptors, or whose wall clock jumps: it goes on after it."""

import asyncio
import os
import resource
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devtools.client import Client, PatternSource, Refused, Upload
from devtools.faulty_server import FaultyServer
from tests.faults import MIB, codes, ends_equal, nothing_left, readiness, until

LEASE_SECONDS, IDLE_SECONDS, SLOTS = 6, 2, 2
HOUR = 3600


@pytest.fixture(scope="module")
def faulty(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    data = tmp_path_factory.mktemp("process") / "data"
    shutil.copytree(prepared_data_dir, data)
    settings = {
        "SLOT_LEASE_SECONDS": str(LEASE_SECONDS),
        "UPLOAD_IDLE_SECONDS": str(IDLE_SECONDS),
        "MAX_CONCURRENT_UPLOADS": str(SLOTS),
    }
    server = FaultyServer(data, settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    yield server
    server.stop()


@pytest.fixture
async def client(faulty: FaultyServer) -> AsyncIterator[Client]:
    async with nothing_left(faulty) as client:
        yield client


class Crowd:
    """More uploads than slots, which take long enough for something to happen to them."""

    def __init__(self, client: Client, faulty: FaultyServer, uploads: int = SLOTS + 2, size: int = 8 * MIB) -> None:
        self.client, self.faulty = client, faulty
        self.sources = [PatternSource(size, seed=number) for number in range(uploads)]
        self.uploads: list[Upload] = []
        self.sends: list[asyncio.Task[Any]] = []

    async def begin(self) -> None:
        self.faulty.fail("pwritev", seconds=0.2)
        self.uploads = [await self.client.initiate("crowd.bin", source.size) for source in self.sources]
        self.sends = [
            asyncio.create_task(self.client.send(upload, source))
            for upload, source in zip(self.uploads, self.sources, strict=True)
        ]
        await until(lambda: sum(upload.stored > 0 for upload in self.uploads) == SLOTS, "as many run as may")

    async def end(self) -> None:
        self.faulty.mend()
        for upload, source, send in zip(self.uploads, self.sources, self.sends, strict=True):
            await ends_equal(self.client, upload, source, send)

    def codes(self) -> set[str]:
        return {code for upload in self.uploads for code in codes(upload)}


async def figures(client: Client) -> dict[str, Any]:
    return dict(await client.call("GET", "system/upload-status"))


async def no_more_than_may(client: Client) -> None:
    slots = (await figures(client))["concurrency_manager"]
    assert slots["active_uploads"] <= SLOTS
    assert (slots["healthy"], slots["violations"]) == (True, 0)


@pytest.mark.every_server
async def test_a_program_stopped_for_longer_than_its_leases_last_goes_on_with_every_upload(
    client: Client, faulty: FaultyServer
) -> None:
    crowd = Crowd(client, faulty)
    await crowd.begin()
    faulty.freeze()
    await asyncio.sleep(LEASE_SECONDS + 2)
    faulty.thaw()
    await no_more_than_may(client)
    await crowd.end()
    assert crowd.codes() == set()


@pytest.mark.parametrize("seconds", [IDLE_SECONDS + 1, LEASE_SECONDS + 2])
async def test_a_blocked_event_loop_costs_no_upload_anything(
    client: Client, faulty: FaultyServer, seconds: int
) -> None:
    crowd = Crowd(client, faulty)
    await crowd.begin()
    faulty.block_loop(IDLE_SECONDS + 1)
    await no_more_than_may(client)
    await crowd.end()
    assert crowd.codes() == set()


async def test_without_memory_nobody_begins_and_everybody_does_when_there_is_some(
    client: Client, faulty: FaultyServer
) -> None:
    crowd = Crowd(client, faulty, uploads=SLOTS)
    await crowd.begin()
    faulty.leave_memory(4 * MIB)
    source = PatternSource(MIB)
    upload = await client.initiate("later.bin", source.size)
    send = asyncio.create_task(client.send(upload, source))
    moved = [running.stored for running in crowd.uploads]
    await until(lambda: all(u.stored > m for u, m in zip(crowd.uploads, moved, strict=True)), "who runs goes on")
    for running in crowd.sends:
        await running
    await until(lambda: upload.of_type("queued"), "who begins is told to wait")
    await until(lambda: upload.of_type("queued")[-1]["waiting_for"] == "memory", "and told why")
    assert not (await figures(client))["memory_monitor"]["admitting"]
    await readiness(client, 200)
    faulty.mend()
    await ends_equal(client, upload, source, send)


@pytest.mark.every_server
async def test_without_descriptors_nobody_comes_in_and_who_is_in_goes_on(client: Client, faulty: FaultyServer) -> None:
    crowd = Crowd(client, faulty, uploads=SLOTS)
    await crowd.begin()
    await figures(client)  # leaves a connection open
    before = faulty.limit_descriptors(3)  # it has these for as long as it lives
    strangers = []
    try:
        with pytest.raises(Refused, match="internal"):
            await client.initiate("no.bin", 1)
        for _ in range(40):
            strangers.append(await asyncio.open_connection("127.0.0.1", faulty.port))
        moved = [running.stored for running in crowd.uploads]
        await until(lambda: all(u.stored > m for u, m in zip(crowd.uploads, moved, strict=True)), "who runs goes on")
        log = faulty.log.stat().st_size
        await asyncio.sleep(2)
        assert faulty.log.stat().st_size < log + MIB, "the log is not flooded"
    finally:
        for _reader, writer in strangers:
            writer.close()
        faulty.limit_descriptors(before)
    await crowd.end()


async def test_the_program_takes_as_many_descriptors_as_it_may(faulty: FaultyServer) -> None:
    soft, hard = psutil.Process(faulty.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


async def test_a_clock_that_jumps_forward_ends_no_upload_that_runs(client: Client, faulty: FaultyServer) -> None:
    crowd = Crowd(client, faulty)
    await crowd.begin()
    paused = await client.initiate("paused.bin", MIB)
    faulty.step_clock(25 * HOUR)
    assert (await client.status(paused))["status"] == "expired"
    with pytest.raises(Refused, match="gone"):
        await client.send(paused, PatternSource(MIB))
    await no_more_than_may(client)
    for upload, source, send in zip(crowd.uploads, crowd.sources, crowd.sends, strict=True):
        await ends_equal(client, upload, source, send)
    assert crowd.codes() == set()
    faulty.mend()
    assert (await client.send(paused, PatternSource(MIB)))["type"] == "success"


async def test_a_clock_that_jumps_back_costs_nothing_either(client: Client, faulty: FaultyServer) -> None:
    crowd = Crowd(client, faulty)
    await crowd.begin()
    ahead = faulty.text().count("quota_drift")
    headers = {"Idempotency-Key": os.urandom(8).hex()}
    body = {"filename": "twice.bin", "size": 1}
    first = await client.call("POST", "upload/initiate", json=body, headers=headers)
    faulty.step_clock(-50 * HOUR)
    again = await client.call("POST", "upload/initiate", json=body, headers=headers)
    assert again["file_id"] == first["file_id"]
    assert (await client.send(client.upload_from(again), PatternSource(1)))["type"] == "success"
    late = await client.initiate("yesterday.bin", 1)
    for upload, source, send in zip(crowd.uploads, crowd.sources, crowd.sends, strict=True):
        await ends_equal(client, upload, source, send)
    assert crowd.codes() == set()
    await no_more_than_may(client)
    faulty.mend()
    with pytest.raises(Refused, match="gone"):
        await client.send(late, PatternSource(1))
    assert faulty.text().count("quota_drift") == ahead
