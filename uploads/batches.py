"""The use-cases of a batch that was announced: what it is right now, and cancelling what is unfinished of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from channels.db import database_sync_to_async
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from uploads import services, shown
from uploads.errors import Gone, NotFound
from uploads.models import Batch, StoredFile
from uploads.shown import Facts
from uploads.states import ACTIVE, BatchStatus, Status, batch_status, status_at
from uploads.storage.base import StorageError

ALL_DELETED = _("All files of this batch were deleted.")
NOTHING_LEFT = _("Nothing of this batch can be downloaded any more.")
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

    @property
    def expires_at(self) -> datetime | None:
        """When the first of the files that are here cannot be had any more."""
        here = (facts.file.expires_at for facts in self.files if facts.state == Status.COMPLETED)
        return min((end for end in here if end), default=None)


@dataclass(frozen=True)
class BatchSummary:
    """A batch in a list of many. `status` is None where all its files were deleted."""

    status: BatchStatus | None
    files: int
    completed: int
    unfinished: int
    total_size: int


def summaries(some: Iterable[Batch], now: datetime) -> dict[UUID, BatchSummary]:
    """What these batches are at `now`, in one query; an upload that runs past its time counts as expired here."""
    groups: dict[UUID, list[tuple[Status, int, int]]] = {batch.pk: [] for batch in some}
    counted = StoredFile.objects.filter(batch__in=list(groups)).order_by()
    for batch_id, status, upload_end, end, files, size in counted.values_list(
        "batch_id", "status", "upload_expires_at", "expires_at"
    ).annotate(models.Count("pk"), models.Sum("size")):
        shown_as = status_at(now, status, upload_expires_at=upload_end, expires_at=end)
        groups[batch_id].append((shown_as, files, size))
    return {
        batch_id: BatchSummary(
            status=batch_status([status for status, _files, _size in group]),
            files=sum(files for _status, files, _size in group),
            completed=sum(files for status, files, _size in group if status == Status.COMPLETED),
            unfinished=sum(files for status, files, _size in group if status in ACTIVE),
            total_size=sum(size for _status, _files, size in group),
        )
        for batch_id, group in groups.items()
    }


def find(batch_id: UUID | str) -> Batch:
    """The batch. Raises `NotFound`."""
    try:
        return Batch.objects.get(pk=services.plain_uuid(batch_id))
    except Batch.DoesNotExist:
        raise NotFound() from None


def refuse_gone(batch: Batch) -> None:
    """Raise `Gone` where nothing of it is here or still to come: nobody is to be asked for its password."""
    status = summaries([batch], timezone.now())[batch.pk].status
    if status is None:
        raise Gone(ALL_DELETED)
    if status not in (BatchStatus.UPLOADING, BatchStatus.PARTIAL, BatchStatus.COMPLETED):
        raise Gone(NOTHING_LEFT)


def _files_of(batch: Batch) -> list[StoredFile]:
    """In the sender's order, without what nobody is shown."""
    return list(batch.files.defer("receipt", "error_detail").order_by("position"))


async def facts_of(batch_id: UUID | str) -> BatchFacts:
    """What the batch is at this moment, its files in the sender's order. Raises `NotFound`, and `Gone`."""
    return await facts_now(await database_sync_to_async(find)(batch_id))


async def facts_now(batch: Batch) -> BatchFacts:
    """As `facts_of`, of a batch that was just found."""
    files = await database_sync_to_async(_files_of)(batch)
    now = await shown.look(files)
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
    if not cancelled and not await database_sync_to_async(_has_files)(batch):
        raise Gone(ALL_DELETED)
    return cancelled


def _has_files(batch: Batch) -> bool:
    return batch.files.exclude(status=Status.DELETED).exists()


def _unfinished(batch: Batch) -> list[StoredFile]:
    return list(batch.files.filter(status__in=ACTIVE).order_by("position"))
