"""The use-cases of a file that was announced: authorise, begin, verify, complete, cancel, fail, expire, delete.

Called by every interface (HTTP, the upload's conversation, admin, commands), and by no store, slot or transfer. Those
that change the database only are synchronous, since transactions are; those that also reach a live connection or the
storage are asynchronous.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from quotas.rules import Person
from uploads import announcing, hints, lifecycle, tokens
from uploads.errors import Gone, NotFound, Unauthorized, UploadError, WrongState
from uploads.fleet.fleet import get_fleet
from uploads.models import StoredFile
from uploads.states import ACTIVE, Status
from uploads.storage import for_each, store_of
from uploads.storage.base import Digests, StorageError, StorageUnavailableError

LOST_LEASES = 2  # who verifies, and is not heard of for so many leases of a slot, is taken for lost

log = structlog.get_logger(__name__)

T = TypeVar("T")
_to_be_ended: set[asyncio.Task[Any]] = set()  # the loop itself keeps no hold of its tasks


def token_matches(file: StoredFile, token: str) -> bool:
    return tokens.matches(file.token_digest, token)


def find(file_id: UUID | str) -> StoredFile:
    """The file, in whatever state. Raises `NotFound`."""
    try:
        return StoredFile.objects.get(pk=plain_uuid(file_id))
    except StoredFile.DoesNotExist:
        raise NotFound() from None


def plain_uuid(text: UUID | str) -> UUID:
    """The id that an address names. Raises `NotFound` for what is none, and for other forms of one."""
    try:
        key = UUID(str(text))
    except ValueError:
        raise NotFound() from None
    if str(key) != str(text).lower():
        raise NotFound()
    return key


def authorise_upload(file_id: str, token: str) -> StoredFile:
    """The file that this token may upload to. Raises `NotFound` or `Unauthorized`."""
    file = find(file_id)
    if not token_matches(file, token):
        raise Unauthorized()
    return file


def refuse_gone(file: StoredFile, *states: Status) -> None:
    """Raise `Gone`, saying why, where the file is in one of `states` or was deleted."""
    if file.status not in (*states, Status.DELETED):
        return
    raise Gone(
        {
            Status.CANCELLED: _("This upload was cancelled."),
            Status.FAILED: _("This upload failed and cannot go on; please send the file again."),
            Status.EXPIRED: _("This file has expired."),
            Status.DELETED: _("This file was deleted."),
        }[Status(file.status)]
    )


def begin_upload(file: StoredFile) -> int | None:
    """A connection starts on a pending file: its reservation is taken again where it had lapsed.

    Returns the epoch with which it, and no older connection, may write; None where the file is pending no longer.
    Raises `Gone` after the time to resume, and `DailyLimitExceeded`.
    """
    now = timezone.now()
    if file.upload_expires_at <= now:
        raise Gone(_("The time to finish this upload is over; please send the file again."))
    with transaction.atomic():
        # Claiming the row first keeps two connections from reserving twice.
        taken = StoredFile.objects.filter(pk=file.pk, status=Status.PENDING, quota_reserved=False)
        if taken.update(quota_reserved=True):
            person = Person(file.person, "registered" if file.owner_id else "anonymous", file.owner_id)
            announcing.reserve(person, [file.size], file.quota_day, accepted=True)
        StoredFile.objects.filter(pk=file.pk).update(last_seen_at=now)
        return raise_epoch(file.pk)


def raise_epoch(file_id: UUID | str, seen: int | None = None) -> int | None:
    """Become the one writer of a pending file: whoever had a lower epoch can change its row no more.

    Returns the new epoch; None where the file is pending no longer, or its epoch is not the one that was `seen`.
    """
    rows = StoredFile.objects.filter(pk=file_id, status=Status.PENDING)
    if seen is not None:
        rows = rows.filter(epoch=seen)
    with transaction.atomic():
        # The row stays ours until the end of the transaction, so that what is read back is what was written.
        if not rows.update(epoch=F("epoch") + 1):
            return None
        return StoredFile.objects.values_list("epoch", flat=True).get(pk=file_id)


def note_progress(file_id: UUID | str, stored_bytes: int, *, epoch: int) -> None:
    """Keep what a connection reached, when it ends; a newer one knows better."""
    rows = StoredFile.objects.filter(pk=file_id, epoch=epoch)
    rows.update(stored_bytes=stored_bytes, last_seen_at=timezone.now())


def begin_verifying(file_id: UUID | str, *, epoch: int) -> bool:
    """All bytes are stored and the sender said so; False where the file is no longer pending, or another's to write."""
    now = timezone.now()
    edge = ([Status.PENDING], Status.VERIFYING)
    return bool(lifecycle.transition(file_id, *edge, actor="sender", writer=epoch, last_seen_at=now))


