"""The use-cases of a file that was announced: authorise, begin, verify, complete, cancel, fail, expire, delete.

Called by every interface (HTTP, the upload's conversation, admin, commands), and by no store, slot or transfer. Those
that change the database only are synchronous, since transactions are; those that also reach a live connection or the
storage are asynchronous.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from quotas.rules import Person
from uploads import announcing, lifecycle, tokens
from uploads.errors import Gone, NotFound, Unauthorized, UploadError, WrongState
from uploads.models import StoredFile
from uploads.states import ACTIVE, Status
from uploads.storage import for_each, get_store
from uploads.storage.base import Digests, StorageError, StorageUnavailableError

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


def begin_upload(file: StoredFile) -> None:
    """A connection starts on a pending file: its reservation is taken again where it had lapsed.

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


def note_progress(file_id: UUID | str, stored_bytes: int) -> None:
    """Keep what a connection reached, when it ends."""
    StoredFile.objects.filter(pk=file_id).update(stored_bytes=stored_bytes, last_seen_at=timezone.now())


def begin_verifying(file_id: UUID | str) -> bool:
    """All bytes are stored and the sender said so; False where the file is no longer pending."""
    return bool(lifecycle.transition(file_id, [Status.PENDING], Status.VERIFYING, actor="sender"))


def back_to_pending(file_id: UUID | str, cause: str) -> bool:
    """Verifying was not finished (its worker was lost, the storage failed): the upload can be resumed."""
    return bool(lifecycle.transition(file_id, [Status.VERIFYING], Status.PENDING, actor="server", detail=cause))


async def rescue(file: StoredFile) -> bool:
    """Put a file back to pending whose verification nobody works on any longer; False while somebody does.

    Whoever verifies holds the upload's lock in the storage until the row is completed: only who can take it may
    judge that the worker is lost.
    """
    try:
        partial = await get_store().open(str(file.pk), file.size)
    except StorageUnavailableError:
        return False
    try:
        return await database_sync_to_async(back_to_pending)(file.pk, "the worker that verified it was lost")
    finally:
        await partial.close()


def complete(file: StoredFile, digests: Digests, receipt: dict[str, Any]) -> bool:
    """The file is whole, verified and durable; False where somebody (a cancel) was first."""
    now = timezone.now()
    with transaction.atomic():
        done = lifecycle.transition(
            file.pk,
            [Status.VERIFYING],
            Status.COMPLETED,
            actor="server",
            sha256=digests.sha256,
            crc32=digests.crc32,
            receipt=receipt,
            stored_bytes=file.size,
            completed_at=now,
            expires_at=lifecycle.retention_end(now),
            error_code="",
            error_detail="",
        )
        if done:
            lifecycle.settle_quota(file, keep_bytes=None)
    return bool(done)


async def fail(file: StoredFile, error: UploadError, cause: str, *, fault_is_ours: bool) -> None:
    """End an upload for good: its bytes are removed, and its quota is given back as product.md has it."""

    def settle() -> bool:
        with transaction.atomic():
            failed = lifecycle.transition(
                file.pk,
                [Status.VERIFYING, Status.PENDING],
                Status.FAILED,
                actor="server",
                code=error.code,
                detail=cause,
                error_code=error.code,
                error_detail=cause,
            )
            if failed:
                keep = 0 if fault_is_ours else file.size
                lifecycle.settle_quota(file, keep_bytes=keep, forget_file=fault_is_ours)
        return bool(failed)

    if await database_sync_to_async(settle)():
        await remove_bytes(str(file.pk))


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
            await remove_bytes(str(file.pk))
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
    asked = [file.pk for file in files if file.last_seen_at is not None]
    stored |= zip(asked, await for_each(map(str, asked), get_store().stored_bytes), strict=True)
    end_rows = database_sync_to_async(lifecycle.end_unfinished)
    ended = await end_rows(stored, status, actor=actor, fault_is_ours=fault_is_ours)
    seen = [str(file.pk) for file in ended if file.last_seen_at is not None]
    for key in seen:
        await announce_change(key)
    await for_each(seen, remove_bytes)
    return [file.pk for file in ended]


async def remove_bytes(key: str) -> None:
    """Remove what is stored of a file whose row has come to its end, which no failing storage can undo."""
    try:
        await get_store().delete(key)
    except StorageError as failure:
        log.warning("bytes_not_removed", file=key, cause=str(failure))  # the cleanup will


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
    if not await carried_through(_delete(file.pk, actor)):
        raise WrongState(_("Only a completed file can be deleted."))


async def _delete(file_id: UUID, actor: str) -> bool:
    done = await database_sync_to_async(lifecycle.transition)(file_id, [Status.COMPLETED], Status.DELETED, actor=actor)
    if done:
        await remove_bytes(str(file_id))
    return bool(done)


def group_of(file_id: UUID | str) -> str:
    """The channel-layer group that a live connection of this upload listens on."""
    return f"upload.{file_id}"


async def announce_change(file_id: UUID | str) -> None:
    """Tell a live connection, on whichever worker, to read its row again. Only a hint: the layer may lose it."""
    await get_channel_layer().group_send(group_of(file_id), {"type": "upload.changed"})
