"""One writer per upload: each that opens it raises the epoch of its row, and who has an older one has lost."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from quotas.rules import address_person
from uploads import announcing, services
from uploads.announcing import NewUpload, Sender
from uploads.errors import ChecksumMismatch
from uploads.models import StoredFile
from uploads.states import Status
from uploads.storage import get_store
from uploads.storage.base import Digests

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

SENDER = Sender(address_person("192.0.2.7"), None, "visitor")
DIGESTS = Digests("0" * 64, 0)
AT_ONCE = 8


@pytest.fixture(autouse=True)
def _locks_are_soon_given_up(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploads.storage.local.store.LOCK_SECONDS", 0.1)


async def announced() -> StoredFile:
    return (await announcing.initiate(NewUpload("file", 10), SENDER))[0]


async def row(file: StoredFile) -> StoredFile:
    return await StoredFile.objects.aget(pk=file.pk)


async def begun(file: StoredFile) -> int:
    epoch = await sync_to_async(services.begin_upload)(file)
    assert epoch is not None
    return epoch


async def in_threads(call: Callable[[], Any]) -> list[Any]:
    """What `call` returns in each of several threads that make it at once, each with a connection of its own."""

    def with_own_connection() -> Any:
        try:
            return call()
        finally:
            connection.close()

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return await asyncio.gather(*(loop.run_in_executor(threads, with_own_connection) for _ in range(AT_ONCE)))


async def test_connections_that_begin_at_the_same_time_get_epochs_of_their_own() -> None:
    file = await announced()
    epochs = await in_threads(lambda: services.begin_upload(file))
    assert sorted(epochs) == list(range(1, AT_ONCE + 1))
    assert (await row(file)).epoch == AT_ONCE


async def test_of_those_that_saw_the_same_epoch_one_becomes_the_writer() -> None:
    file = await announced()
    epochs = await in_threads(lambda: services.raise_epoch(file.pk, 0))
    assert sorted(epochs, key=bool) == [None] * (AT_ONCE - 1) + [1]


async def test_an_older_writer_changes_nothing() -> None:
    file = await announced()
    old = await begun(file)
    new = await begun(file)
    await sync_to_async(services.note_progress)(file.pk, 7, epoch=new)
    before = await row(file)

    await sync_to_async(services.note_progress)(file.pk, 3, epoch=old)
    assert not await sync_to_async(services.begin_verifying)(file.pk, epoch=old)
    assert await row(file) == before
    assert (await row(file)).stored_bytes == 7

    assert await sync_to_async(services.begin_verifying)(file.pk, epoch=new)
    assert not await sync_to_async(services.still_verifying)(file.pk, epoch=old)
    assert not await sync_to_async(services.complete)(file, DIGESTS, {}, epoch=old)
    assert not await services.fail(file, ChecksumMismatch(), "theirs", fault_is_ours=False, epoch=old)
    assert not await sync_to_async(services.back_to_pending)(file.pk, "lost", epoch=old)
    assert (await row(file)).status == Status.VERIFYING

    assert await sync_to_async(services.complete)(file, DIGESTS, {}, epoch=new)
    assert (await row(file)).status == Status.COMPLETED


async def test_of_two_that_both_believe_they_own_it_the_newest_completes_it_in_whatever_order_they_try() -> None:
    for first, second in (("old", "new"), ("new", "old")):
        file = await announced()
        epochs = {"old": await begun(file), "new": await begun(file)}
        results: dict[str, tuple[bool, bool]] = {}
        for who in (first, second):
            verifying = await sync_to_async(services.begin_verifying)(file.pk, epoch=epochs[who])
            completed = await sync_to_async(services.complete)(file, DIGESTS, {"by": who}, epoch=epochs[who])
            results[who] = verifying, completed
        assert results == {"old": (False, False), "new": (True, True)}
        assert (await row(file)).receipt == {"by": "new"}


async def test_a_verifier_that_was_taken_for_lost_completes_nothing_even_when_another_verifies_by_then() -> None:
    file = await announced()
    old = await begun(file)
    assert await sync_to_async(services.begin_verifying)(file.pk, epoch=old)
    assert await sync_to_async(services.back_to_pending)(file.pk, "its worker was lost", epoch=old, worker_lost=True)
    new = await begun(file)
    assert await sync_to_async(services.begin_verifying)(file.pk, epoch=new)
    assert not await sync_to_async(services.complete)(file, DIGESTS, {}, epoch=old)
    assert not await sync_to_async(services.back_to_pending)(file.pk, "it broke", epoch=old)
    assert await sync_to_async(services.complete)(file, DIGESTS, {}, epoch=new)


async def test_a_verifier_that_holds_the_lock_but_is_heard_of_no_more_is_taken_for_lost(settings: Any) -> None:
    file = await announced()
    epoch = await begun(file)
    stopped = await get_store().open(str(file.pk), file.size)
    assert await sync_to_async(services.begin_verifying)(file.pk, epoch=epoch)
    assert not await services.rescue(await row(file))
    long_ago = timezone.now() - timedelta(seconds=2 * settings.SLOT_LEASE_SECONDS + 1)
    await StoredFile.objects.filter(pk=file.pk).aupdate(last_seen_at=long_ago)
    assert await sync_to_async(services.still_verifying)(file.pk, epoch=epoch)
    assert not await services.rescue(await row(file))
    await StoredFile.objects.filter(pk=file.pk).aupdate(last_seen_at=long_ago)
    assert await services.rescue(await row(file))
    assert (await row(file)).status == Status.PENDING
    assert not await sync_to_async(services.complete)(file, DIGESTS, {}, epoch=epoch)
    await stopped.close()


async def test_nobody_begins_what_is_verified_or_over() -> None:
    file = await announced()
    epoch = await begun(file)
    assert await sync_to_async(services.begin_verifying)(file.pk, epoch=epoch)
    assert await sync_to_async(services.begin_upload)(file) is None
    await services.cancel(file.pk, "sender")
    assert await sync_to_async(services.begin_upload)(file) is None
    assert (await row(file)).epoch == epoch