def still_verifying(file_id: UUID | str, *, epoch: int) -> bool:
    """Whoever verifies says so every few seconds; False where the file is no longer its own."""
    rows = StoredFile.objects.filter(pk=file_id, status=Status.VERIFYING, epoch=epoch)
    return bool(rows.update(last_seen_at=timezone.now()))


def back_to_pending(file_id: UUID | str, cause: str, *, epoch: int, worker_lost: bool = False) -> bool:
    """Verifying was not finished (its worker was lost, the storage failed): the upload can be resumed.

    Where its worker is only believed to be lost, it can complete the file no more: the epoch is raised.
    """
    after = epoch + 1 if worker_lost else epoch
    edge = ([Status.VERIFYING], Status.PENDING)
    return bool(lifecycle.transition(file_id, *edge, actor="server", detail=cause, writer=epoch, epoch=after))


async def rescue(file: StoredFile) -> bool:
    """Put a file back to pending whose verification nobody works on any longer; False while somebody does.

    Whoever verifies holds the upload's lock in the storage until the row is completed, and says every few seconds that
    it is alive. Only who can take the lock, or has heard nothing for long, may judge that the worker is lost.
    """
    put_back = database_sync_to_async(back_to_pending)
    long_ago = timezone.now() - timedelta(seconds=LOST_LEASES * settings.SLOT_LEASE_SECONDS)
    if file.last_seen_at is not None and file.last_seen_at <= long_ago:
        cause = "the worker that verified it was not heard of any more"
        return await put_back(file.pk, cause, epoch=file.epoch, worker_lost=True)
    try:
        partial = await store_of(file).open(str(file.pk), file.size)
    except StorageUnavailableError:
        return False
    try:
        return await put_back(file.pk, "the worker that verified it was lost", epoch=file.epoch, worker_lost=True)
    finally:
        await partial.close()


def complete(file: StoredFile, digests: Digests, receipt: dict[str, Any], *, epoch: int) -> bool:
    """The file is whole, verified and durable; False where somebody (a cancel, another writer) was first."""
    now = timezone.now()
    with transaction.atomic():
        # Read again: its sender may have wished for another life since the upload began.
        wished = lifecycle.locked_with_batch(file.pk)
        done = wished and lifecycle.transition(
            file.pk,
            [Status.VERIFYING],
            Status.COMPLETED,
            actor="server",
            writer=epoch,
            sha256=digests.sha256,
            crc32=digests.crc32,
            receipt=receipt,
            stored_bytes=file.size,
            completed_at=now,
            expires_at=lifecycle.kept_until(wished, now),
            error_code="",
            error_detail="",
        )
        if done:
            lifecycle.settle_quota(file, keep_bytes=None)
    return bool(done)


async def fail(file: StoredFile, error: UploadError, cause: str, *, fault_is_ours: bool, epoch: int) -> bool:
    """End an upload for good: its bytes are removed, and its quota is given back as product.md has it.

    False, and nothing happens, where it is over already or another has opened it for writing since `epoch`.
    """

    def settle() -> bool:
        with transaction.atomic():
            failed = lifecycle.transition(
                file.pk,
                [Status.VERIFYING, Status.PENDING],
                Status.FAILED,
                actor="server",
                writer=epoch,
                code=error.code,
                detail=cause,
                error_code=error.code,
                error_detail=cause,
            )
            if failed:
                keep = 0 if fault_is_ours else file.size
                lifecycle.settle_quota(file, keep_bytes=keep, forget_file=fault_is_ours)
        return bool(failed)

    failed = await database_sync_to_async(settle)()
    if failed:
        await remove_bytes(file)
    return failed


