"""What only the local disk can go through: crashes, reboots, full disks, meddling."""

import asyncio
import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from uploads.storage.base import RewindError, StorageFullError, StorageUnavailableError
from uploads.storage.local import LocalStore, SyncMark
from uploads.storage.local.reading import LEAST_BLOCK_BYTES, READ_BLOCK_BYTES, READ_BUDGET_BYTES
from uploads.storage.taking import Copy

MIB = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


WRITER = """
import asyncio, sys
from collections.abc import AsyncIterator
from pathlib import Path
from uploads.storage.local import LocalStore

async def main():
    upload = await LocalStore(Path(sys.argv[1])).open(sys.argv[2], 1 << 30)
    while True:
        await upload.append([b"x" * 65536])
        print(upload.offset, flush=True)

asyncio.run(main())
"""


async def test_after_kill_9_the_offset_is_at_least_what_was_told_and_the_lock_is_free(root: Path, key: str) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), key], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert writer.stdout is not None
    told = 0
    for _ in range(50):
        told = int(writer.stdout.readline())
    writer.kill()
    writer.wait()
    told = max([told, *(int(line) for line in writer.stdout.read().split() if line)])
    upload = await LocalStore(root).open(key, 1 << 30)
    assert upload.offset >= told
    digest = await upload.digests()
    assert digest.sha256 == hashlib.sha256(b"x" * upload.offset).hexdigest()
    await upload.close()


async def stored_before_a_reboot(root: Path, key: str) -> LocalStore:
    """3 MiB of an upload, of which 2 were synced, in a store whose machine was started again since."""
    store = LocalStore(root)
    upload = await store.open(key, 10 * MIB)
    await upload.append([os.urandom(3 * MIB)])
    store.write_sync_mark(key, 2 * MIB)
    await upload.close()
    mark = json.loads(store.sync_path(key).read_text())
    store.sync_path(key).write_text(json.dumps({**mark, "boot": "another boot"}))
    return LocalStore(root)


async def test_after_a_reboot_only_what_was_synced_counts(root: Path, key: str) -> None:
    store = await stored_before_a_reboot(root, key)
    again = await store.open(key, 10 * MIB)
    assert again.offset == 2 * MIB
    assert store.partial_path(key).stat().st_size == 2 * MIB
    await again.close()


async def test_what_is_left_after_a_reboot_counts_as_stored_from_then_on(root: Path, key: str) -> None:
    store = await stored_before_a_reboot(root, key)
    assert await store.stored_bytes(key) == 2 * MIB, "the status says what a resume will say"
    again = await store.open(key, 10 * MIB)
    await again.append([os.urandom(MIB)])
    await again.close()
    third = await LocalStore(root).open(key, 10 * MIB)
    assert third.offset == 3 * MIB
    await third.close()


async def test_a_file_cut_after_its_last_byte_is_not_published(root: Path, key: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 2 * MIB)
    await upload.append([os.urandom(2 * MIB)])
    await upload.digests()
    os.truncate(store.partial_path(key), MIB)
    with pytest.raises(RewindError) as rewind:
        await upload.finish()
    assert rewind.value.offset == MIB
    await upload.close()
    assert not store.final_path(key).exists()


