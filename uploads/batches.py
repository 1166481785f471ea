"""The use-cases of a batch that was announced: what it is right now, and cancelling what is unfinished of it."""

from dataclasses import dataclass
from uuid import UUID

from channels.db import database_sync_to_async
from django.utils.translation import gettext_lazy as _

from uploads import services, shown
from uploads.errors import Gone, NotFound
from uploads.models import Batch, StoredFile
from uploads.shown import Facts
from uploads.states import ACTIVE, BatchStatus, Status, batch_status
from uploads.storage.base import StorageError

ALL_DELETED = _("All files of this batch were deleted.")
AT_ONCE = 200  # the database takes no other change while so many files end


@dataclass(frozen=True)
class BatchFacts:
    """A batch as anybody with its link may see it. Of a deleted file, neither name nor digest may be shown.

    `total_size` are the bytes of all its files, `offset` those that are stored.
    """

    batch: Batch
    status: BatchStatus
    files: list[Facts]

    @property
    def total_size(self) -> int:
        return sum(facts.file.size for facts in self.files)

    @property
    def offset(self) -> int:
        return sum(facts.offset for facts in self.files)


def find(batch_id: UUID | str) -> Batch:
    """The batch. Raises `NotFound`."""
    try:
        return Batch.objects.get(pk=services.plain_uuid(batch_id))
    except Batch.DoesNotExist:
        raise NotFound() from None


def _files_of(batch: Batch) -> list[StoredFile]:
    """In the sender's order, without what nobody is shown."""
    return list(batch.files.defer("receipt", "error_detail").order_by("position"))


async def facts_of(batch_id: UUID | str) -> BatchFacts:
    """What the batch is at this moment, its files in the sender's order. Raises `NotFound`, and `Gone`."""
    batch = await database_sync_to_async(find)(batch_id)
    files = await database_sync_to_async(_files_of)(batch)
    now = await shown.look()
    try:
        facts = await shown.true_facts(files, now)
    except StorageError:
        facts = [now.facts(file) for file in files]  # the last checkpoints: the link is to work nonetheless
    status = batch_status([known.state for known in facts])
    if status is None:
        raise Gone(ALL_DELETED)
    return BatchFacts(batch, status, facts)


async def cancel(batch: Batch, actor: str) -> int:
    """Cancel what is unfinished of it, wherever it is connected; returns how many files ended by this.

    What is complete stays. A caller that goes away half-way stops nothing. Raises `Gone` where all files were deleted.
    """
    return await services.carried_through(_cancel(batch, actor))


async def _cancel(batch: Batch, actor: str) -> int:
    cancelled = 0
    # Round again for what began after it was read: it was left as it is.
    while unfinished := await database_sync_to_async(_unfinished)(batch):
        for start in range(0, len(unfinished), AT_ONCE):
            some = unfinished[start : start + AT_ONCE]
            cancelled += len(await services.end(some, Status.CANCELLED, actor))
    if not cancelled and not await batch.files.exclude(status=Status.DELETED).aexists():
        raise Gone(ALL_DELETED)
    return cancelled


def _unfinished(batch: Batch) -> list[StoredFile]:
    return list(batch.files.filter(status__in=ACTIVE).order_by("position"))