async def cancel(file_id: UUID | str, actor: str, *, fault_is_ours: bool = False) -> StoredFile:
    """Cancel an unfinished upload, wherever it is connected; a cancelled one stays so.

    The sender keeps paying for the bytes that arrived, unless `fault_is_ours`. Raises `NotFound`, `Gone`, `WrongState`.
    """
    file = await database_sync_to_async(find)(file_id)
    refuse_gone(file, Status.FAILED, Status.EXPIRED)
    if file.status == Status.COMPLETED:
        raise WrongState(_("This upload is complete already; it can be deleted, not cancelled."))
    if file.status != Status.CANCELLED and not await end([file], Status.CANCELLED, actor, fault_is_ours=fault_is_ours):
        # Somebody was faster: the file began, completed, failed or was cancelled just now. Go by its new state.
        return await cancel(file_id, actor, fault_is_ours=fault_is_ours)
    file.status = Status.CANCELLED
    return file


async def expire(file: StoredFile) -> bool:
    """End an upload that was not finished in time, or a file whose time to be downloaded is over."""
    if file.status == Status.COMPLETED:
        done = await database_sync_to_async(lifecycle.transition)(
            file.pk, [Status.COMPLETED], Status.EXPIRED, actor="cleanup"
        )
        if done:
            await remove_bytes(file)
        return bool(done)
    return bool(await end([file], Status.EXPIRED, "cleanup"))


async def end(files: Sequence[StoredFile], status: Status, actor: str, *, fault_is_ours: bool = False) -> list[UUID]:
    """End unfinished uploads as cancelled or expired: rows and quota first, then their connections, then their bytes.

    Returns those that ended by this; a caller that is cancelled in the middle stops nothing. Of what no connection
    ever came for, the storage knows nothing and is not asked.
    """
    return await carried_through(_end(files, status, actor, fault_is_ours=fault_is_ours))


async def _end(files: Sequence[StoredFile], status: Status, actor: str, *, fault_is_ours: bool) -> list[UUID]:
    stored: dict[UUID, int | None] = {file.pk: None for file in files}
    asked = [file for file in files if file.last_seen_at is not None]
    stored |= zip((file.pk for file in asked), await for_each(asked, stored_bytes), strict=True)
    if asked and status is Status.CANCELLED:
        # What moves is known best where it moves: of one on its way to Drive, the row knows what was so seconds ago.
        moving = await get_fleet().transfers()
        for file in asked:
            if view := moving.get(str(file.pk)):
                stored[file.pk] = max(stored[file.pk] or 0, view.received)
    end_rows = database_sync_to_async(lifecycle.end_unfinished)
    ended = await end_rows(stored, status, actor=actor, fault_is_ours=fault_is_ours)
    seen = [file for file in ended if file.last_seen_at is not None]
    for file in seen:
        await hints.tell(file.pk)
    await for_each(seen, remove_bytes)
    return [file.pk for file in ended]


async def stored_bytes(file: StoredFile) -> int:
    """How many bytes of it are stored. Raises `StorageError`."""
    return await store_of(file).stored_bytes(str(file.pk))


async def remove_bytes(file: StoredFile) -> None:
    """Remove what is stored of a file whose row has come to its end, which no failing storage can undo."""
    try:
        await store_of(file).delete(str(file.pk))
    except StorageError as failure:
        log.warning("bytes_not_removed", file=str(file.pk), cause=str(failure))  # the cleanup will


async def carried_through(work: Coroutine[Any, Any, T]) -> T:
    """The outcome of `work`, which goes on to its end where the caller is cancelled: its client went away, say."""
    task = asyncio.create_task(work)
    _to_be_ended.add(task)
    task.add_done_callback(_to_be_ended.discard)
    return await asyncio.shield(task)


async def delete(file_id: UUID | str, actor: str) -> None:
    """Remove a completed file for good; its quota stays used. Raises `NotFound`, `Gone`, `WrongState`."""
    file = await database_sync_to_async(find)(file_id)
    refuse_gone(file)
    if file.status in ACTIVE:
        raise WrongState(_("This upload is not complete; it can be cancelled, not deleted."))
    if not await carried_through(_delete(file, actor)):
        raise WrongState(_("Only a completed file can be deleted."))


async def _delete(file: StoredFile, actor: str) -> bool:
    done = await database_sync_to_async(lifecycle.transition)(file.pk, [Status.COMPLETED], Status.DELETED, actor=actor)
    if done:
        await remove_bytes(file)
    return bool(done)
