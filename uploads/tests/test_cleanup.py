"""What time ends, and what it must leave alone."""

import asyncio
import hashlib
import os
import uuid
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.core.management import call_command
from django.utils import timezone

from quotas.models import DailyUsage
from quotas.rules import address_person, utc_day
from uploads import announcing, cleanup, services
from uploads.announcing import NewUpload, Sender
from uploads.models import FileEvent, StoredFile
from uploads.states import Status
from uploads.storage import get_store
from uploads.storage.local import LocalStore

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database, pytest.mark.usefixtures("store")]
PERSON = address_person("192.0.2.7")
NOBODY: frozenset[str] = frozenset()


async def announce(size: int = 10) -> StoredFile:
    file, _token = await announcing.initiate(NewUpload("file", size), Sender(PERSON, None, "visitor"))
    return file


async def put(file: StoredFile, data: bytes) -> None:
    """What a connection does that begins, sends `data`, and is lost."""
    await database_sync_to_async(services.begin_upload)(file)
    partial = await get_store().open(str(file.pk), file.size)
    await partial.append([data])
    await partial.close()


async def change(file: StoredFile, **fields: Any) -> None:
    await StoredFile.objects.filter(pk=file.pk).aupdate(**fields)


async def state(file: StoredFile) -> StoredFile:
    return await StoredFile.objects.aget(pk=file.pk)


async def usage() -> DailyUsage:
    return await DailyUsage.objects.aget(person=PERSON.key, day=utc_day(timezone.now()))


def long_ago(**span: int) -> Any:
    return timezone.now() - timedelta(**span)


async def test_an_overdue_upload_expires_and_gives_back_what_never_came(store: LocalStore) -> None:
    file = await announce(10)
    await put(file, b"123")
    await change(file, upload_expires_at=long_ago(seconds=1))
    report = await cleanup.clean(NOBODY)
    assert report.expired == [str(file.pk)]
    assert (await state(file)).status == Status.EXPIRED
    assert await store.stored_bytes(str(file.pk)) == 0
    now = await usage()
    assert (now.used_bytes, now.reserved_bytes, now.files) == (3, 0, 1)
    assert await FileEvent.objects.filter(file=file, new_status=Status.EXPIRED, actor="cleanup").acount() == 1


async def test_an_upload_that_never_began_gives_everything_back() -> None:
    file = await announce(10)
    await change(file, upload_expires_at=long_ago(seconds=1))
    await cleanup.clean(NOBODY)
    now = await usage()
    assert (now.used_bytes, now.reserved_bytes, now.files) == (0, 0, 0)


async def test_a_file_whose_days_are_over_is_removed(store: LocalStore) -> None:
    file = await announce(3)
    await put(file, b"123")
    await change(file, last_seen_at=long_ago(minutes=20))
    assert (await cleanup.clean(NOBODY)).completed == [str(file.pk)]
    await change(file, expires_at=long_ago(seconds=1))
    assert (await cleanup.clean(NOBODY)).expired == [str(file.pk)]
    assert (await state(file)).status == Status.EXPIRED
    assert await store.stored_bytes(str(file.pk)) == 0
    assert (await usage()).used_bytes == 3, "a completed file stays used"


async def test_a_whole_upload_without_finish_is_verified_and_completed() -> None:
    data = os.urandom(100_000)
    file = await announce(len(data))
    await put(file, data)
    await change(file, last_seen_at=long_ago(minutes=14))
    assert (await cleanup.clean(NOBODY)).completed == []
    await change(file, last_seen_at=long_ago(minutes=16))
    assert (await cleanup.clean(NOBODY)).completed == [str(file.pk)]
    done = await state(file)
    assert (done.status, done.sha256) == (Status.COMPLETED, hashlib.sha256(data).hexdigest())
    assert done.receipt["browser"]["sha256"] is None
    now = await usage()
    assert (now.used_bytes, now.reserved_bytes) == (len(data), 0)


async def test_a_whole_upload_with_other_bytes_than_announced_fails() -> None:
    file = await announce(3)
    await put(file, b"123")
    await change(file, last_seen_at=long_ago(minutes=16), expected_sha256="0" * 64)
    report = await cleanup.clean(NOBODY)
    assert report.completed == []
    assert len(report.problems) == 1
    assert (await state(file)).status == Status.FAILED


async def test_a_verification_whose_worker_was_lost_is_done_again() -> None:
    file = await announce(3)
    await put(file, b"123")
    await change(file, status=Status.VERIFYING, last_seen_at=long_ago(minutes=16))
    assert (await cleanup.clean(NOBODY)).completed == [str(file.pk)]
    assert (await state(file)).status == Status.COMPLETED


async def test_a_reservation_without_a_first_byte_is_returned_after_an_hour_and_taken_again_at_start() -> None:
    file = await announce(10)
    await change(file, created_at=long_ago(minutes=59))
    assert (await cleanup.clean(NOBODY)).reservations == []
    await change(file, created_at=long_ago(minutes=61))
    assert (await cleanup.clean(NOBODY)).reservations == [str(file.pk)]
    now = await usage()
    assert (now.reserved_bytes, now.files) == (0, 0)
    assert (await state(file)).status == Status.PENDING
    await database_sync_to_async(services.begin_upload)(await state(file))
    now = await usage()
    assert (now.reserved_bytes, now.files) == (10, 1)
    await database_sync_to_async(services.begin_upload)(await state(file))
    assert (await usage()).reserved_bytes == 10, "two connections reserve once"


