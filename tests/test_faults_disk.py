"""A disk that is full, slow, broken, read-only or gone: true codes, nothing lost, and work goes on after it."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devtools.client import Client, PatternSource, Refused, Upload, sha256_of
from devtools.faulty_server import FaultyServer
from tests.faults import MIB, codes, ends_equal, nothing_left, readiness, until

FLOOR = 512 * MIB


@pytest.fixture(scope="module")
def faulty(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    data = tmp_path_factory.mktemp("disk") / "data"
    shutil.copytree(prepared_data_dir, data)
    settings = {"UPLOAD_IDLE_SECONDS": "1", "MAX_CONCURRENT_UPLOADS_PER_USER": "20", "DATABASE_URL": ""}
    with FaultyServer(data, settings) as server:
        yield server


@pytest.fixture
async def client(faulty: FaultyServer) -> AsyncIterator[Client]:
    async with nothing_left(faulty) as client:
        yield client


async def sending(client: Client, source: PatternSource, **more: Any) -> tuple[Upload, asyncio.Task[Any]]:
    upload = await client.initiate("faulty.bin", source.size)
    return upload, asyncio.create_task(client.send(upload, source, **more))


@pytest.mark.parametrize(
    ("calls", "error", "code"),
    [
        (["pwritev"], errno.ENOSPC, "storage_full"),
        (["pwritev"], errno.EDQUOT, "storage_full"),
        (["pwritev"], errno.EIO, "storage_unavailable"),
        (["pwritev"], errno.EROFS, "storage_unavailable"),
        (["pread", "pwritev", "open", "fstat", "stat", "fsync"], errno.EIO, "storage_unavailable"),
        (["replace"], errno.EIO, "storage_unavailable"),
        (["replace"], errno.ENOSPC, "storage_full"),
        (["replace"], errno.EROFS, "storage_unavailable"),
    ],
)
async def test_a_failing_disk_has_its_own_code_and_the_upload_goes_on_after_it(
    client: Client, faulty: FaultyServer, calls: list[str], error: int, code: str
) -> None:
    source = PatternSource(12 * MIB, seed=error)
    upload = await client.initiate("faulty.bin", source.size)
    faulty.fail(*calls, errno=error, spare=2 if "pwritev" in calls else 0)
    send = asyncio.create_task(client.send(upload, source))
    await until(lambda: codes(upload) or send.done(), "the fault was told")
    assert not send.done()
    faulty.fail(*calls, errno=error)
    await until(lambda: len(codes(upload)) > 2, "the fault was told again")
    assert set(codes(upload)) == {code}
    if "stat" not in calls:
        status = await client.status(upload)
        assert (status["status"], status["error"]["code"]) in [("pending", code), ("uploading", code)]
    faulty.mend()
    await ends_equal(client, upload, source, send)


@pytest.mark.parametrize(("error", "code"), [(errno.EIO, "storage_unavailable"), (errno.ENOSPC, "storage_full")])
async def test_a_failed_sync_at_the_end_makes_the_client_send_again_what_may_be_lost(
    client: Client, faulty: FaultyServer, error: int, code: str
) -> None:
    source = PatternSource(12 * MIB, seed=error)
    upload = await client.initiate("unsynced.bin", source.size)
    faulty.fail("fsync", errno=error, path=f"{upload.file_id}.part")
    send = asyncio.create_task(client.send(upload, source))
    await until(lambda: codes(upload), "the fault was told")
    assert {(rewind["offset"], rewind["reason"]) for rewind in upload.of_type("rewind")} == {(0, code)}
    assert set(codes(upload)) == {code}
    faulty.mend()
    await ends_equal(client, upload, source, send)


async def test_a_disk_that_fails_on_after_it_lost_bytes_tells_that_it_lost_them(
    client: Client, faulty: FaultyServer
) -> None:
    source = PatternSource(12 * MIB)
    upload = await client.initiate("lost.bin", source.size)
    faulty.fail("fsync", errno=errno.EIO, path=f"{upload.file_id}.part")
    faulty.fail("open", errno=errno.EIO, path=f"/files/{upload.file_id[:2]}/{upload.file_id}", spare=1)
    send = asyncio.create_task(client.send(upload, source))
    await until(lambda: codes(upload), "the fault was told")
    types = [message["type"] for message in upload.messages if message["type"] != "progress"]
    assert types[:4] == ["ready", "verifying", "rewind", "error"]
    assert upload.of_type("rewind")[0]["offset"] == 0
    faulty.mend()
    await ends_equal(client, upload, source, send)


async def test_what_has_no_room_is_refused_at_initiation_and_reserves_nothing(
    client: Client, faulty: FaultyServer
) -> None:
    before = await client.call("GET", "upload/quota-info")
    faulty.leave_room(FLOOR + 4 * MIB)
    with pytest.raises(Refused) as refused:
        await client.initiate("too-much.bin", 4 * MIB + 1)
    assert (refused.value.code, refused.value.extra["status"]) == ("storage_full", 507)
    assert await client.call("GET", "upload/quota-info") == before
    upload = await client.initiate("fits.bin", 4 * MIB)
    faulty.mend()
    source = PatternSource(4 * MIB)
    await ends_equal(client, upload, source, asyncio.create_task(client.send(upload, source)))


async def test_an_upload_whose_room_is_gone_waits_for_it_outside(client: Client, faulty: FaultyServer) -> None:
    source = PatternSource(4 * MIB)
    upload = await client.initiate("late.bin", source.size)
    faulty.leave_room(FLOOR)
    assert (await readiness(client, 503))["checks"]["storage"]["reason"] == "full"
    send = asyncio.create_task(client.send(upload, source))
    await until(lambda: len(codes(upload)) > 1, "the fault was told")
    assert set(codes(upload)) == {"storage_full"}
    faulty.mend()
    await ends_equal(client, upload, source, send)


async def test_a_disk_that_is_full_for_the_database_too_is_told_as_full(client: Client, faulty: FaultyServer) -> None:
    source = PatternSource(12 * MIB)
    upload = await client.initiate("full.bin", source.size)
    faulty.fail("pwritev", errno=errno.ENOSPC, spare=2)
    faulty.fail_database("SQLITE_FULL")
    send = asyncio.create_task(client.send(upload, source))
    await until(lambda: codes(upload), "the fault was told")
    with pytest.raises(Refused) as refused:
        await client.initiate("empty.bin", 0)
    assert (refused.value.code, refused.value.extra["status"]) == ("storage_full", 507)
    faulty.fail("pwritev")  # what is deleted makes room for the file first, and not for the database
    await until(lambda: len(codes(upload)) > 2, "the fault was told")
    assert not send.done()
    assert set(codes(upload)) == {"storage_full"}
    faulty.mend()
    await ends_equal(client, upload, source, send)


async def test_a_folder_that_is_gone_for_a_while_loses_nothing(client: Client, faulty: FaultyServer) -> None:
    storage = faulty.data_dir / "storage"
    source = PatternSource(24 * MIB)
    upload, send = await sending(client, source)
    await until(lambda: upload.stored > 0, "bytes were stored")
    storage.rename(storage.with_suffix(".away"))
    try:
        await until(lambda: len(codes(upload)) > 1, "the fault was told")
        assert set(codes(upload)) == {"storage_unavailable"}
        with pytest.raises(Refused) as refused:
            await client.initiate("nowhere.bin", 1)
        assert (refused.value.code, refused.value.extra["status"]) == ("storage_unavailable", 503)
    finally:
        storage.with_suffix(".away").rename(storage)
    await ends_equal(client, upload, source, send)


async def test_a_disk_that_hangs_makes_no_client_idle_and_keeps_nobody_waiting_for_an_answer(
    client: Client, faulty: FaultyServer
) -> None:
    """No write comes to its end before it is mended, and more uploads write than there are threads for it."""
    faulty.fail("pwritev", seconds=600)
    sources = [PatternSource(9 * MIB, seed=number) for number in range(max(10, (os.cpu_count() or 2) + 6))]
    running = [await sending(client, source) for source in sources]
    uploads = [upload for upload, _task in running]
    await until(lambda: all(upload.of_type("ready") for upload in uploads), "all have begun")
    async with asyncio.timeout(60):
        await client.cancel(await client.initiate("other.bin", 1))
        assert (await client.status(uploads[0]))["status"] == "uploading"
        assert (await client.cancel(uploads[0]))["status"] == "cancelled"
        await readiness(client, 200)
        await asyncio.sleep(3)  # three times what a client may be idle
    held = (await client.call("GET", "system/upload-status"))["chunk_buffers"]["in_use_bytes"]
    assert 0 < held <= len(uploads) * uploads[0].answer["window"]
    faulty.mend()
    for source, (upload, send) in list(zip(sources, running, strict=True))[1:]:
        await ends_equal(client, upload, source, send)
        assert codes(upload) == []
    with pytest.raises(Refused, match="cancelled"):
        await running[0][1]


async def test_a_slow_disk_takes_its_time_and_nothing_else(client: Client, faulty: FaultyServer) -> None:
    faulty.fail("pwritev", "fsync", seconds=0.2)
    sources = [PatternSource(5 * MIB, seed=number) for number in range(3)]
    running = [await sending(client, source) for source in sources]
    for source, (upload, send) in zip(sources, running, strict=True):
        await ends_equal(client, upload, source, send)
        assert codes(upload) == []


async def test_a_cancel_is_a_cancel_although_the_disk_does_not_let_go_of_the_bytes(
    client: Client, faulty: FaultyServer
) -> None:
    upload, send = await sending(client, PatternSource(64 * MIB))
    await until(lambda: upload.stored > 0, "bytes were stored")
    faulty.fail("unlink", errno=errno.EIO)
    assert (await client.cancel(upload))["status"] == "cancelled"
    with pytest.raises(Refused, match="cancelled"):
        await send
    assert (await client.status(upload))["status"] == "cancelled"


async def test_sqlites_working_files_stay_where_they_are_between_requests(client: Client, faulty: FaultyServer) -> None:
    """Made anew for each, they could not be made on a disk that is full: nobody could even read."""
    working = [faulty.data_dir / f"directdrivex.sqlite3-{kind}" for kind in ("wal", "shm")]
    seen = [file.stat().st_ino for file in working]
    for _ in range(3):
        await client.call("GET", "upload/quota-info")
        assert [file.stat().st_ino for file in working] == seen


async def test_a_download_that_the_disk_breaks_off_is_never_taken_for_a_whole_one(
    client: Client, faulty: FaultyServer
) -> None:
    source = PatternSource(12 * MIB)
    upload = await client.initiate("down.bin", source.size)
    await client.send(upload, source)
    faulty.fail("pread", errno=errno.EIO, path="/files/", spare=2)
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.digest_of_download(upload)
    faulty.fail("open", errno=errno.EIO, path="/files/")
    with pytest.raises(Refused, match="storage_unavailable"):
        await client.digest_of_download(upload)
    faulty.mend()
    assert await client.digest_of_download(upload) == sha256_of(source)
