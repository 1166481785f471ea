"""A worker that is killed, stopped, or deceived about what it owns costs nobody a byte and keeps nothing for ever."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from devtools.client import Client, PatternSource
from devtools.server_process import ServerProcess
from tests.test_wire_socket import talk
from tests.workers.conftest import MakeCrew
from tests.workers.crew import LEASE_SECONDS, Crew, at
from tests.workers.test_two_workers import DIGEST, MIB, SOURCE, completed, send_some, until_slots

VERIFICATION_SECONDS = "4.0"


@pytest.fixture(scope="module")
def crew(make_crew: MakeCrew) -> Crew:
    return make_crew()


@pytest.fixture(scope="module")
def steady(crew: Crew) -> ServerProcess:
    """The worker that nothing happens to."""
    return crew.hire()


@pytest.fixture
async def there(steady: ServerProcess) -> AsyncIterator[Client]:
    async with Client(steady.url) as client:
        yield client


@pytest.fixture(scope="module")
def victim(crew: Crew) -> ServerProcess:
    """One that is killed or stopped, and runs again at the end of each test."""
    return crew.hire()


@pytest.fixture
def stopped_at_will(victim: ServerProcess) -> Iterator[ServerProcess]:
    yield victim
    assert victim.process
    victim.process.send_signal(signal.SIGCONT)


async def test_the_uploads_of_a_worker_that_was_killed_go_on_elsewhere_and_its_slots_are_free_again(
    victim: ServerProcess, steady: ServerProcess, there: Client
) -> None:
    async with Client(victim.url) as here:
        upload, left_alone = [await here.initiate("film.mkv", SOURCE.size) for _ in range(2)]
        async with talk(here, upload) as one, talk(here, left_alone) as two:
            await send_some(one, MIB)
            await send_some(two, MIB)
            victim.kill()
    elsewhere = at(steady, upload)
    assert (await there.send(elsewhere, SOURCE))["sha256"] == DIGEST
    assert elsewhere.of_type("ready")[0]["offset"] == MIB
    assert elsewhere.connections == 1
    await completed(there, upload)
    async with asyncio.timeout(3 * LEASE_SECONDS):
        await until_slots(there, 0, 0)  # nobody came for the other one: its lease has lapsed
    victim.restart()


async def test_a_worker_that_is_stopped_for_longer_than_a_lease_loses_its_upload_and_harms_it_no_more(
    crew: Crew, stopped_at_will: ServerProcess, steady: ServerProcess, there: Client
) -> None:
    victim = stopped_at_will
    async with Client(victim.url) as here:
        upload = await here.initiate("film.mkv", SOURCE.size)
        async with talk(here, upload) as older:
            await send_some(older, MIB)
            await older.send(SOURCE.read(MIB, 512 * 1024))  # on its way when the worker stops
            assert victim.process
            victim.process.send_signal(signal.SIGSTOP)
            elsewhere = at(steady, upload)
            assert (await there.send(elsewhere, SOURCE, patience=4 * LEASE_SECONDS))["sha256"] == DIGEST
            assert elsewhere.of_type("ready")[0]["offset"] >= MIB
            [before] = crew.rows("SELECT * FROM uploads_storedfile WHERE id = %s", upload.file_id)
            victim.process.send_signal(signal.SIGCONT)
            assert await older.closed() == (4409, "superseded")
        assert crew.rows("SELECT * FROM uploads_storedfile WHERE id = %s", upload.file_id) == [before]
        await completed(here, upload)
    await until_slots(there, 0, 0)


async def test_of_two_workers_that_both_believe_they_own_an_upload_the_newer_completes_it(
    crew: Crew, steady: ServerProcess, there: Client
) -> None:
    """The older one never hears that it has lost, goes on writing, and says `finish` first."""
    deceived = crew.hire("-m", "tests.servers.sleepwalker")
    async with Client(deceived.url) as here:
        upload = await here.initiate("film.mkv", SOURCE.size)
        async with talk(here, upload) as older:
            await send_some(older, MIB)
            async with talk(there, at(steady, upload)) as newer:
                ready = await newer.until("ready")
                assert ready["offset"] >= MIB
                other_bytes = PatternSource(SOURCE.size, seed=8)
                for offset in range(MIB, SOURCE.size, MIB):
                    await older.send(other_bytes.read(offset, MIB))
                for offset in range(ready["offset"], SOURCE.size, MIB):
                    await newer.send(SOURCE.read(offset, min(MIB, SOURCE.size - offset)))
                await older.say(type="finish")
                assert await older.refused() == ("superseded", 4409)
                assert (await there.status(upload))["status"] == "uploading"
                await newer.say(type="finish", sha256=DIGEST)
                assert (await newer.until("success"))["sha256"] == DIGEST
    deceived.stop()
    await completed(there, upload)
    events = crew.rows("SELECT new_status FROM uploads_fileevent WHERE file_id = %s ORDER BY id", upload.file_id)
    assert [status for (status,) in events] == ["pending", "verifying", "completed"]
    await until_slots(there, 0, 0)


async def test_a_file_whose_verifier_is_stopped_is_verified_by_another_worker(
    crew: Crew, steady: ServerProcess, there: Client
) -> None:
    slow = crew.hire("-m", "tests.servers.slow_verification", VERIFICATION_SECONDS=VERIFICATION_SECONDS)
    async with Client(slow.url) as here:
        upload = await here.initiate("film.mkv", SOURCE.size)
        async with talk(here, upload) as older:
            await send_some(older, SOURCE.size)
            await older.say(type="finish")
            await older.until("verifying")
            assert slow.process
            slow.process.send_signal(signal.SIGSTOP)
            try:
                elsewhere = at(steady, upload)
                success = await there.send(elsewhere, SOURCE, patience=10 * LEASE_SECONDS)
                [before] = crew.rows("SELECT * FROM uploads_storedfile WHERE id = %s", upload.file_id)
            finally:
                slow.process.send_signal(signal.SIGCONT)
            assert success["sha256"] == DIGEST
            await older.closed()
    slow.stop()
    assert crew.rows("SELECT * FROM uploads_storedfile WHERE id = %s", upload.file_id) == [before]
    await completed(there, upload)
    await until_slots(there, 0, 0)