async def test_a_reservation_with_a_first_byte_or_a_recent_connection_stays() -> None:
    begun, connected = await announce(10), await announce(10)
    await put(begun, b"1")
    await change(begun, last_seen_at=long_ago(hours=2))
    for file in (begun, connected):
        await change(file, created_at=long_ago(hours=2))
    await change(connected, last_seen_at=long_ago(minutes=5))
    assert (await cleanup.clean(NOBODY)).reservations == []


async def test_running_uploads_are_left_alone(store: LocalStore) -> None:
    file = await announce(3)
    await put(file, b"123")
    await change(file, last_seen_at=long_ago(days=2), upload_expires_at=long_ago(days=1), created_at=long_ago(days=2))
    report = await cleanup.clean(frozenset({str(file.pk)}))
    assert not any((report.expired, report.completed, report.reservations, report.orphans))
    assert (await state(file)).status == Status.PENDING


async def test_an_upload_that_is_open_elsewhere_is_not_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploads.storage.local.store.LOCK_SECONDS", 0.1)
    file = await announce(3)
    holder = await get_store().open(str(file.pk), 3)
    await holder.append([b"123"])
    await change(file, last_seen_at=long_ago(minutes=20))
    report = await cleanup.clean(NOBODY)
    assert (report.completed, report.problems) == ([], [])
    await holder.close()


async def test_a_client_that_returns_while_the_cleanup_verifies_does_not_take_it_for_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uploads.storage.local.store.LOCK_SECONDS", 0.1)
    file = await announce(3)
    holder = await get_store().open(str(file.pk), 3)
    await holder.append([b"123"])
    await change(file, status=Status.VERIFYING)
    assert not await services.rescue(await state(file))
    assert (await state(file)).status == Status.VERIFYING
    await holder.close()
    assert await services.rescue(await state(file))
    assert (await state(file)).status == Status.PENDING


async def test_orphans_go_when_they_are_old_and_never_before(store: LocalStore) -> None:
    known, orphan, young = await announce(3), str(uuid.uuid4()), str(uuid.uuid4())
    await put(known, b"12")
    for key in (orphan, young):
        partial = await store.open(key, 3)
        await partial.append([b"12"])
        await partial.close()
    for path in (store.partial_path(orphan), store.sync_path(orphan), store.partial_path(str(known.pk))):
        os.utime(path, (0, 0))
    os.utime(store.sync_path(str(known.pk)), (0, 0))
    assert (await cleanup.clean(NOBODY)).orphans == [orphan]
    assert await store.stored_bytes(orphan) == 0
    assert await store.stored_bytes(young) == await store.stored_bytes(str(known.pk)) == 2


async def test_the_bytes_of_a_cancelled_upload_are_orphans(store: LocalStore) -> None:
    file = await announce(3)
    await services.cancel(file.pk, "sender")
    await put(file, b"12")  # a writer that came too late
    os.utime(store.partial_path(str(file.pk)), (0, 0))
    os.utime(store.sync_path(str(file.pk)), (0, 0))
    assert (await cleanup.clean(NOBODY)).orphans == [str(file.pk)]


async def test_a_dry_run_says_the_same_and_changes_nothing(store: LocalStore) -> None:
    overdue, whole = await announce(10), await announce(3)
    await change(overdue, upload_expires_at=long_ago(seconds=1))
    await put(whole, b"123")
    await change(whole, last_seen_at=long_ago(minutes=20))
    dry = await cleanup.clean(NOBODY, dry_run=True)
    assert (dry.expired, dry.completed) == ([str(overdue.pk)], [str(whole.pk)])
    assert {(await state(file)).status for file in (overdue, whole)} == {Status.PENDING}
    wet = await cleanup.clean(NOBODY)
    assert (wet.expired, wet.completed) == (dry.expired, dry.completed)


async def test_cleaning_twice_at_once_does_everything_once() -> None:
    files = [await announce(10) for _ in range(5)]
    for file in files:
        await change(file, upload_expires_at=long_ago(seconds=1))
    reports = await asyncio.gather(*(cleanup.clean(NOBODY) for _ in range(3)))
    assert sorted(key for report in reports for key in report.expired) == sorted(str(file.pk) for file in files)
    now = await usage()
    assert (now.used_bytes, now.reserved_bytes, now.files) == (0, 0, 0)


async def test_the_command_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    file = await announce(10)
    await change(file, upload_expires_at=long_ago(seconds=1))
    await asyncio.to_thread(call_command, "cleanup_uploads", "--dry-run")
    assert "would be expired: 1" in capsys.readouterr().out
    await asyncio.to_thread(call_command, "cleanup_uploads", verbosity=2)
    said = capsys.readouterr().out
    assert "expired: 1" in said
    assert str(file.pk) in said


async def test_daily_use_is_forgotten_after_400_days_unless_something_is_reserved_still() -> None:
    today = utc_day(timezone.now())
    for age, reserved in ((0, 0), (400, 0), (401, 0), (401, 5), (5000, 0)):
        person = f"address:192.0.2.{age % 250}" if not reserved else "address:192.0.2.251"
        await DailyUsage.objects.acreate(person=person, day=today - timedelta(days=age), reserved_bytes=reserved)
    assert (await cleanup.clean(NOBODY, dry_run=True)).forgotten == 2
    assert await DailyUsage.objects.acount() == 5
    assert (await cleanup.clean(NOBODY)).forgotten == 2
    kept = [((today - usage.day).days, usage.reserved_bytes) async for usage in DailyUsage.objects.order_by("day")]
    assert kept == [(401, 5), (400, 0), (0, 0)]
    assert (await cleanup.clean(NOBODY)).forgotten == 0
