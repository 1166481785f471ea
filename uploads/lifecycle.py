"""How a file changes its state: one compare-and-set on its row and one event beside it, in one transaction.

Synchronous; asynchronous callers wrap it. Use-cases (`services`, `cleanup`) and the record of faults call this.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from quotas import services as quotas
from uploads.errors import UploadError
from uploads.models import Batch, FileEvent, StoredFile
from uploads.sharing import rules
from uploads.states import ACTIVE, Status, may_become

# The same fault again within this time is not written again: a client that reconnects in a loop fills no table.
SAME_FAULT = timedelta(minutes=1)


# What the history calls an admin's pause, and its end.
PAUSED, UNPAUSED = "paused", "unpaused"


def is_paused(file_id: UUID | str) -> bool:
    """Whether an admin paused the upload, and none let it go on: whoever gives up the place is not rid of that."""
    steered = FileEvent.objects.filter(file_id=UUID(str(file_id)), code__in=[PAUSED, UNPAUSED])
    return steered.order_by("-at", "-pk").values_list("code", flat=True).first() == PAUSED


def transition(
    file_id: UUID | str,
    old: Iterable[Status],
    new: Status,
    *,
    actor: str,
    code: str = "",
    detail: str = "",
    writer: int | None = None,
    **fields: Any,
) -> Status | None:
    """Move the file from one of `old` to `new` and write the event; the old state, or None if somebody was first.

    `writer` is the epoch of one who writes: nothing happens where another has opened the file for writing since.
    """
    rows = StoredFile.objects.filter(pk=file_id)
    if writer is not None:
        rows = rows.filter(epoch=writer)
    with transaction.atomic():
        for candidate in old:
            if not may_become(candidate, new):
                raise ValueError(f"no file goes from {candidate} to {new}")
            changed = rows.filter(status=candidate).update(status=new, **fields)
            if changed:
                FileEvent.objects.create(
                    file_id=file_id,
                    at=timezone.now(),
                    old_status=candidate,
                    new_status=new,
                    code=code,
                    detail=detail,
                    actor=actor,
                )
                return candidate
    return None


def end_unfinished(
    stored: Mapping[UUID, int | None], status: Status, *, actor: str, fault_is_ours: bool
) -> list[StoredFile]:
    """End those of these uploads that are not over yet, in one transaction, and settle their quota; returns them.

    `stored` has the bytes that arrived of each, None where nobody asked since it had never been seen: one that was
    seen in the meantime is left as it is. The sender goes on paying for what arrived, unless `fault_is_ours`.
    """
    with transaction.atomic():
        # In one order, so that two who end the same files never wait for each other crosswise.
        rows = StoredFile.objects.select_for_update().filter(pk__in=list(stored), status__in=ACTIVE).order_by("pk")
        ended = [file for file in rows if stored[file.pk] is not None or file.last_seen_at is None]
        StoredFile.objects.filter(pk__in=[file.pk for file in ended]).update(
            status=status, stored_bytes=0, quota_reserved=False
        )
        now = timezone.now()
        FileEvent.objects.bulk_create(
            FileEvent(file=file, at=now, old_status=file.status, new_status=status, actor=actor) for file in ended
        )
        reserved: dict[tuple[str, date], list[StoredFile]] = {}
        for file in ended:
            if file.quota_reserved:
                reserved.setdefault((file.person, file.quota_day), []).append(file)
        for person, day in sorted(reserved):
            kept = [(file.size, 0 if fault_is_ours else stored[file.pk] or 0) for file in reserved[person, day]]
            quotas.give_back(
                person,
                day,
                sum(size for size, _bytes in kept),
                keep_bytes=sum(min(size, arrived) for size, arrived in kept),
                forget_files=sum(not arrived for _size, arrived in kept),
            )
    return ended


def retention_end(start: datetime) -> datetime | None:
    """Until when a file that was completed at `start` can be downloaded; None: it is kept."""
    days = settings.FILE_RETENTION_DAYS
    return start + timedelta(days=days) if days else None


def kept_until(file: StoredFile, start: datetime) -> datetime | None:
    """Until when a file that was completed at `start` can be downloaded, as its sender wished; None: it is kept."""
    wished = file.expires_in
    if wished is None and file.batch is not None:
        wished = file.batch.expires_in
    return rules.end_of(start, wished, retention_end(start))


def locked_with_batch(file_id: UUID | str) -> StoredFile | None:
    """The file as nobody else changes it, nor the controls of its batch, until the caller's transaction ends."""
    file = StoredFile.objects.filter(pk=file_id).only("batch_id").first()
    if file is None:
        return None
    # The batch first, by everybody: two who wait for each other crosswise would wait for ever.
    batch = Batch.objects.select_for_update(no_key=True).get(pk=file.batch_id) if file.batch_id else None
    file = StoredFile.objects.select_for_update(no_key=True).get(pk=file_id)
    file.batch = batch
    return file


def settle_quota(file: StoredFile, *, keep_bytes: int | None, forget_file: bool = False) -> bool:
    """End the file's reservation: commit it whole (None), or keep only `keep_bytes`. False if somebody was first."""
    with transaction.atomic():
        if not StoredFile.objects.filter(pk=file.pk, quota_reserved=True).update(quota_reserved=False):
            return False
        if keep_bytes is None:
            quotas.commit(file.person, file.quota_day, file.size)
        else:
            keep = min(keep_bytes, file.size)
            quotas.give_back(file.person, file.quota_day, file.size, keep_bytes=keep, forget_files=int(forget_file))
    return True


def note_fault(file_id: UUID | str, error: UploadError, cause: str) -> None:
    """Keep the true cause beside the file, for the admin; its state stays as it is."""
    now = timezone.now()
    with transaction.atomic():
        file = StoredFile.objects.filter(pk=file_id, status__in=ACTIVE).first()
        if file is None:
            return  # how it ended says more than what a late connection met
        StoredFile.objects.filter(pk=file_id).update(error_code=error.code, error_detail=cause)
        if not file.events.filter(code=error.code, at__range=(now - SAME_FAULT, now)).exists():
            FileEvent.objects.create(
                file=file,
                at=now,
                old_status=file.status,
                new_status=file.status,
                code=error.code,
                detail=cause,
                actor="server",
            )
