"""The end of an upload, and what happens when somebody else decides about the file in the middle of it."""

import asyncio
import hashlib
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from channels.db import database_sync_to_async

from quotas.models import DailyUsage
from quotas.rules import address_person
from uploads import announcing, services
from uploads.announcing import NewUpload, Sender
from uploads.errors import Cancelled, ChecksumMismatch, ServerRestart, StorageUnavailable
from uploads.intake import registry
from uploads.intake.verification import Verification
from uploads.models import StoredFile
from uploads.states import Status
from uploads.storage import get_store
from uploads.storage.base import Digests, OwnDigest, PartialObject
from uploads.storage.local import LocalStore

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
DATA = os.urandom(100_000)
EPOCH = 1  # of the first that opens an upload for writing


class Slot:
    """What the verification holds; notes whether it was given back."""

    def __init__(self) -> None:
        self.released = False

    async def release(self) -> None:
        self.released = True


async def whole_upload() -> tuple[StoredFile, PartialObject]:
    """An upload whose bytes are all stored and whose sender said `finish`."""
    person = address_person("192.0.2.7")
    file, _token = await announcing.initiate(NewUpload("film.mkv", len(DATA)), Sender(person, None, "visitor"))
    await database_sync_to_async(services.begin_upload)(file)
    partial = await get_store().open(str(file.pk), file.size)
    await partial.append([DATA])
    assert await database_sync_to_async(services.begin_verifying)(file.pk, epoch=EPOCH)
    return file, partial


