"""Batches: announced whole or not at all, shown as they are, cancelled to the last file."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.asserts import assertNumQueries

from quotas.models import AudienceLimit, DailyUsage, LimitProfile
from quotas.rules import address_person, utc_day
from quotas.services import seed_profiles
from uploads import announcing, batches, services
from uploads.announcing import NewUpload, Sender
from uploads.errors import DailyLimitExceeded, FileTooLarge, StorageFull
from uploads.idempotency import RequestKey
from uploads.models import Batch, FileEvent, StoredFile
from uploads.states import Status
from uploads.storage import get_store
from uploads.storage.base import StorageUnavailableError

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database, pytest.mark.usefixtures("store")]
PERSON = address_person("198.51.100.22")
SENDER = Sender(PERSON, None, "visitor")


def new(*sizes: int) -> list[NewUpload]:
    return [NewUpload(f"{number}.bin", size, path="folder") for number, size in enumerate(sizes)]


async def announce(*sizes: int, key: str | None = None) -> tuple[Batch, list[StoredFile]]:
    batch, announced = await announcing.initiate_batch(new(*sizes), "", SENDER, RequestKey(key) if key else None)
    return batch, [file for file, _token in announced]


async def stored(file: StoredFile, data: bytes) -> None:
    """What a connection does that begins, sends `data`, and is lost."""
    await database_sync_to_async(services.begin_upload)(file)
    partial = await get_store().open(str(file.pk), file.size)
    await partial.append([data])
    await partial.close()


async def figures() -> tuple[int, int, int]:
    row = await DailyUsage.objects.filter(person=PERSON.key, day=utc_day(timezone.now())).afirst()
    return (row.used_bytes, row.reserved_bytes, row.files) if row else (0, 0, 0)


async def limit(**limits: int) -> None:
    await sync_to_async(seed_profiles)()
    await LimitProfile.objects.filter(environment="development").aupdate(limits_enforced=True)
    await AudienceLimit.objects.filter(profile__environment="development", audience="anonymous").aupdate(**limits)


async def rows() -> tuple[int, int, int]:
    return await Batch.objects.acount(), await StoredFile.objects.acount(), await FileEvent.objects.acount()


# --- announcing ---


async def test_a_batch_reserves_for_all_its_files_and_each_begins_its_history() -> None:
    batch, files = await announce(10, 0, 5)
    assert await figures() == (0, 15, 3)
    assert await rows() == (1, 3, 3)
    assert [file.position for file in files] == [0, 1, 2]
    assert {file.batch_id for file in files} == {batch.pk}
    assert (batch.person, batch.visitor, batch.owner_id) == (PERSON.key, "visitor", None)


@pytest.mark.parametrize(
    ("limits", "refusal", "named"),
    [
        ({"file_bytes": 9}, FileTooLarge, ["files.0.size", "files.2.size"]),
        ({"daily_bytes": 14}, DailyLimitExceeded, ["files.2.size"]),
        ({"daily_files": 1}, DailyLimitExceeded, ["files.1.size"]),
    ],
)
async def test_what_limits_refuse_leaves_nothing_and_is_named(
    limits: dict[str, int], refusal: type[Exception], named: list[str]
) -> None:
    await limit(**limits)
    with pytest.raises(refusal) as refused:
        await announce(10, 0, 10)
    assert [entry["field"] for entry in refused.value.members["errors"]] == named
    assert await rows() == (0, 0, 0)
    assert await figures() == (0, 0, 0)


async def test_what_the_disk_has_no_room_for_in_all_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def room() -> int:
        return 19

    monkeypatch.setattr(get_store(), "room", room)
    with pytest.raises(StorageFull):
        await announce(10, 10)
    assert (await rows(), await figures()) == ((0, 0, 0), (0, 0, 0))
    await announce(10, 9)


async def test_the_work_of_announcing_does_not_grow_with_each_file() -> None:
    await announce(1)

    def queries_for(number: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            announcing._initiate_batch(new(*[1] * number), "", SENDER, None, None)
        return len(queries)

    assert await sync_to_async(queries_for)(20) == await sync_to_async(queries_for)(1)


async def test_the_same_request_at_once_is_one_batch_with_one_reservation() -> None:
    await limit(daily_bytes=30)
    ask = database_sync_to_async(announcing._initiate_batch, thread_sensitive=False)  # as requests have: own threads
    answers = await asyncio.gather(*(ask(new(10, 20), "", SENDER, RequestKey("key"), None) for _ in range(8)))
    assert len({batch.pk for batch, _announced in answers}) == 1
    assert await figures() == (0, 30, 2)
    assert await rows() == (1, 2, 2)


async def test_asked_again_a_batch_has_new_tokens_in_its_old_order() -> None:
    _batch, first = await announcing.initiate_batch(new(1, 2, 3), "", SENDER, RequestKey("key"))
    _batch, second = await announcing.initiate_batch(new(1, 2, 3), "", SENDER, RequestKey("key"))
    assert [file.pk for file, _token in second] == [file.pk for file, _token in first]
    for (_old, old_token), (file, token) in zip(first, second, strict=True):
        row = await StoredFile.objects.aget(pk=file.pk)
        assert services.token_matches(row, token)
        assert not services.token_matches(row, old_token)


async def test_the_same_request_a_day_later_is_a_new_batch() -> None:
    first, _files = await announce(1, key="key")
    await Batch.objects.filter(pk=first.pk).aupdate(created_at=timezone.now() - timedelta(hours=25))
    second, _files = await announce(1, key="key")
    assert second.pk != first.pk


# --- what it is ---


async def test_the_facts_cost_two_queries_however_many_files_there_are() -> None:
    batch, _files = await announce(*range(1, 40))
    facts = await batches.facts_of(str(batch.pk))
    assert [known.file.size for known in facts.files] == list(range(1, 40))
    assert (facts.total_size, facts.offset, facts.status) == (sum(range(40)), 0, "uploading")

    def count() -> None:
        with assertNumQueries(2):
            batches._files_of(batches.find(batch.pk))

    await sync_to_async(count)()


async def test_a_batch_can_be_seen_while_its_storage_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, files = await announce(10, 10)
    await stored(files[0], b"1234")
    await database_sync_to_async(services.note_progress)(files[0].pk, 3, epoch=1)

    async def silent(key: str) -> int:
        raise StorageUnavailableError("no answer")

    assert [known.offset for known in (await batches.facts_of(batch.pk)).files] == [4, 0]
    monkeypatch.setattr(get_store(), "stored_bytes", silent)
    assert [known.offset for known in (await batches.facts_of(batch.pk)).files] == [3, 0]


async def test_files_whose_time_is_over_make_a_batch_expired_before_the_cleanup_comes() -> None:
    batch, _files = await announce(10, 10)
    await StoredFile.objects.filter(batch=batch).aupdate(upload_expires_at=timezone.now())
    assert (await batches.facts_of(batch.pk)).status == "expired"
    await StoredFile.objects.filter(batch=batch, position=0).aupdate(status=Status.COMPLETED)
    assert (await batches.facts_of(batch.pk)).status == "partial"
    await StoredFile.objects.filter(batch=batch, position=0).aupdate(expires_at=timezone.now())
    assert (await batches.facts_of(batch.pk)).status == "expired"


# --- cancelling ---


async def test_a_cancel_ends_what_is_unfinished_keeps_what_is_complete_and_pays_for_what_came() -> None:
    batch, files = await announce(10, 10, 10, 10)
    await stored(files[0], b"1234")
    await StoredFile.objects.filter(pk=files[1].pk).aupdate(status=Status.COMPLETED)
    await StoredFile.objects.filter(pk=files[2].pk).aupdate(status=Status.VERIFYING)
    assert await batches.cancel(batch, "sender") == 3
    assert await batches.cancel(batch, "sender") == 0
    statuses = [file.status async for file in batch.files.order_by("position")]
    assert statuses == ["cancelled", "completed", "cancelled", "cancelled"]
    assert await figures() == (4, 10, 2)
    assert await get_store().stored_bytes(str(files[0].pk)) == 0


async def test_an_upload_that_begins_just_before_its_batch_is_cancelled_ends_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, files = await announce(10, 10)
    end = services.end

    async def begin_and_end(some: Any, *arguments: Any) -> Any:
        monkeypatch.setattr(services, "end", end)
        await stored(files[1], b"1234")
        return await end(some, *arguments)

    monkeypatch.setattr(services, "end", begin_and_end)
    assert await batches.cancel(batch, "sender") == 2
    assert await figures() == (4, 0, 1)
    assert await get_store().stored_bytes(str(files[1].pk)) == 0


async def test_a_cancel_that_the_storage_stopped_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 2)
    batch, files = await announce(10, 10, 10, 10)
    await stored(files[3], b"1234")

    async def silent(key: str) -> int:
        raise StorageUnavailableError("no answer")

    with monkeypatch.context() as broken:
        broken.setattr(get_store(), "stored_bytes", silent)
        with pytest.raises(StorageUnavailableError):
            await batches.cancel(batch, "sender")
    assert await batches.cancel(batch, "sender") == 2, "the first two had ended"
    assert await figures() == (4, 0, 1)


async def test_cancels_and_repeated_requests_at_once_never_wait_for_each_other_crosswise() -> None:
    for number in range(4):
        batch, files = await announce(*[1] * 30, key=f"key {number}")
        again = database_sync_to_async(announcing._initiate_batch, thread_sensitive=False)
        end = database_sync_to_async(services.lifecycle.end_unfinished, thread_sensitive=False)
        await asyncio.gather(
            again(new(*[1] * 30), "", SENDER, RequestKey(f"key {number}"), None),
            end(dict.fromkeys(file.pk for file in files[::-1]), Status.CANCELLED, actor="a", fault_is_ours=False),
            again(new(*[1] * 30), "", SENDER, RequestKey(f"key {number}"), None),
            end(dict.fromkeys(file.pk for file in files), Status.CANCELLED, actor="b", fault_is_ours=False),
        )
        assert {file.status async for file in batch.files.all()} == {"cancelled"}
    assert await figures() == (0, 0, 0)
