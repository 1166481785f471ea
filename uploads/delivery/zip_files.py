"""What is put into the ZIP of a batch: its files that are complete now, with the CRC-32 that each needs."""

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from channels.db import database_sync_to_async
from django.db.models import Q
from django.db.models.functions import Coalesce
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


class Complete(NamedTuple):
    """A complete file as its row has it: what decides the bytes of a ZIP, then who may have it.

    A thousand instances of the model cost four times as much.
    """

    pk: UUID
    storage: str
    path: str
    filename: str
    size: int
    crc32: int | None
    sha256: str
    done_at: datetime
    password_hash: str
    max_downloads: int | None
    downloads: int
    revoked_at: datetime | None

    @property
    def facts(self) -> tuple[object, ...]:
        """What decides the bytes of a ZIP."""
        return self[:8]


async def complete_files(batch: Batch) -> list[Complete]:
    """Those that can be downloaded now, in the sender's order.

    Raises `WrongState` where some are still to come and none is there, and `Gone` where none will be.
    """
    return await database_sync_to_async(_complete_files)(batch)


def _complete_files(batch: Batch) -> list[Complete]:
    now = timezone.now()
    here = batch.files.filter(Q(expires_at=None) | Q(expires_at__gt=now), status=Status.COMPLETED)
    rows = here.annotate(done_at=Coalesce("completed_at", "created_at")).order_by("position")
    if complete := list(map(Complete._make, rows.values_list(*Complete._fields))):
        return complete
    status = batch_status([file.status_at(now) for file in batch.files.all()])
    if status == BatchStatus.UPLOADING:
        raise WrongState(_("No file of this batch is complete yet."))
    raise Gone(BATCH_WORDS[status] if status else ALL_DELETED)


class Plans:
    """The last few ZIPs that were planned, by all that decides their bytes: one that changed is another.

    Whoever downloads by many connections asks again and again. At most `most` are kept, and of more than `most_bytes`
    only the last.
    """

    def __init__(self, most: int = 16, most_bytes: int = 16 * 1024 * 1024) -> None:
        self._most, self._most_bytes, self._bytes = most, most_bytes, 0
        self._kept: OrderedDict[tuple[object, ...], Plan] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def of(self, files: Sequence[Complete]) -> Plan:
        key = tuple(file.facts for file in files)
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return known
        # A thousand files take a while, in which the loop has bytes to move.
        plan = await asyncio.to_thread(lambda: Plan(list(map(_member, files))))
        if key not in self._kept:
            self._kept[key] = plan
            self._bytes += plan.weight
        while len(self._kept) > 1 and (len(self._kept) > self._most or self._bytes > self._most_bytes):
            self._bytes -= self._kept.popitem(last=False)[1].weight
        return plan


plans = Plans()


async def plan_of(files: Sequence[Complete]) -> Plan:
    """The ZIP of these files. Where one has no CRC-32, it is read for it, once. Raises a `StorageError`."""
    lacking = [file for file in files if file.crc32 is None]
    if lacking:
        made = dict(zip((file.pk for file in lacking), await for_each(lacking, _made_once), strict=True))
        files = [file._replace(crc32=made.get(file.pk, file.crc32)) for file in files]
    return await plans.of(files)


def _member(file: Complete) -> Member:
    assert file.crc32 is not None
    return Member(
        key=str(file.pk),
        storage=file.storage,
        folders=file.path,
        filename=file.filename,
        size=file.size,
        crc32=file.crc32,
        sha256=file.sha256,
        completed_at=file.done_at,
    )


_being_made: dict[tuple[asyncio.AbstractEventLoop, UUID], asyncio.Task[int]] = {}


async def _made_once(file: Complete) -> int:
    """Whoever comes while it is being made waits for the same; a client that goes away stops nothing."""
    slot = asyncio.get_running_loop(), file.pk
    if slot not in _being_made:
        task = _being_made[slot] = asyncio.create_task(_made(file))
        task.add_done_callback(lambda _done: _being_made.pop(slot))
    return await asyncio.shield(_being_made[slot])


async def _made(file: Complete) -> int:
    crc32, length = 0, 0
    async for block in await store_of(file).read(str(file.pk), 0, file.size, size=file.size):
        crc32, length = zlib.crc32(block, crc32), length + len(block)
    if length != file.size:
        raise StorageUnavailableError("the stored file is not as long as it was")
    await database_sync_to_async(StoredFile.objects.filter(pk=file.pk, crc32=None).update)(crc32=crc32)
    return crc32
