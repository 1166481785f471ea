"""`WORKERS=4 manage.py serve`: one address, several processes, and none that is missed."""

import asyncio
import os
import signal
import time
from typing import Any

import psutil
import pytest

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.processes import tree
from devtools.server_process import ServerFailedError, ServerProcess
from tests.test_wire_socket import talk
from tests.workers.conftest import MakeCrew
from tests.workers.crew import Crew

MIB = 1024 * 1024
SOURCE = PatternSource(3 * MIB, seed=3)
DIGEST = sha256_of(SOURCE)
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def crew(make_crew: MakeCrew) -> Crew:
    return make_crew()


@pytest.fixture(scope="module")
def two(crew: Crew) -> ServerProcess:
    """A server of two workers, until the last test with it kills their supervisor."""
    return crew.hire(WORKERS="2")


def workers_of(server: ServerProcess) -> set[int]:
    return {process.pid for process in tree(server.pid)[1:]}


async def until_workers(client: Client, server: ServerProcess, count: int, other_than: set[int]) -> set[int]:
    """Return them when so many are there, none of them one of these, and each says what it runs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        async with client.http.get("/metrics", headers={"Connection": "close"}) as answer:
            text = await answer.text()
        now = workers_of(server)
        if len(now) == count and not now & other_than and all(f'pid="{pid}"' in text for pid in now):
            return now
        assert time.monotonic() < deadline, (now, other_than)
        await asyncio.sleep(0.1)


async def test_all_workers_answer_at_one_address_a_dead_one_is_replaced_and_all_end_together(crew: Crew) -> None:
    server = crew.hire(WORKERS="4")
    async with Client(server.url) as client:
        before = await until_workers(client, server, 4, set())
        uploads = [await client.initiate(f"{number}.bin", SOURCE.size) for number in range(5)]
        for success in await asyncio.gather(*(client.send(upload, SOURCE) for upload in uploads)):
            assert success["sha256"] == DIGEST

        dead = before.pop()
        os.kill(dead, signal.SIGKILL)
        assert before < await until_workers(client, server, 4, {dead})
        assert "worker_died" in server.text()

        upload = await client.initiate("last.bin", SOURCE.size)
        async with talk(client, upload) as socket:
            await socket.until("ready")
            processes = tree(server.pid)
            assert await asyncio.to_thread(server.stop) == 0
            assert await socket.refused() == ("server_restart", 1012)
    assert not any(process.is_running() for process in processes)
    assert "worker_killed" not in server.text()


async def test_a_rolling_restart_replaces_every_worker_and_fails_no_upload(two: ServerProcess) -> None:
    async def meet_the_restart(upload: Upload) -> dict[str, Any]:
        async with talk(client, upload) as socket:
            await socket.until("ready")
            await socket.send(SOURCE.read(0, MIB))
            under_way.release()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await socket.socket.wait_closed()
            assert await socket.refused() == ("server_restart", 1012)
        return await client.send(upload, SOURCE)

    under_way = asyncio.Semaphore(0)
    async with Client(two.url) as client:
        before = await until_workers(client, two, 2, set())
        uploads = [await client.initiate(f"{number}.bin", SOURCE.size) for number in range(5)]
        meetings = [asyncio.create_task(meet_the_restart(upload)) for upload in uploads]
        for _ in uploads:
            await under_way.acquire()
        assert two.process
        two.process.send_signal(signal.SIGHUP)
        for success in await asyncio.gather(*meetings):
            assert success["sha256"] == DIGEST
        await until_workers(client, two, 2, before)
    assert all(upload.of_type("ready")[0]["offset"] == MIB for upload in uploads)


async def test_workers_whose_supervisor_was_killed_let_their_uploads_go_and_end(two: ServerProcess) -> None:
    workers = tree(two.pid)[1:]
    async with Client(two.url) as client:
        upload = await client.initiate("last.bin", SOURCE.size)
        async with talk(client, upload) as socket:
            await socket.until("ready")
            two.kill()
            assert await socket.refused() == ("server_restart", 1012)
    _gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, PATIENCE_SECONDS)
    assert not alive


FAILS_AS_A_WORKER = """
import os, sys
if "DIRECTDRIVEX_WORKER" in os.environ:
    sys.exit(7)
sys.argv = ["manage.py", "serve"]
from manage import main
main()
"""


def test_a_worker_that_cannot_start_ends_the_start(crew: Crew) -> None:
    with pytest.raises(ServerFailedError, match="worker_died"):
        crew.hire("-c", FAILS_AS_A_WORKER, WORKERS="2")
