"""Which files and batches are forgotten in the end, and which are history."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from quotas.rules import address_person
from uploads import announcing, batches, cleanup, forgetting, services
from uploads.announcing import NewUpload, Sender
from uploads.models import Batch, FileEvent, StoredFile
from uploads.states import Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database, pytest.mark.usefixtures("store")]
SENDER = Sender(address_person("192.0.2.7"), None, "visitor")
NOBODY: frozenset[str] = frozenset()


async def announce() -> StoredFile:
    file, _token = await announcing.initiate(NewUpload("file", 10), SENDER)
    return file


async def announce_batch(files: int = 3) -> tuple[Batch, list[StoredFile]]:
    batch, announced = await announcing.initiate_batch(
        [NewUpload(str(number), 10) for number in range(files)], "", SENDER
    )
    return batch, [file for file, _token in announced]


async def change(file: StoredFile, **fields: Any) -> None:
    await StoredFile.objects.filter(pk=file.pk).aupdate(**fields)


async def days_pass(days: int) -> None:
    async for file in StoredFile.objects.all():
        await change(file, upload_expires_at=file.upload_expires_at - timedelta(days=days))


async def known() -> set[str]:
    return {str(file.pk) async for file in StoredFile.objects.all()}


async def test_a_file_that_came_to_nothing_is_forgotten_30_days_after_it_could_be_resumed() -> None:
    file = await announce()
    await days_pass(29)
    await cleanup.clean(NOBODY)
    assert await known() == {str(file.pk)}, "it expired, and that can be seen for a while"
    await days_pass(2)
    assert (await cleanup.clean(NOBODY, dry_run=True)).forgotten_files == 1
    assert await known() == {str(file.pk)}
    assert (await cleanup.clean(NOBODY)).forgotten_files == 1
    assert await known() == set()
    assert not await FileEvent.objects.aexists()


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED, Status.EXPIRED])
async def test_what_was_completed_once_is_history_however_it_ended(status: Status) -> None:
    file = await announce()
    await change(file, status=status, quota_reserved=False, completed_at=timezone.now())
    await days_pass(400)
    assert (await cleanup.clean(NOBODY)).forgotten_files == 0
    assert await known() == {str(file.pk)}


async def test_what_still_holds_a_reservation_is_never_forgotten() -> None:
    file = await announce()
    await change(file, status=Status.FAILED, quota_reserved=True)
    await days_pass(400)
    assert (await cleanup.clean(NOBODY)).forgotten_files == 0


async def test_a_batch_of_nothing_is_forgotten_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 2)
    batch, _files = await announce_batch(5)
    await batches.cancel(batch, "sender")
    await days_pass(32)
    assert (await cleanup.clean(NOBODY)).forgotten_files == 5
    assert await known() == set()
    assert not await Batch.objects.aexists()


async def test_a_batch_of_which_one_file_came_tells_of_all_of_them_for_ever() -> None:
    batch, files = await announce_batch()
    await change(files[0], status=Status.COMPLETED, completed_at=timezone.now(), quota_reserved=False)
    for file in files[1:]:
        await services.cancel(file.pk, "sender")
    await days_pass(400)
    assert (await cleanup.clean(NOBODY)).forgotten_files == 0
    assert await known() == {str(file.pk) for file in files}
    assert await Batch.objects.filter(pk=batch.pk).aexists()
