"""What the Drive store does with each thing that happens on the way, over the emulator; one sender, which rewinds."""

import asyncio
import hashlib
import os
import threading
import time
import uuid
from dataclasses import replace
from typing import Any

import psutil
import pytest

from devtools.emulator_process import EmulatorProcess
from uploads.storage.base import (
    ObjectMissingError,
    RewindError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from uploads.storage.gdrive.chunk import Body, Chunk
from uploads.storage.gdrive.client import DriveClient, Progress
from uploads.storage.gdrive.errors import DriveChangedError, DriveRefusedError, DriveStalledError
from uploads.storage.gdrive.partial import READ_BACK, DrivePartial
from uploads.storage.gdrive.ports import Account
from uploads.storage.gdrive.store import DriveStore
from uploads.tests.drive_store_rig import QUICK, SEAL, FixedAccounts, MemorySessions, drive_store

KIB, MIB = 1024, 1024 * 1024
SIZE = 3 * MIB + 17


class Rig:
    """A store, what stands round it, and a sender of one file that goes back where it is told to."""

    def __init__(self, emulator: EmulatorProcess, accounts: int = 1) -> None:
        self.emulator = emulator
        self.accounts = FixedAccounts(emulator, accounts)
        self.sessions = MemorySessions()
        self.stores: list[DriveStore] = []
        self.store = self.another()
        self.key = str(uuid.uuid4())
        self.data = os.urandom(SIZE)
        self.rewinds: list[tuple[int, str]] = []
        self._sessions_before = emulator.open_sessions()

    def open_sessions(self) -> int:
        """How many sessions of ours Drive has that have come to no end."""
        return self.emulator.open_sessions() - self._sessions_before

    def another(self, **patience: float) -> DriveStore:
        """The store of another process."""
        store = drive_store(self.emulator, self.accounts, self.sessions, replace(QUICK, **patience))
        self.stores.append(store)
        return store

    async def send(self, until: int | None = None, store: DriveStore | None = None, block: int = 256 * KIB) -> Any:
        """Send from where the store wants it, up to `until`; returns the open upload."""
        upload = await (store or self.store).open(self.key, len(self.data))
        end = len(self.data) if until is None else until
        position = upload.offset
        while position < end:
            assert len(self.rewinds) < 10
            part = self.data[position : min(position + block, end)]
            try:
                await upload.append([part], position)
                position += len(part)
            except RewindError as rewind:
                self.rewinds.append((rewind.offset, rewind.reason))
                position = rewind.offset
            except StorageError:
                await upload.close()
                raise
        return upload

    async def complete(self, upload: Any) -> None:
        """Finish as the verification does, and see that it is there once, equal, and known so."""
        digests = await upload.digests()
        own = await upload.finish()
        await upload.close()
        sha256 = hashlib.sha256(self.data).hexdigest()
        assert digests.sha256 == own.sha256 == sha256
        assert own.size == len(self.data)
        [file] = self.files()
        assert self.emulator.content(file["id"]) == self.data
        assert sum(self.accounts.bytes.values()) >= len(self.data)

    async def send_all(self, **how: Any) -> None:
        await self.complete(await self.send(**how))

    def files(self) -> list[dict[str, Any]]:
        return self.emulator.files(f"appProperties has {{ key='key' and value='{self.key}' }}")


@pytest.fixture
async def rig(shared_emulator: EmulatorProcess) -> Any:
    rig = Rig(shared_emulator)
    yield rig
    for store in rig.stores:
        await store.close()
    assert not any(row.holder for row in rig.sessions.rows.values())
    assert not rig.accounts.bookings


@pytest.fixture
async def two(shared_emulator: EmulatorProcess) -> Any:
    rig = Rig(shared_emulator, accounts=2)
    yield rig
    for store in rig.stores:
        await store.close()


async def test_a_file_arrives_equal_with_drives_own_digest(rig: Rig) -> None:
    await rig.send_all()
    assert not rig.rewinds


async def test_half_a_chunk_that_was_kept_is_believed(rig: Rig) -> None:
    rig.emulator.add_fault("short", at=MIB)
    await rig.send_all()
    [(offset, reason)] = rig.rewinds
    assert offset % (256 * KIB) == 0
    assert reason == "storage_unavailable"


async def test_a_rewind_names_what_is_known_when_it_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests may be behind Drive when a chunk breaks, and are not any more when the sender hears of it."""
    hash_at_once, go_back, went_back = DrivePartial._hash, DrivePartial._go_back, threading.Event()

    def hash_late(partial: DrivePartial, *arguments: Any) -> None:
        assert went_back.wait(10)
        hash_at_once(partial, *arguments)

    def go_back_first(partial: DrivePartial) -> None:
        went_back.set()
        go_back(partial)

    monkeypatch.setattr(DrivePartial, "_hash", hash_late)
    monkeypatch.setattr(DrivePartial, "_go_back", go_back_first)
    rig.emulator.add_fault("short", at=MIB + 700 * KIB)
    upload = await rig.store.open(rig.key, SIZE)
    with pytest.raises(RewindError) as rewind:
        await upload.append([rig.data])
    assert rewind.value.offset == upload.offset > 0
    await upload.close()


async def test_a_session_that_has_gone_begins_anew_from_nothing(rig: Rig) -> None:
    rig.emulator.add_fault("gone", at=MIB)
    await rig.send_all()
    assert rig.rewinds == [(0, "storage_unavailable")]
    assert rig.open_sessions() == 0


async def test_a_last_answer_that_was_lost_makes_no_second_file(rig: Rig) -> None:
    fault = rig.emulator.add_fault("lost")
    await rig.send_all()
    assert rig.emulator.fired(fault) == 1
    assert not rig.rewinds


async def test_a_session_that_goes_with_the_last_answer_makes_no_second_file(rig: Rig) -> None:
    upload = await rig.send()
    await upload.close()
    row = rig.sessions.rows[rig.key]
    assert row.session is not None
    forgotten = f"{rig.emulator.url}/upload/drive/v3/files?upload_id=forgotten"
    row.session = replace(row.session, finished=False, sealed_url=SEAL + forgotten[::-1], offset=MIB)
    await rig.complete(await rig.another().open(rig.key, SIZE))


async def test_a_connection_that_breaks_in_mid_chunk_goes_on_from_what_drive_has(rig: Rig) -> None:
    fault = rig.emulator.add_fault("reset", at=MIB)
    await rig.send_all()
    assert rig.emulator.fired(fault) == 1
    assert len(rig.rewinds) == 1


async def test_a_chunk_that_is_not_answered_is_given_up_and_the_account_is_told_of(rig: Rig) -> None:
    rig.emulator.add_fault("stall", at=2 * MIB, seconds=30)
    await rig.send_all(store=rig.another(answer=0.5, stall=0.5))
    assert len(rig.rewinds) == 1


async def test_a_stall_at_the_very_beginning_moves_the_upload_to_another_account(two: Rig) -> None:
    two.emulator.add_fault("stall", seconds=30)
    await two.send_all(store=two.another(answer=0.5, stall=0.5))
    assert two.rewinds == [(0, "storage_unavailable")]
    [(account, error, reason), *_] = two.accounts.failures
    assert (account, reason) == (1, "stalled")
    assert isinstance(error, DriveStalledError)
    assert two.accounts.bytes[2] == SIZE


async def test_a_program_that_stood_still_itself_does_not_take_drive_for_stalled() -> None:
    """Stopped, or on a machine that was: no account is to be set aside for that."""
    loop, patience = asyncio.get_running_loop(), replace(QUICK, stall=0.2, answer=0.2)

    async def put(body: Body) -> Progress:
        async for _piece in body:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        return Progress(2)

    chunk = Chunk(2, 2, put, patience)
    for step in (chunk.feed(b"1"), chunk.feed(b"2"), chunk.outcome()):
        loop.call_later(0.05, time.sleep, 0.5)
        progress = await step
    assert progress == Progress(2)


async def test_a_flipped_bit_is_seen_in_drives_digest(rig: Rig) -> None:
    rig.emulator.add_fault("flip", at=MIB)
    upload = await rig.send()
    digests, own = await upload.digests(), await upload.finish()
    await upload.close()
    assert digests.sha256 == hashlib.sha256(rig.data).hexdigest()
    assert own.sha256 not in (None, digests.sha256)
    await rig.store.delete(rig.key)
    assert not rig.files()


@pytest.mark.parametrize("fault", [None, "flip"])
async def test_where_drive_gives_no_sha256_one_is_made_of_what_it_gives_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    monkeypatch.setattr("uploads.storage.gdrive.client.FIELDS", "id,size,trashed")
    if fault:
        rig.emulator.add_fault(fault, at=MIB)
    upload = await rig.send()
    digests, own = await upload.digests(), await upload.finish()
    await upload.close()
    [file] = rig.files()
    assert (own.sha256, own.md5, own.size) == (file["sha256Checksum"], file["md5Checksum"], SIZE)
    assert own.reason == READ_BACK
    assert (own.sha256 == digests.sha256) == (fault is None)


async def test_bytes_that_are_sent_again_are_known_to_have_come_twice(rig: Rig) -> None:
    upload = await rig.send(until=MIB + 100 * KIB)
    assert (await upload.digests()).once
    await upload.close()
    upload = await rig.send()  # what Drive has not kept was hashed
    assert not (await upload.digests()).once
    await rig.complete(upload)


async def test_a_slow_link_loses_nothing(rig: Rig) -> None:
    rig.emulator.add_fault("slow", rate=4 * MIB, times=-1)
    await rig.send_all()
    assert not rig.rewinds


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 502},
        {"status": 503},
        {"status": 429},
        {"status": 403, "reason": "rateLimitExceeded"},
        {"status": 403, "reason": "userRateLimitExceeded"},
        {"status": 429, "retry_after": 0.2},
    ],
    ids=str,
)
async def test_a_busy_drive_is_waited_for(rig: Rig, answer: dict[str, Any]) -> None:
    rig.emulator.add_fault("status", at=MIB, **answer)
    rig.emulator.add_fault("status", on="start", **answer)
    await rig.send_all()
    assert len(rig.rewinds) == 1
    assert not rig.accounts.failures


async def test_a_token_that_is_refused_in_mid_upload_is_made_anew_once(rig: Rig) -> None:
    rig.emulator.add_fault("status", status=401, at=MIB)
    await rig.send_all()
    assert rig.accounts.fresh_tokens == 1
    assert len(rig.rewinds) == 1


QUOTAS = ["storageQuotaExceeded", "quotaExceeded", "dailyLimitExceeded", "teamDriveFileLimitExceeded"]


@pytest.mark.parametrize("reason", QUOTAS)
async def test_an_account_that_is_out_before_the_first_byte_is_passed_over(two: Rig, reason: str) -> None:
    two.emulator.add_fault("status", status=403, reason=reason, on="start")
    await two.send_all()
    assert not two.rewinds
    assert two.accounts.bytes == {2: SIZE}
    assert [(account, reason) for account, _error, reason in two.accounts.failures] == [(1, reason)]


@pytest.mark.parametrize("reason", QUOTAS)
async def test_an_account_that_is_out_in_mid_file_is_left_for_another_and_the_sender_told_why(
    two: Rig, reason: str
) -> None:
    two.emulator.add_fault("status", status=403, reason=reason, at=2 * MIB)
    await two.send_all()
    assert two.rewinds == [(0, "storage_full")]
    assert two.accounts.bytes[2] == SIZE
    assert two.open_sessions() == 0


async def test_with_no_other_account_a_full_one_is_said_to_be_full(rig: Rig) -> None:
    rig.emulator.add_fault("status", status=403, reason="storageQuotaExceeded", at=2 * MIB)
    with pytest.raises(StorageFullError, match="storageQuotaExceeded"):
        await rig.send()
    await rig.send_all()  # what was stored is still stored


async def test_what_drive_refuses_ends_with_its_own_words(rig: Rig) -> None:
    rig.emulator.add_fault("status", status=403, reason="insufficientFilePermissions", at=2 * MIB)
    with pytest.raises(DriveRefusedError, match="insufficientFilePermissions"):
        await rig.send()


async def test_patience_ends_and_the_upload_can_go_on_later(rig: Rig) -> None:
    rig.emulator.add_fault("status", status=503, times=1, at=2 * MIB)
    store = rig.another(enough=0.0)
    with pytest.raises(StorageUnavailableError):
        await rig.send(store=store)
    await rig.send_all()


async def test_another_process_goes_on_with_bytes_and_digests_of_the_last_checkpoint(rig: Rig) -> None:
    upload = await rig.send(until=2 * MIB)
    await upload.close()
    other = rig.another()
    again = await other.open(rig.key, SIZE)
    assert again.offset > 0
    await again.close()
    await rig.send_all(store=other)


async def test_a_process_to_which_an_upload_comes_back_goes_on_from_where_it_was_meanwhile(rig: Rig) -> None:
    there = rig.another()
    for store, until in ((rig.store, MIB), (there, 2 * MIB)):
        await (await rig.send(until=until, store=store)).close()
    back = await rig.store.open(rig.key, SIZE)
    assert back.offset > MIB, "nothing is sent again that another process has stored and hashed"
    await back.close()
    await rig.send_all()


async def test_after_a_kill_bytes_behind_the_checkpoint_are_hashed_and_not_sent_again(rig: Rig) -> None:
    upload = await rig.send(until=2 * MIB)
    before = rig.sessions.rows[rig.key].session
    assert before is not None
    assert before.checkpoint is None  # nothing was kept of the digests yet
    upload._keeping.cancel()
    stored = upload.offset
    assert stored > 0
    rig.sessions.crash()
    rig.accounts.bytes.clear()
    other = rig.another()
    again = await other.open(rig.key, SIZE)
    assert again.offset == 0  # the digests begin here, not the bytes
    assert rig.accounts.bytes[1] >= stored
    await again.close()
    await rig.send_all(store=other)
    assert rig.accounts.bytes[1] == SIZE
    await upload.close()


async def test_a_finished_file_is_hashed_by_reading_it_back_where_its_digests_were_lost(rig: Rig) -> None:
    upload = await rig.send()
    upload._keeping.cancel()
    rig.sessions.crash()
    other = rig.another()
    again = await other.open(rig.key, SIZE)
    assert again.offset == SIZE
    await rig.complete(again)
    await upload.close()


async def test_a_writer_whose_upload_was_taken_over_stores_nothing_more(rig: Rig) -> None:
    upload = await rig.send(until=MIB)
    rig.sessions.crash()
    await rig.send_all(store=rig.another())
    with pytest.raises(StorageUnavailableError):
        await upload._hold.renew()
    await upload.close()
    assert rig.sessions.rows[rig.key].session.finished  # type: ignore[union-attr]


async def test_a_sender_that_keeps_silent_is_told_where_to_go_on_and_then_gathered_for(rig: Rig) -> None:
    store = rig.another(idle=0.05)
    upload = await store.open(rig.key, SIZE)
    position = 0
    while position < SIZE:
        step = 100 * KIB if position < 2 * MIB else MIB
        try:
            await upload.append([rig.data[position : position + step]], position)
            position = min(position + step, SIZE)
        except RewindError as rewind:
            rig.rewinds.append((rewind.offset, rewind.reason))
            position = rewind.offset
        if len(rig.rewinds) < 3 and position < 600 * KIB:
            await asyncio.sleep(0.15)
    assert 1 <= len(rig.rewinds) < 3  # once it is known to halt, its pauses break nothing
    await rig.complete(upload)


async def test_an_upload_that_is_left_while_it_begins_leaves_nothing_reserved(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(client: DriveClient, token: str) -> str:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody waits for this")

    monkeypatch.setattr(DriveClient, "generate_id", never)
    opening = asyncio.create_task(rig.store.open(rig.key, SIZE))
    await asked.wait()
    assert len(rig.accounts.bookings) == 1
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not rig.accounts.bookings


async def test_an_upload_that_sends_nothing_says_that_it_is_there(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    said = asyncio.Event()

    async def stored(account: Account, length: int) -> None:
        if not length:
            said.set()

    monkeypatch.setattr("uploads.storage.gdrive.partial.RENEW_SECONDS", 0.01)
    monkeypatch.setattr(rig.accounts, "stored", stored)
    upload = await rig.store.open(rig.key, SIZE)
    async with asyncio.timeout(10):
        await said.wait()
    await upload.close()


async def test_an_abandoned_upload_leaves_neither_session_nor_file(rig: Rig) -> None:
    upload = await rig.send(until=2 * MIB)
    await upload.close()
    assert rig.open_sessions() == 1
    await rig.store.delete(rig.key)
    assert rig.open_sessions() == 0
    assert not rig.files()
    assert await rig.store.keys() == []


async def test_only_files_with_our_mark_that_no_key_leads_to_are_left_over(rig: Rig) -> None:
    await rig.send_all()
    assert rig.key not in {left.key async for left in rig.store.left_over(-60)}
    rig.sessions.rows.clear()  # as after a database that was lost
    [left] = [left async for left in rig.store.left_over(-60) if left.key == rig.key]
    assert not left.replaced
    await left.remove()
    assert not rig.files()


async def read(rig: Rig, start: int = 0, length: int = SIZE) -> bytes:
    return b"".join([block async for block in await rig.store.read(rig.key, start, length, size=SIZE)])


async def drain(blocks: Any, into: bytearray) -> None:
    async for block in blocks:
        into += block


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "reset", "at": MIB + 1, "times": 3},
        {"fault": "reset", "at": SIZE - 6},
        {"fault": "reset", "at": 5},
        {"fault": "slow", "at": 5, "rate": 40 * MIB},
        {"fault": "status", "status": 503},
        {"fault": "status", "status": 429},
        {"fault": "status", "status": 401},
        {"fault": "status", "status": 403, "reason": "userRateLimitExceeded"},
    ],
    ids=str,
)
async def test_a_download_goes_on_from_the_very_byte_where_it_was_broken_off(rig: Rig, fault: dict[str, Any]) -> None:
    await rig.send_all()
    id = rig.emulator.add_fault(**{"on": "download", **fault})
    assert await read(rig, 5, SIZE - 10) == rig.data[5:-5]
    assert rig.emulator.fired(id) == fault.get("times", 1)
    assert not rig.accounts.failures


async def test_a_drive_that_stands_still_in_the_middle_is_asked_anew(rig: Rig) -> None:
    await rig.send_all()
    hasty = rig.another(stall=0.2)
    id = rig.emulator.add_fault("stall", on="download", at=MIB, seconds=30)
    assert b"".join([block async for block in await hasty.read(rig.key, 0, SIZE)]) == rig.data
    assert rig.emulator.fired(id) == 1


async def test_a_download_that_breaks_again_and_again_without_a_byte_ends_by_an_error(rig: Rig) -> None:
    await rig.send_all()
    rig.emulator.add_fault("reset", on="download", at=MIB, times=-1)
    got = bytearray()
    blocks = await rig.store.read(rig.key, 0, SIZE)
    with pytest.raises(StorageUnavailableError):
        await drain(blocks, got)
    assert got == rig.data[:MIB]
    [(account, _error, _reason)] = rig.accounts.failures
    assert account == 1, "the breaker hears of it"


@pytest.mark.parametrize("at", [MIB, SIZE - 1])
async def test_a_file_that_is_shorter_than_it_was_gives_none_of_its_bytes(rig: Rig, at: int) -> None:
    await rig.send_all()
    rig.emulator.add_fault("short", on="download", at=at, times=-1)
    for start in (0, MIB - 1):
        with pytest.raises(StorageUnavailableError):
            await rig.store.read(rig.key, start, SIZE - start, size=SIZE)
    assert not rig.accounts.failures, "it is no other file's fault"


async def test_a_file_that_became_shorter_in_the_middle_ends_by_an_error(rig: Rig) -> None:
    await rig.send_all()
    rig.emulator.add_fault("reset", on="download", at=MIB)
    blocks = await rig.store.read(rig.key, 0, SIZE, size=SIZE)
    rig.emulator.add_fault("short", on="download", at=2 * MIB, times=-1)
    got = bytearray()
    with pytest.raises(DriveChangedError):
        await drain(blocks, got)
    assert got == rig.data[: len(got)]


@pytest.mark.parametrize(
    ("status", "reason", "error", "counts"),
    [
        (404, "notFound", ObjectMissingError, False),
        (410, "gone", ObjectMissingError, False),
        (403, "insufficientFilePermissions", DriveRefusedError, False),
        (403, "downloadQuotaExceeded", DriveRefusedError, False),
        (403, "dailyLimitExceeded", StorageUnavailableError, False),
        (429, "rateLimitExceeded", StorageUnavailableError, False),
        (500, "internalError", StorageUnavailableError, True),
        (503, "backendError", StorageUnavailableError, True),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
async def test_what_drive_refuses_at_the_start_or_in_the_middle_ends_by_its_own_error(
    rig: Rig, status: int, reason: str, error: type[StorageError], counts: bool, begun: bool
) -> None:
    await rig.send_all()
    got = bytearray()
    if begun:
        rig.emulator.add_fault("reset", on="download", at=MIB)
        blocks = await rig.store.read(rig.key, 0, SIZE)
    rig.emulator.add_fault("status", status=status, reason=reason, on="download", times=-1)
    with pytest.raises(error) as raised:
        await drain(blocks if begun else await rig.store.read(rig.key, 0, SIZE), got)
    assert got == rig.data[: MIB if begun else 0]
    assert not isinstance(raised.value, StorageFullError), "a download needs no room"
    assert bool(rig.accounts.failures) == counts


async def test_while_drive_is_away_as_a_whole_nobody_is_kept_waiting(rig: Rig) -> None:
    await rig.send_all()
    rig.accounts.away = StorageUnavailableError("Drive is failing")
    with pytest.raises(StorageUnavailableError) as refused:
        await rig.store.read(rig.key, 0, SIZE)
    assert refused.value is rig.accounts.away


async def test_a_reader_who_stops_lets_go_of_drive_at_once_whether_or_not_a_byte_was_taken(rig: Rig) -> None:
    await rig.send_all()
    slow = rig.emulator.add_fault("slow", on="download", at=MIB, rate=MIB, times=-1)
    for taken in (0, 1):
        blocks = await rig.store.read(rig.key, 0, SIZE)
        for _ in range(taken):
            await anext(blocks)
        assert len(connections_to(rig)) == 1
        await blocks.aclose()
        assert not connections_to(rig)
    assert rig.emulator.fired(slow) == 2


def connections_to(rig: Rig) -> list[Any]:
    """Of this process to the emulator, in use: those at rest in the pool are none."""
    http = rig.store._client._http
    assert http is not None
    return list(http.connector._acquired)  # type: ignore[union-attr]


async def test_a_reader_who_takes_nothing_makes_drive_wait(rig: Rig) -> None:
    rig.data = os.urandom(24 * MIB)
    await rig.send_all(block=4 * MIB)
    before = psutil.Process().io_counters().read_chars
    blocks = await rig.store.read(rig.key, 0, len(rig.data))
    await asyncio.sleep(0.5)
    taken = psutil.Process().io_counters().read_chars - before
    assert taken < 2 * MIB
    assert b"".join([block async for block in blocks]) == rig.data


async def test_a_download_that_drive_takes_for_malware_is_handed_out(rig: Rig) -> None:
    await rig.send_all()
    [file] = rig.files()
    rig.emulator.call("POST", f"/_files/{file['id']}", {"abusive": True})
    assert b"".join([block async for block in await rig.store.read(rig.key, 0, SIZE)]) == rig.data
    assert not rig.accounts.failures


async def test_the_address_of_a_session_is_sealed_and_leads_nowhere_else(rig: Rig) -> None:
    upload = await rig.send(until=MIB)
    await upload.close()
    row = rig.sessions.rows[rig.key]
    assert row.session is not None
    assert "upload_id" not in row.session.sealed_url
    elsewhere = "http://127.0.0.1:9/upload/drive/v3/files?upload_id=x"
    row.session = replace(row.session, sealed_url=SEAL + elsewhere[::-1])
    with pytest.raises(DriveRefusedError) as refused:
        await rig.another().open(rig.key, SIZE)
    assert "upload_id" not in str(refused.value)
