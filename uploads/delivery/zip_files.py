"""What is put into the ZIP of a batch: its files that are complete now, with the CRC-32 that each needs."""

import asyncio
import zlib
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from channels.db import database_sync_to_async
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from uploads.batches import ALL_DELETED
from uploads.delivery.zip_plan import Member, Plan
from uploads.errors import Gone, WrongState
from uploads.models import Batch, StoredFile
from uploads.shared import BATCH_WORDS
from uploads.states import BatchStatus, Status, batch_status
from uploads.storage import for_each, store_of
from uploads.storage.base import StorageUnavailableError

FIELDS = (
    *("batch", "filename", "path", "size", "crc32", "sha256", "storage", "status"),
    *("created_at", "completed_at", "expires_at", "upload_expires_at"),
    *("password_hash", "max_downloads", "downloads", "revoked_at"),
)


async def complete_files(batch: Batch) -> list[StoredFile]:
    """Those that can be downloaded now, in the sender's order.

    Raises `WrongState` where some are still to come and none is there, and `Gone` where none will be.
    """
    files = await database_sync_to_async(_files_of)(batch)
    now = timezone.now()
    states = [file.status_at(now) for file in files]
    complete = [file for file, state in zip(files, states, strict=True) if state == Status.COMPLETED]
    if complete:
        return complete
    status = batch_status(states)
    if status == BatchStatus.UPLOADING:
        raise WrongState(_("No file of this batch is complete yet."))
    raise Gone(BATCH_WORDS[status] if status else ALL_DELETED)


def _files_of(batch: Batch) -> list[StoredFile]:
    return list(batch.files.only(*FIELDS).order_by("position"))


async def plan_of(files: Sequence[StoredFile]) -> Plan:
    """The ZIP of these files. Where one has no CRC-32, it is read for it, once. Raises a `StorageError`."""
    lacking = [file for file in files if file.crc32 is None]
    for file, crc32 in zip(lacking, await for_each(lacking, _made_once), strict=True):
        file.crc32 = crc32
    # A thousand files take a while, in which the loop has bytes to move.
    return await asyncio.to_thread(_plan, tuple(map(_member, files)))


_plan = lru_cache(maxsize=4)(Plan)  # whoever downloads by many connections asks again and again


def _member(file: StoredFile) -> Member:
    assert file.crc32 is not None
    return Member(
        key=str(file.pk),
        storage=file.storage,
        folders=file.path,
        filename=file.filename,
        size=file.size,
        crc32=file.crc32,
        sha256=file.sha256,
        completed_at=file.completed_at or file.created_at,
    )


_being_made: dict[tuple[asyncio.AbstractEventLoop, UUID], asyncio.Task[int]] = {}


async def _made_once(file: StoredFile) -> int:
    """Whoever comes while it is being made waits for the same; a client that goes away stops nothing."""
    slot = asyncio.get_running_loop(), file.pk
    if slot not in _being_made:
        task = _being_made[slot] = asyncio.create_task(_made(file))
        task.add_done_callback(lambda _done: _being_made.pop(slot))
    return await asyncio.shield(_being_made[slot])


async def _made(file: StoredFile) -> int:
    crc32, length = 0, 0
    async for block in await store_of(file).read(str(file.pk), 0, file.size, size=file.size):
        crc32, length = zlib.crc32(block, crc32), length + len(block)
    if length != file.size:
        raise StorageUnavailableError("the stored file is not as long as it was")
    await database_sync_to_async(StoredFile.objects.filter(pk=file.pk, crc32=None).update)(crc32=crc32)
    return crc32
