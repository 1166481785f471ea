"""What is left of an upload to Drive when a process is killed, an account's day is over, or nobody comes back."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.drive_site import Site, manage
from devtools.server_process import ServerProcess, prepare

MIB = 1024 * 1024
LONGEST_CHUNK, HASHED_AHEAD = 16 * MIB, 4 * MIB


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("drive"))
    yield site
    site.stop()


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    yield running_site
    running_site.forgive()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with Client(site.server.url) as client:
        yield client


class Progress:
    """Waits for an upload to get so far."""

    def __init__(self) -> None:
        self._received = 0
        self._news = asyncio.Event()
        self.kinds: list[dict[str, Any]] = []

    def __call__(self, message: dict[str, Any]) -> None:
        self.kinds.append(message)
        self._received = max(self._received, message.get("received", 0))
        self._news.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def received(self, offset: int) -> None:
        await self.until(lambda: self._received >= offset)

    async def told(self, kind: str) -> dict[str, Any]:
        await self.until(lambda: bool(self.kinds) and self.kinds[-1]["type"] == kind)
        return self.kinds[-1]


async def test_a_killed_server_goes_on_from_its_checkpoint_and_sends_no_byte_twice(site: Site, client: Client) -> None:
    site.emulator.add_fault("slow", rate=12 * MIB, times=-1)
    source = PatternSource(40 * MIB + 5)
    upload, progress = await client.initiate("film.mkv", source.size), Progress()
    sending = asyncio.create_task(client.send(upload, source, on_message=progress))
    for offset in (9 * MIB, 25 * MIB):
        await progress.received(offset + random.Random(offset).randrange(3 * MIB))
        site.server.kill()
        [[hashed, stored]] = site.database(
            'SELECT hashed_bytes, "offset" FROM uploads_driveupload WHERE key = ?', upload.file_id.replace("-", "")
        )
        site.server.restart()
        ready = (await progress.told("ready"))["offset"]
        assert min(hashed, stored) <= ready
        assert ready >= hashed - LONGEST_CHUNK - HASHED_AHEAD
    success = await sending
    assert success["receipt"]["server"]["sha256"] == sha256_of(source)
    await site.is_there_once(client, upload, source, after_a_kill=True)


async def test_an_upload_that_nobody_finishes_leaves_nothing_on_drive(site: Site, client: Client) -> None:
    site.emulator.add_fault("slow", rate=2 * MIB, times=-1)
    upload, progress = await client.initiate("film.mkv", 20 * MIB), Progress()
    sending = asyncio.create_task(client.send(upload, PatternSource(20 * MIB), on_message=progress))
    await progress.received(MIB)
    sending.cancel()
    await asyncio.wait({sending})
    assert site.emulator.open_sessions() == 1
    site.emulator.clear_faults()
    key = upload.file_id.replace("-", "")
    site.database("UPDATE uploads_storedfile SET upload_expires_at = created_at WHERE id = ?", key)
    async with asyncio.timeout(60):
        while "expired: 1" not in await asyncio.to_thread(manage, site, "cleanup_uploads"):
            pass  # its connection has not let go yet
    assert site.emulator.open_sessions() == 0
    assert site.database("SELECT COUNT(*) FROM uploads_driveupload WHERE key = ?", key) == [(0,)]


async def test_a_file_whose_sender_never_said_finish_is_completed_with_drives_digest(
    site: Site, client: Client
) -> None:
    upload, source = await client.initiate("film.mkv", 2 * MIB), PatternSource(2 * MIB)
    async with client.connect(upload) as socket:
        await socket.send(json.dumps({"type": "start", "token": upload.token}))
        while json.loads(await socket.recv())["type"] != "ready":
            pass
        for offset in (0, MIB):
            await socket.send(source.read(offset, MIB))
        while json.loads(await socket.recv()).get("stored") != 2 * MIB:
            pass
    said = ""
    async with asyncio.timeout(60):
        while "completed: 1" not in said:  # as long as its connection has not let go
            site.database(
                "UPDATE uploads_storedfile SET last_seen_at = '2026-01-01 00:00:00' WHERE id = ?",
                upload.file_id.replace("-", ""),
            )
            said = await asyncio.to_thread(manage, site, "cleanup_uploads")
    await site.is_there_once(client, upload, source)


async def test_a_day_that_ends_in_mid_file_makes_the_sender_wait_and_loses_nothing(site: Site, client: Client) -> None:
    fault = site.emulator.add_fault("status", status=403, reason="dailyLimitExceeded", at=4 * MIB, times=-1)
    source = PatternSource(9 * MIB)
    upload, progress = await client.initiate("film.mkv", source.size), Progress()
    sending = asyncio.create_task(client.send(upload, source, on_message=progress))
    told = await progress.told("queued")
    assert told["waiting_for"] == "storage"
    assert told["eta_seconds"] > 3600
    site.forgive()
    await sending
    assert site.emulator.faults() == []
    assert fault
    readies = [message["offset"] for message in upload.of_type("ready")]
    assert readies[0] == 0
    assert readies[-1] > 0
    assert upload.connections == 1
    await site.is_there_once(client, upload, source)


async def test_with_the_first_account_removed_an_unfinished_upload_begins_anew(site: Site, client: Client) -> None:
    site.emulator.add_fault("slow", rate=4 * MIB, times=-1)
    source = PatternSource(9 * MIB)
    upload, progress = await client.initiate("film.mkv", source.size), Progress()
    sending = asyncio.create_task(client.send(upload, source, on_message=progress))
    await progress.received(3 * MIB)
    sending.cancel()
    await asyncio.wait({sending})
    site.emulator.clear_faults()
    site.database("UPDATE uploads_driveupload SET account_id = 999 WHERE key = ?", upload.file_id.replace("-", ""))
    await client.send(upload, source, patience=20)
    [file] = site.files_of(upload)
    assert file["sha256Checksum"] == sha256_of(source)


async def test_files_stay_where_they_were_stored_when_the_storage_changes(
    start_server: Callable[..., ServerProcess], tmp_path: Path, site: Site
) -> None:
    before = start_server()
    async with Client(before.url) as client:
        old, half = await client.initiate("old.bin", MIB), await client.initiate("half.bin", MIB)
        await client.send(old, PatternSource(MIB))
        await half_of(client, half)
    before.stop()
    prepare({"DATA_DIR": str(before.data_dir), **before.overrides, **site.emulator.settings})
    after = start_server(DATA_DIR=str(before.data_dir), **site.emulator.settings)
    async with Client(after.url) as client:
        for upload in (old, half):
            upload.url = upload.url.replace(before.ws_url, after.ws_url)
        await client.send(half, PatternSource(MIB))
        assert half.of_type("ready")[0]["offset"] == 300_000
        new = await client.initiate("new.bin", MIB)
        await client.send(new, PatternSource(MIB))
        for upload in (old, half, new):
            assert await client.digest_of_download(upload) == sha256_of(PatternSource(MIB))
            assert bool(site.files_of(upload)) == (upload is new)


async def half_of(client: Client, upload: Upload) -> None:
    """Send 300,000 bytes of the pattern, and leave."""
    async with client.connect(upload) as socket:
        await socket.send(json.dumps({"type": "start", "token": upload.token}))
        while json.loads(await socket.recv())["type"] != "ready":
            pass
        await socket.send(PatternSource(MIB).read(0, 300_000))
        while json.loads(await socket.recv()).get("stored") != 300_000:
            pass


async def test_an_upload_holds_no_more_than_its_window_however_slow_drive_is(site: Site, client: Client) -> None:
    site.emulator.add_fault("slow", rate=256 * 1024, times=-1)
    count, size = 4, 40 * MIB
    warm = await client.initiate("warm.bin", 1000)
    await client.send(warm, PatternSource(1000))
    before = peak = site.server.memory()
    uploads = [await client.initiate("film.mkv", size) for _ in range(count)]
    progress = [Progress() for _ in uploads]
    sending = [
        asyncio.create_task(client.send(upload, PatternSource(size), on_message=seen))
        for upload, seen in zip(uploads, progress, strict=True)
    ]
    async with asyncio.timeout(60):
        for seen in progress:
            await seen.received(MIB)
            peak = max(peak, site.server.memory())
    for upload in uploads:
        await client.cancel(upload)
    await asyncio.gather(*sending, return_exceptions=True)
    window = uploads[0].answer["window"]
    assert peak - before <= count * (window + MIB) + 4 * MIB  # what the interpreter takes meanwhile
