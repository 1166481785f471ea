"""An upload to Google Drive over two workers, of which one is stopped; killed ones are in test_fleet_trial.py."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.emulator_process import EmulatorProcess
from devtools.server_process import ServerProcess, prepare
from tests.test_drive_loss import MIB, Progress
from tests.workers.conftest import MakeCrew
from tests.workers.crew import LEASE_SECONDS, Crew, at
from tests.workers.test_two_workers import until_slots

HASTY = ("-m", "devtools.hasty_drive")


@pytest.fixture(scope="module")
def running_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator


@pytest.fixture
def drive(running_emulator: EmulatorProcess) -> Iterator[EmulatorProcess]:
    yield running_emulator
    running_emulator.clear_faults()


@pytest.fixture(scope="module")
def crew(make_crew: MakeCrew, running_emulator: EmulatorProcess) -> Crew:
    crew = make_crew(**running_emulator.settings)
    prepare({**crew.environment, "DATA_DIR": str(crew.folder)})
    return crew


@pytest.fixture(scope="module")
def steady(crew: Crew) -> ServerProcess:
    """The worker that nothing happens to."""
    return crew.hire(*HASTY)


@pytest.fixture(scope="module")
def victim(crew: Crew) -> ServerProcess:
    return crew.hire(*HASTY)


@pytest.fixture
async def there(steady: ServerProcess) -> AsyncIterator[Client]:
    async with Client(steady.url) as client:
        yield client


def on_drive(drive: EmulatorProcess, upload: Upload) -> list[dict[str, Any]]:
    return drive.files(f"appProperties has {{ key='key' and value='{upload.file_id}' }}")


async def is_there_once(
    drive: EmulatorProcess, crew: Crew, victim: ServerProcess, there: Client, upload: Upload, digest: str
) -> None:
    """On Drive once, equal, handed out by either worker, with nothing left of its way there."""
    [file] = on_drive(drive, upload)
    assert file["sha256Checksum"] == digest
    async with Client(victim.url) as here:
        assert await here.digest_of_download(upload) == digest
    assert await there.digest_of_download(upload) == digest
    assert drive.open_sessions() == 0
    async with asyncio.timeout(3 * LEASE_SECONDS):
        await until_slots(there, 0, 0)
    assert crew.rows("SELECT holder FROM uploads_driveupload WHERE key = %s", upload.file_id) == [("",)]


async def test_a_worker_that_is_stopped_in_mid_chunk_loses_its_file_to_another_and_harms_it_no_more(
    drive: EmulatorProcess, crew: Crew, victim: ServerProcess, steady: ServerProcess, there: Client
) -> None:
    drive.add_fault("slow", rate=12 * MIB, times=-1)
    source = PatternSource(20 * MIB + 5, seed=12)
    async with Client(victim.url) as here:
        upload, progress = await here.initiate("film.mkv", source.size), Progress()
        sending = asyncio.create_task(here.send(upload, source, on_message=progress))
        await progress.received(5 * MIB)
        assert victim.process
        victim.process.send_signal(signal.SIGSTOP)
        try:
            elsewhere = at(steady, upload)
            await there.send(elsewhere, source, patience=10 * LEASE_SECONDS)
            [before] = crew.rows("SELECT * FROM uploads_storedfile WHERE id = %s", upload.file_id)
        finally:
            victim.process.send_signal(signal.SIGCONT)
        # Its own connection hears that another took the place, or of the end that the file has come to meanwhile.
        await asyncio.gather(sending, return_exceptions=True)
    assert crew.rows("SELECT * FROM uploads_storedfile WHERE id = %s", upload.file_id) == [before]
    await is_there_once(drive, crew, victim, there, upload, sha256_of(source))