async def test_who_finishes_an_upload_keeps_it_locked_until_they_close_it(
    root: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploads.storage.local.store.LOCK_SECONDS", 0.1)
    store = LocalStore(root)
    upload = await store.open(key, 4)
    await upload.append([b"data"])
    await upload.finish()
    with pytest.raises(StorageUnavailableError):
        await store.open(key, 4)
    await upload.close()
    again = await store.open(key, 4)
    assert again.offset == 4
    await again.close()


async def test_a_crash_while_a_sync_mark_is_written_leaves_nothing_behind_a_delete(root: Path, key: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 4)
    await upload.close()
    store.sync_path(key).with_suffix(".sync-new").write_text("half a ma")
    await store.delete(key)
    assert await store.keys() == []


@pytest.mark.parametrize("mark", ["", "{", "[]", '{"boot": "x"}', '{"boot": null, "offset": null}'])
async def test_a_sync_mark_that_cannot_be_read_proves_nothing(root: Path, key: str, mark: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 10)
    await upload.append([b"12345"])
    await upload.close()
    store.sync_path(key).write_text(mark)
    again = await LocalStore(root).open(key, 10)
    assert again.offset == 0
    await again.close()


async def test_a_file_cut_by_somebody_sends_the_client_back_and_ends_equal(root: Path, key: str) -> None:
    store = LocalStore(root)
    data = os.urandom(4 * MIB)
    upload = await store.open(key, len(data))
    await upload.append([data[: 2 * MIB]])
    os.truncate(store.partial_path(key), MIB)
    with pytest.raises(RewindError) as rewind:
        await upload.append([data[2 * MIB : 3 * MIB]])
    assert rewind.value.offset == upload.offset == MIB
    await upload.append([data[MIB:]])
    assert (await upload.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await upload.finish()


async def test_a_partial_file_removed_by_somebody_is_a_failing_storage(root: Path, key: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 10)
    await upload.append([b"12345"])
    store.partial_path(key).unlink()
    with pytest.raises(StorageUnavailableError):
        await upload.append([b"67890"])
    await upload.close()


async def test_a_whole_upload_can_be_finished_on_a_disk_below_its_floor(root: Path, key: str) -> None:
    """No byte is missing: to refuse it would only keep the sender from the file."""
    upload = await LocalStore(root).open(key, 6)
    await upload.append([b"abcdef"])
    await upload.close()
    everything = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    again = await LocalStore(root, free_space_floor=everything * 2).open(key, 6)
    assert again.offset == 6
    await again.finish()


async def test_the_free_space_floor_is_never_used(root: Path, key: str) -> None:
    free = os.statvfs(root.parent)
    everything = free.f_bavail * free.f_frsize
    store = LocalStore(root, free_space_floor=everything * 2)
    with pytest.raises(StorageFullError):
        await store.open(key, 1)
    with pytest.raises(StorageFullError):
        await store.check()
    assert await store.room() == 0


async def test_a_disk_that_fills_up_keeps_what_was_stored(
    root: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 10 * MIB)
    await upload.append([b"a" * MIB])
    monkeypatch.setattr(store, "_floor", os.statvfs(root).f_bavail * os.statvfs(root).f_frsize * 2)
    upload._floor_checked = -(1 << 40)
    with pytest.raises(StorageFullError):
        await upload.append([b"b" * MIB])
    assert upload.offset == MIB
    monkeypatch.setattr(store, "_floor", 0)
    await upload.append([b"b" * MIB])
    assert (await upload.digests()).sha256 == hashlib.sha256(b"a" * MIB + b"b" * MIB).hexdigest()
    await upload.close()


async def test_of_appends_that_overlap_none_is_stored_behind_one_that_failed(
    root: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(root)
    data = os.urandom(4 * MIB)
    upload = await store.open(key, len(data))
    await upload.append([data[:MIB]], 0)
    os.truncate(store.partial_path(key), 1000)
    parts = [(data[start : start + MIB], start) for start in (MIB, 2 * MIB, 3 * MIB)]
    failures = await asyncio.gather(*(upload.append([part], at) for part, at in parts), return_exceptions=True)
    assert [(type(failure), failure.offset) for failure in failures] == [(RewindError, 1000)] * 3  # type: ignore[union-attr]
    await upload.append([data[1000:]], 1000)
    assert (await upload.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await upload.finish()


async def test_a_file_size_limit_of_the_system_is_a_full_storage(root: Path, key: str) -> None:
    """RLIMIT_FSIZE makes a real write stop half-way with EFBIG: the offset is what really was written."""
    script = """
import asyncio, resource, signal, sys
from collections.abc import AsyncIterator
from pathlib import Path
from uploads.storage.local import LocalStore
from uploads.storage.base import StorageFullError

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    upload = await LocalStore(Path(sys.argv[1])).open(sys.argv[2], 1 << 30)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    try:
        await upload.append([b"x" * 1_000_000, b"y" * 1_000_000])
    except StorageFullError:
        print("full", upload.offset)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await upload.append([b"y" * 500_000])
    print((await upload.digests()).sha256)

asyncio.run(main())
"""
    output = subprocess.run(
        [sys.executable, "-c", script, str(root), key],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.split()
    assert output == ["full", "1500000", hashlib.sha256(b"x" * 1_000_000 + b"y" * 1_000_000).hexdigest()]


async def test_a_failed_sync_sends_the_client_back_to_the_last_synced_offset(
    root: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploads.storage.local.partial.SYNC_BYTES", MIB)
    monkeypatch.setattr("uploads.storage.local.partial.SYNC_SECONDS", 0)
    store = LocalStore(root)
    data = os.urandom(6 * MIB)
    upload = await store.open(key, len(data))
    await upload.append([data[: 2 * MIB]])
    assert upload._sync is not None
    await upload._sync

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("uploads.storage.local.partial.os.fdatasync", fails)
    await upload.append([data[2 * MIB : 4 * MIB]])
    await asyncio.wait({upload._sync})
    with pytest.raises(RewindError) as rewind:
        await upload.append([data[4 * MIB :]])
    assert rewind.value.offset == 2 * MIB
    monkeypatch.undo()
    await upload.append([data[2 * MIB :]])
    assert (await upload.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await upload.finish()


async def test_a_failed_sync_at_the_end_sends_the_client_back_too(
    root: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system drops what it could not write and tells so once: the next sync would succeed, and prove nothing."""
    partial = await LocalStore(root).open(key, MIB)
    await partial.append([os.urandom(MIB)])

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr("uploads.storage.local.partial.os.fsync", fails)
    with pytest.raises(RewindError) as rewind:
        await partial.finish()
    monkeypatch.undo()
    assert (rewind.value.offset, rewind.value.reason, partial.offset) == (0, "storage_unavailable", 0)
    data = os.urandom(MIB)
    await partial.append([data])
    assert (await partial.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await partial.finish()
    await partial.close()


async def test_bytes_that_cannot_even_be_cut_after_a_failed_sync_are_cut_when_the_upload_is_opened_again(
    root: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(root)
    partial = await store.open(key, MIB)
    await partial.append([os.urandom(MIB)])

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr("uploads.storage.local.partial.os.fsync", fails)
    monkeypatch.setattr("uploads.storage.local.partial.os.ftruncate", fails)
    with pytest.raises(StorageUnavailableError):
        await partial.finish()
    await partial.close()
    with pytest.raises(StorageUnavailableError):
        await store.open(key, MIB)
    monkeypatch.undo()
    for _ in range(2):
        partial = await store.open(key, MIB)
        assert partial.offset == 0
        await partial.close()


async def test_a_sync_mark_that_finds_no_room_costs_no_byte(
    root: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploads.storage.local.partial.SYNC_BYTES", MIB)
    monkeypatch.setattr("uploads.storage.local.partial.SYNC_SECONDS", 0)
    store = LocalStore(root)
    partial = await store.open(key, 4 * MIB)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "injected")

    monkeypatch.setattr(store, "write_sync_mark", full)
    await partial.append([os.urandom(MIB)])
    assert partial._sync is not None
    await asyncio.wait({partial._sync})
    with pytest.raises(StorageFullError):
        await partial.append([b"x"])
    assert partial.offset == MIB
    monkeypatch.undo()
    await partial.append([b"x"])
    assert partial.offset == MIB + 1
    await partial.close()


async def test_nobody_else_on_the_machine_can_read_what_is_stored(root: Path, key: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 4)
    await upload.append([b"data"])
    assert stat.S_IMODE(store.partial_path(key).stat().st_mode) == 0o600
    await upload.finish()
    assert stat.S_IMODE(store.final_path(key).stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "files").stat().st_mode) == 0o700


async def test_reading_stops_with_an_error_where_the_file_became_shorter(root: Path, key: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 3 * MIB)
    await upload.append([b"x" * 3 * MIB])
    await upload.finish()
    body = await store.read(key, 0, 3 * MIB)
    os.truncate(store.final_path(key), MIB)
    with pytest.raises(StorageUnavailableError):
        async for _block in body:
            pass


async def read_to_the_end(blocks: AsyncIterator[bytes]) -> None:
    async for _block in blocks:
        pass


async def test_reading_stops_with_an_error_where_somebody_writes_to_the_file(root: Path, key: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 4 * MIB)
    await upload.append([b"x" * 4 * MIB])
    await upload.finish()
    await upload.close()
    body = await store.read(key, 0, 4 * MIB)
    assert await anext(body) == b"x" * MIB
    with store.final_path(key).open("r+b") as file:
        file.write(b"other")
    with pytest.raises(StorageUnavailableError):
        await read_to_the_end(body)


async def test_a_reader_that_stops_half_way_leaves_no_open_file(root: Path, key: str) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 8 * MIB)
    await upload.append([b"x" * 8 * MIB])
    await upload.finish()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        body = await store.read(key, 0, 8 * MIB)
        async for _block in body:
            break
        await body.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.01)


async def test_readers_who_come_one_after_the_other_and_stop_hold_no_more_than_those_who_come_at_once(
    root: Path, key: str
) -> None:
    store = LocalStore(root)
    upload = await store.open(key, 4 * MIB)
    await upload.append([b"x" * 4 * MIB])
    await upload.finish()
    bodies = [await store.read(key, 0, 4 * MIB) for _ in range(100)]
    blocks = [len(await anext(body)) for body in bodies]
    assert blocks[0] == READ_BLOCK_BYTES
    assert 2 * sum(blocks) <= READ_BUDGET_BYTES + 2 * 100 * LEAST_BLOCK_BYTES
    for body in bodies:
        await body.aclose()  # type: ignore[attr-defined]
    body = await store.read(key, 0, 4 * MIB)
    assert [len(block) async for block in body] == [READ_BLOCK_BYTES] * 4, "what they held is given back"


# --- Taken from a writer that does not let go -------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploads.storage.local.store.LOCK_SECONDS", 0.1)


def at_rest(root: Path) -> list[str]:
    """What a storage with nothing in progress has on the disk."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_stopped_process_keeps_nobody_from_its_upload_and_harms_nothing_when_it_wakes_up(
    root: Path, key: str, impatient: None
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), key], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert writer.stdout is not None
    try:
        told = [int(writer.stdout.readline()) for _ in range(50)][-1]
        writer.send_signal(signal.SIGSTOP)
        with pytest.raises(StorageUnavailableError):
            await LocalStore(root).open(key, 1 << 30)
        upload = await LocalStore(root).open(key, 1 << 30, take=True)
        assert upload.offset >= told
        taken_at = upload.offset
        writer.send_signal(signal.SIGCONT)
        rest = (await asyncio.to_thread(writer.stdout.read)).split()
        assert taken_at >= max([told, *map(int, rest)])
        assert writer.wait() != 0  # its next write found the upload taken
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    await upload.append([b"y" * 65536])
    digests = await upload.digests()
    whole = b"x" * taken_at + b"y" * 65536
    assert digests.sha256 == hashlib.sha256(whole).hexdigest()
    await upload.finish()
    await upload.close()
    assert at_rest(root) == [f"files/{key[:2]}/{key}"]
    assert (root / "files" / key[:2] / key).read_bytes() == whole


async def test_all_that_an_older_writer_told_while_it_was_copied_is_in_the_copy(
    root: Path, key: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It believes that it owns the upload, and writes on until the copy has the name."""
    store = LocalStore(root)
    old = await store.open(key, 100 * MIB)
    await old.append([b"x" * MIB])
    told = [old.offset]
    writing = asyncio.Event()

    async def write_on() -> None:
        while True:
            writing.set()
            await old.append([b"x" * 1000])
            told.append(old.offset)

    monkeypatch.setattr("uploads.storage.taking.BLOCK_BYTES", 64 * 1024)
    monkeypatch.setattr("uploads.storage.taking.STEP_BYTES", 64 * 1024)
    task = asyncio.create_task(write_on())
    await writing.wait()
    new = await LocalStore(root).open(key, 100 * MIB, take=True)
    with pytest.raises(StorageUnavailableError):
        await task
    assert new.offset >= told[-1]
    assert (await new.digests()).sha256 == hashlib.sha256(b"x" * new.offset).hexdigest()
    await old.close()
    await new.close()


async def test_what_an_older_writer_adds_while_the_copy_is_begun_is_in_it_too(
    root: Path, key: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await LocalStore(root).open(key, 100 * MIB)
    await old.append([b"x" * MIB])
    taker = LocalStore(root)
    read_sync_mark = taker._read_sync_mark

    def read_while_it_grows(wanted: str) -> SyncMark:
        with taker.partial_path(key).open("ab") as file:
            file.write(b"x" * 1000)
        return read_sync_mark(wanted)

    monkeypatch.setattr(taker, "_read_sync_mark", read_while_it_grows)
    new = await taker.open(key, 100 * MIB, take=True)
    assert new.offset == MIB + 1000
    await old.close()
    await new.close()


async def test_an_older_writer_that_finishes_after_it_was_taken_publishes_nothing(
    root: Path, key: str, impatient: None
) -> None:
    old = await LocalStore(root).open(key, 10)
    await old.append([b"0123456789"])
    new = await LocalStore(root).open(key, 10, take=True)
    with pytest.raises(StorageUnavailableError):
        await old.finish()
    await old.close()
    assert not (root / "files" / key[:2] / key).exists()
    await new.finish()
    await new.close()
    assert at_rest(root) == [f"files/{key[:2]}/{key}"]


async def test_who_takes_an_upload_holds_it_like_any_other_writer(root: Path, key: str, impatient: None) -> None:
    old = await LocalStore(root).open(key, 10)
    await old.append([b"01234"])
    new = await LocalStore(root).open(key, 10, take=True)
    await old.close()
    with pytest.raises(StorageUnavailableError):
        await LocalStore(root).open(key, 10)
    await new.append([b"56789"])
    await new.close()
    again = await LocalStore(root).open(key, 10)
    assert (again.offset, (await again.digests()).sha256) == (10, hashlib.sha256(b"0123456789").hexdigest())
    await again.close()


async def test_a_finished_upload_that_a_stopped_process_still_holds_opens_whole(
    root: Path, key: str, impatient: None
) -> None:
    old = await LocalStore(root).open(key, 10)
    await old.append([b"0123456789"])
    await old.finish()
    new = await LocalStore(root).open(key, 10, take=True)
    assert (new.offset, (await new.digests()).sha256) == (10, hashlib.sha256(b"0123456789").hexdigest())
    await new.finish()
    await new.close()
    await old.close()


async def test_a_copy_that_was_broken_off_leaves_nothing_and_the_upload_as_it_was(
    root: Path, key: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await LocalStore(root).open(key, 10 * MIB)
    await old.append([b"x" * MIB])
    store = LocalStore(root)
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def step_without_end(self: Copy, free: int) -> bool:
        loop.call_soon_threadsafe(begun.set)
        return False

    monkeypatch.setattr(Copy, "step", step_without_end)
    taking = asyncio.create_task(store.open(key, 10 * MIB, take=True))
    await begun.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await old.append([b"x" * MIB])
    await old.close()
    assert at_rest(root) == [f"partial/{key}.part", f"partial/{key}.sync"]
    again = await store.open(key, 10 * MIB)
    assert again.offset == 2 * MIB
    await again.close()


async def test_a_copy_needs_room_beyond_the_floor(root: Path, key: str, impatient: None) -> None:
    old = await LocalStore(root).open(key, 10 * MIB)
    await old.append([b"x" * MIB])
    full = LocalStore(root, free_space_floor=1 << 60)
    with pytest.raises(StorageFullError):
        await full.open(key, 10 * MIB, take=True)
    assert at_rest(root) == [f"partial/{key}.part", f"partial/{key}.sync"]
    await old.close()


async def test_the_digest_that_a_process_kept_is_not_that_of_what_another_wrote(root: Path, key: str) -> None:
    store, elsewhere = LocalStore(root), LocalStore(root)
    upload = await store.open(key, 10)
    await upload.append([b"01234"])
    await upload.close()
    (root / "partial" / f"{key}.part").write_bytes(b"")
    other = await elsewhere.open(key, 10)
    await other.append([b"abcde"])
    await other.close()
    again = await store.open(key, 10)
    assert (await again.digests()).sha256 == hashlib.sha256(b"abcde").hexdigest()
    await again.close()
