"""The use-cases: what they do to files, quota and bytes, also when two of them meet."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.utils import timezone

from quotas.models import AudienceLimit, DailyUsage, LimitProfile
from quotas.rules import address_person, utc_day
from quotas.services import seed_profiles
from uploads import announcing, hints, lifecycle, services
from uploads.announcing import NewUpload, Sender
from uploads.errors import ChecksumMismatch, DailyLimitExceeded, FileTooLarge, Gone, UploadError, WrongState
from uploads.idempotency import RequestKey
from uploads.models import FileEvent, StoredFile
from uploads.states import TRANSITIONS, Status
from uploads.storage import get_store
from uploads.storage.base import Digests

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database, pytest.mark.usefixtures("store")]
PERSON = address_person("198.51.100.20")
SENDER = Sender(PERSON, None, "visitor")
DIGESTS = Digests("a" * 64, 7)


async def announce(size: int = 10, key: str | None = None) -> StoredFile:
    return (await announcing.initiate(NewUpload("file", size), SENDER, RequestKey(key) if key else None))[0]


async def stored(file: StoredFile, data: bytes) -> None:
    """What a connection does that begins, sends `data`, and is lost."""
    await sync_to_async(services.begin_upload)(file)
    partial = await get_store().open(str(file.pk), file.size)
    await partial.append([data])
    await partial.close()


async def epoch_of(file: StoredFile) -> int:
    """What the last who opened it for writing has."""
    return (await StoredFile.objects.aget(pk=file.pk)).epoch


async def figures() -> tuple[int, int, int]:
    row = await DailyUsage.objects.filter(person=PERSON.key, day=utc_day(timezone.now())).afirst()
    return (row.used_bytes, row.reserved_bytes, row.files) if row else (0, 0, 0)


async def completed(size: int = 10) -> StoredFile:
    file = await announce(size)
    assert await sync_to_async(services.begin_verifying)(file.pk, epoch=await epoch_of(file))
    assert await sync_to_async(services.complete)(file, DIGESTS, {}, epoch=await epoch_of(file))
    return await StoredFile.objects.aget(pk=file.pk)


async def limit(**limits: int) -> None:
    await sync_to_async(seed_profiles)()
    await LimitProfile.objects.filter(environment="development").aupdate(limits_enforced=True)
    await AudienceLimit.objects.filter(profile__environment="development", audience="anonymous").aupdate(**limits)


async def test_announcing_reserves_completing_commits_and_deleting_returns_nothing() -> None:
    file = await completed(10)
    assert await figures() == (10, 0, 1)
    await services.delete(file.pk, "sender")
    assert await figures() == (10, 0, 1)


async def test_a_cancel_returns_what_never_came_and_keeps_what_did() -> None:
    file = await announce(10)
    await stored(file, b"1234")
    await services.cancel(file.pk, "sender")
    assert await figures() == (4, 0, 1)
    assert await get_store().stored_bytes(str(file.pk)) == 0


async def test_a_cancel_before_the_first_byte_returns_everything() -> None:
    await services.cancel((await announce(10)).pk, "sender")
    assert await figures() == (0, 0, 0)


async def test_an_admins_cancel_costs_the_sender_nothing() -> None:
    file = await announce(10)
    await stored(file, b"1234")
    await services.cancel(file.pk, "admin", fault_is_ours=True)
    assert await figures() == (0, 0, 0)


async def test_upload_and_cancel_loops_are_no_free_ride() -> None:
    await limit(daily_bytes=25)
    for _ in range(2):
        file = await announce(10)
        await stored(file, b"0123456789")
        await services.cancel(file.pk, "sender")
    with pytest.raises(DailyLimitExceeded) as refused:
        await announce(10)
    assert refused.value.members["used"] == 20
    assert refused.value.members["remaining"] == 5
    assert refused.value.retry_after is not None


async def test_limits_refuse_with_their_numbers_and_leave_nothing_behind() -> None:
    await limit(file_bytes=100)
    with pytest.raises(FileTooLarge) as refused:
        await announce(101)
    assert refused.value.members == {"limit": 100, "size": 101}
    assert await StoredFile.objects.acount() == 0
    assert await figures() == (0, 0, 0)


async def test_a_digest_that_differs_fails_the_file_removes_its_bytes_and_counts_them() -> None:
    file = await announce(10)
    await stored(file, b"0123456789")
    await sync_to_async(services.begin_verifying)(file.pk, epoch=await epoch_of(file))
    await services.fail(file, ChecksumMismatch(), "theirs is not ours", fault_is_ours=False, epoch=await epoch_of(file))
    row = await StoredFile.objects.aget(pk=file.pk)
    assert (row.status, row.error_code, row.error_detail) == ("failed", "checksum_mismatch", "theirs is not ours")
    assert await get_store().stored_bytes(str(file.pk)) == 0
    assert await figures() == (10, 0, 1)


async def test_of_a_cancel_and_a_completion_at_once_one_wins_and_the_quota_is_right() -> None:
    for _ in range(10):
        before = await figures()
        file = await announce(10)
        await sync_to_async(services.begin_verifying)(file.pk, epoch=await epoch_of(file))

        async def cancel(file: StoredFile = file) -> None:
            with contextlib.suppress(UploadError):
                await services.cancel(file.pk, "sender")

        await asyncio.gather(
            cancel(), database_sync_to_async(services.complete, thread_sensitive=False)(file, DIGESTS, {}, epoch=0)
        )
        status = (await StoredFile.objects.aget(pk=file.pk)).status
        used, reserved, _files = await figures()
        assert status in (Status.CANCELLED, Status.COMPLETED)
        assert (used - before[0], reserved) == (10 if status == Status.COMPLETED else 0, 0)
        assert await FileEvent.objects.filter(file=file, new_status=status).acount() == 1


async def test_cancelling_twice_at_once_gives_back_once() -> None:
    await announce(10)
    file = await announce(10)
    await asyncio.gather(*(services.cancel(file.pk, "sender") for _ in range(5)))
    assert await figures() == (0, 10, 1)


async def test_many_end_in_one_step_each_with_its_event_and_its_own_share_of_the_quota() -> None:
    begun, never, lapsed, whole = await announce(10), await announce(20), await announce(30), await completed(40)
    await stored(begun, b"1234")
    await sync_to_async(lifecycle.settle_quota)(lapsed, keep_bytes=0, forget_file=True)
    files = [await StoredFile.objects.aget(pk=file.pk) for file in (begun, never, lapsed, whole)]
    ended = await services.end(files, Status.CANCELLED, "sender")
    assert set(ended) == {begun.pk, never.pk, lapsed.pk}
    assert await figures() == (40 + 4, 0, 2)
    assert await FileEvent.objects.filter(new_status="cancelled", old_status="pending", actor="sender").acount() == 3
    assert await get_store().stored_bytes(str(begun.pk)) == 0
    assert await services.end(files, Status.CANCELLED, "sender") == []
    assert await figures() == (40 + 4, 0, 2)


async def test_what_began_after_somebody_looked_is_looked_at_again_before_it_ends() -> None:
    file = await announce(10)
    await stored(file, b"1234")
    assert file.last_seen_at is None, "so it was when somebody looked"
    assert await services.end([file], Status.CANCELLED, "sender") == []
    await services.cancel(file.pk, "sender")
    assert await figures() == (4, 0, 1)


async def test_two_who_end_the_same_files_in_turned_order_wait_for_each_other_and_end_each_once() -> None:
    for _ in range(5):
        files = [await announce(10) for _ in range(20)]
        nothing_asked = [dict.fromkeys([file.pk for file in some]) for some in (files, files[::-1])]
        end = database_sync_to_async(lifecycle.end_unfinished, thread_sensitive=False)
        first, second = await asyncio.gather(
            *(end(stored, Status.CANCELLED, actor="sender", fault_is_ours=False) for stored in nothing_asked)
        )
        assert sorted(file.pk for file in first + second) == sorted(file.pk for file in files)
        assert await figures() == (0, 0, 0)


async def test_a_cancel_goes_on_when_the_one_who_asked_for_it_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    file = await announce(10)
    await stored(file, b"1234")
    told = asyncio.Event()
    tell_others = hints.tell

    async def tell(file_id: Any) -> None:
        told.set()
        await asyncio.sleep(0)
        await tell_others(file_id)

    monkeypatch.setattr(hints, "tell", tell)
    asking = asyncio.create_task(services.cancel(file.pk, "sender"))
    await told.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(10):
        while await get_store().stored_bytes(str(file.pk)):
            await asyncio.sleep(0.01)
    assert await figures() == (4, 0, 1)


async def test_what_ended_stays_ended() -> None:
    file = await completed()
    with pytest.raises(WrongState):
        await services.cancel(file.pk, "sender")
    await services.delete(file.pk, "sender")
    for call in (services.cancel, services.delete):
        with pytest.raises(Gone):
            await call(file.pk, "sender")


async def test_every_change_leaves_one_event_with_its_actor() -> None:
    file = await completed()
    await services.delete(file.pk, "admin:root")
    events = [(event.old_status, event.new_status, event.actor) async for event in FileEvent.objects.filter(file=file)]
    assert events == [
        ("", "pending", PERSON.key),
        ("pending", "verifying", "sender"),
        ("verifying", "completed", "server"),
        ("completed", "deleted", "admin:root"),
    ]


@pytest.mark.parametrize("old", list(Status))
@pytest.mark.parametrize("new", list(Status))
async def test_no_file_takes_an_edge_that_is_not_drawn(old: Status, new: Status) -> None:
    file = await announce()
    await StoredFile.objects.filter(pk=file.pk).aupdate(status=old)
    if new in TRANSITIONS[old]:
        assert await sync_to_async(lifecycle.transition)(file.pk, [old], new, actor="test") == old
    else:
        with pytest.raises(ValueError):
            await sync_to_async(lifecycle.transition)(file.pk, [old], new, actor="test")


async def test_after_the_time_to_resume_no_connection_begins() -> None:
    file = await announce()
    await StoredFile.objects.filter(pk=file.pk).aupdate(upload_expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Gone):
        await sync_to_async(services.begin_upload)(await StoredFile.objects.aget(pk=file.pk))


async def test_a_lapsed_reservation_that_no_longer_fits_is_refused_and_the_file_stays() -> None:
    await limit(daily_bytes=15)
    file = await announce(10)
    await sync_to_async(lifecycle.settle_quota)(file, keep_bytes=0, forget_file=True)
    await announce(10)
    with pytest.raises(DailyLimitExceeded):
        await sync_to_async(services.begin_upload)(await StoredFile.objects.aget(pk=file.pk))
    row = await StoredFile.objects.aget(pk=file.pk)
    assert (row.status, row.quota_reserved) == (Status.PENDING, False)


async def test_a_file_that_was_accepted_goes_on_though_a_lowered_limit_would_refuse_it_now() -> None:
    file = await announce(10)
    await sync_to_async(lifecycle.settle_quota)(file, keep_bytes=0, forget_file=True)
    await limit(file_bytes=5)
    await sync_to_async(services.begin_upload)(await StoredFile.objects.aget(pk=file.pk))
    assert (await StoredFile.objects.aget(pk=file.pk)).quota_reserved


async def test_the_same_request_a_day_later_is_a_new_file() -> None:
    first = await announce(10, "key")
    assert (await announce(10, "key")).pk == first.pk
    await StoredFile.objects.filter(pk=first.pk).aupdate(created_at=timezone.now() - timedelta(hours=25))
    assert (await announce(10, "key")).pk != first.pk


async def test_the_same_request_twice_at_once_is_one_file_even_where_it_takes_the_last_room() -> None:
    await limit(daily_bytes=10)
    ask = database_sync_to_async(
        announcing._initiate, thread_sensitive=False
    )  # in threads of their own, as requests have
    answers = await asyncio.gather(*(ask(NewUpload("file", 10), SENDER, RequestKey("key"), None) for _ in range(8)))
    assert len({file.pk for file, _token in answers}) == 1
    assert await figures() == (0, 10, 1)


async def test_a_fault_is_kept_beside_the_file_once_a_minute() -> None:
    file = await announce()
    for _ in range(3):
        await sync_to_async(lifecycle.note_fault)(file.pk, ChecksumMismatch(), "the disk said no")
    row = await StoredFile.objects.aget(pk=file.pk)
    assert (row.error_code, row.error_detail, row.status) == ("checksum_mismatch", "the disk said no", "pending")
    assert await FileEvent.objects.filter(file=file, code="checksum_mismatch").acount() == 1


async def test_a_fault_is_noted_although_the_same_one_stands_in_the_future() -> None:
    """The clock was wrong for a while."""
    file = await announce()
    await sync_to_async(lifecycle.note_fault)(file.pk, ChecksumMismatch(), "first")
    await sync_to_async(lifecycle.note_fault)(file.pk, ChecksumMismatch(), "the same, a moment later")
    events = FileEvent.objects.filter(file=file, code="checksum_mismatch")
    assert await events.acount() == 1
    await events.aupdate(at=timezone.now() + timedelta(days=3))
    await sync_to_async(lifecycle.note_fault)(file.pk, ChecksumMismatch(), "second")
    assert await events.acount() == 2