def meanwhile(
    partial: PartialObject, happens: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> PartialObject:
    """Let something happen after the digests were made."""
    digests_of = partial.digests

    async def digests() -> Digests:
        made = await digests_of()
        await happens()
        return made

    monkeypatch.setattr(partial, "digests", digests)
    return partial


async def state(file: StoredFile) -> StoredFile:
    return await StoredFile.objects.aget(pk=file.pk)


async def test_a_whole_upload_becomes_a_completed_file_and_its_slot_is_free(store: LocalStore) -> None:
    file, partial = await whole_upload()
    slot = Slot()
    done = await Verification(file, partial, slot, hashlib.sha256(DATA).hexdigest(), epoch=EPOCH).outcome()
    assert (done.status, done.sha256) == (Status.COMPLETED, hashlib.sha256(DATA).hexdigest())
    assert slot.released
    assert registry.verification(str(file.pk)) is None
    assert await store.stored_bytes(str(file.pk)) == len(DATA)


async def test_a_cancel_in_the_middle_removes_the_bytes(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    file, partial = await whole_upload()
    slot = Slot()
    meanwhile(partial, lambda: services.cancel(file.pk, "sender"), monkeypatch)
    with pytest.raises(Cancelled):
        await Verification(file, partial, slot, None, epoch=EPOCH).outcome()
    assert slot.released
    assert (await state(file)).status == Status.CANCELLED
    assert await store.stored_bytes(str(file.pk)) == 0


async def test_one_that_was_taken_for_dead_loses_no_byte(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody believed that its worker was lost: the upload is pending again, and can be resumed as it is."""
    file, partial = await whole_upload()
    slot = Slot()

    async def taken_for_dead() -> None:
        assert await database_sync_to_async(services.back_to_pending)(
            file.pk, "its worker was lost", epoch=EPOCH, worker_lost=True
        )

    meanwhile(partial, taken_for_dead, monkeypatch)
    with pytest.raises(StorageUnavailable):
        await Verification(file, partial, slot, None, epoch=EPOCH).outcome()
    assert slot.released
    assert (await state(file)).status == Status.PENDING
    again = await store.open(str(file.pk), file.size)
    assert again.offset == len(DATA)
    assert (await again.digests()).sha256 == hashlib.sha256(DATA).hexdigest()
    assert await database_sync_to_async(services.begin_verifying)(file.pk, epoch=EPOCH + 1)
    assert (await Verification(file, again, slot, None, epoch=EPOCH + 1).outcome()).status == Status.COMPLETED


@pytest.mark.parametrize(("once", "epoch", "paid"), [(True, 1, 0), (False, 1, len(DATA)), (True, 2, len(DATA))])
async def test_a_storage_that_has_other_bytes_costs_nothing_but_who_could_have_sent_them_twice(
    monkeypatch: pytest.MonkeyPatch, once: bool, epoch: int, paid: int
) -> None:
    file, partial = await whole_upload()
    await StoredFile.objects.filter(pk=file.pk).aupdate(epoch=epoch)  # so many connections
    made = replace(await partial.digests(), once=once)

    async def digests() -> Digests:
        return made

    async def finish() -> OwnDigest:
        return OwnDigest("0" * 64, None, size=file.size)

    monkeypatch.setattr(partial, "digests", digests)
    monkeypatch.setattr(partial, "finish", finish)
    with pytest.raises(ChecksumMismatch):
        await Verification(file, partial, Slot(), None, epoch=epoch).outcome()
    assert (await DailyUsage.objects.aget(person=file.person)).used_bytes == paid


async def test_two_at_once_end_with_one_completed_file(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    file, partial = await whole_upload()

    async def completed_by_another() -> None:
        digests = Digests(hashlib.sha256(DATA).hexdigest(), 0)
        assert await database_sync_to_async(services.complete)(file, digests, {}, epoch=EPOCH)

    meanwhile(partial, completed_by_another, monkeypatch)
    done = await Verification(file, partial, Slot(), None, epoch=EPOCH).outcome()
    assert done.status == Status.COMPLETED
    assert await store.stored_bytes(str(file.pk)) == len(DATA)


async def test_it_goes_on_when_nobody_listens_any_longer(store: LocalStore) -> None:
    file, partial = await whole_upload()
    slot = Slot()
    verification = Verification(file, partial, slot, None, epoch=EPOCH)
    listener = asyncio.create_task(verification.outcome())
    await asyncio.sleep(0)
    listener.cancel()
    await asyncio.wait({listener, verification.task})
    assert listener.cancelled()
    assert slot.released
    assert (await state(file)).status == Status.COMPLETED


async def test_one_abandoned_twice_gives_back_slot_and_lock(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two connections hear of the same cancel, and both clear away while a thread still reads the file."""
    file, partial = await whole_upload()
    slot = Slot()
    reads, may_go_on = threading.Event(), threading.Event()

    def slow() -> None:
        reads.set()
        assert may_go_on.wait(30)

    async def slow_digests() -> Digests:
        await partial._work(slow)  # type: ignore[attr-defined]
        raise AssertionError("it was abandoned before")

    monkeypatch.setattr(partial, "digests", slow_digests)
    verification = Verification(file, partial, slot, None, epoch=EPOCH)
    await asyncio.to_thread(reads.wait, 30)
    abandoning = []
    for _ in range(3):
        abandoning.append(asyncio.create_task(verification.abandon()))
        for _ in range(10):
            await asyncio.sleep(0)  # the first one waits for the thread by then
    may_go_on.set()
    await asyncio.gather(*abandoning)
    assert slot.released
    assert registry.verification(str(file.pk)) is None
    again = await store.open(str(file.pk), file.size)
    await again.close()


async def test_one_abandoned_before_its_first_step_gives_back_slot_and_lock(store: LocalStore) -> None:
    file, partial = await whole_upload()
    slot = Slot()
    await Verification(file, partial, slot, None, epoch=EPOCH).abandon()
    assert slot.released
    assert registry.verification(str(file.pk)) is None
    again = await store.open(str(file.pk), file.size)
    await again.close()


async def test_who_listens_to_an_abandoned_one_hears_what_ended_the_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, partial = await whole_upload()
    verification = Verification(file, meanwhile(partial, asyncio.Event().wait, monkeypatch), Slot(), None, epoch=EPOCH)
    listener = asyncio.create_task(verification.outcome())
    await asyncio.sleep(0)
    await services.cancel(file.pk, "sender")
    await verification.abandon()
    with pytest.raises(Cancelled):
        await listener


async def test_who_listens_to_one_that_ends_with_the_server_hears_of_a_restart(store: LocalStore) -> None:
    file, partial = await whole_upload()
    verification = Verification(file, partial, Slot(), None, epoch=EPOCH)
    listener = asyncio.create_task(verification.outcome())
    await verification.abandon()
    with pytest.raises(ServerRestart):
        await listener
