"""What time ends: unfinished uploads, downloads whose days are over, idle reservations, orphans (settings.md).

Every step is a compare-and-set or holds the upload's lock, so that it may run at any time, beside running uploads, from
any number of machines, and again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog
from channels.db import database_sync_to_async
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from quotas import services as quotas
from quotas.rules import utc_day
from uploads import lifecycle, services
from uploads.errors import UploadError
from uploads.forgetting import forget_files
from uploads.intake.verification import Verification
from uploads.models import StoredFile
from uploads.sharing import counting
from uploads.states import ACTIVE, TERMINAL, Status
from uploads.storage import get_store, store_named, store_of
from uploads.storage.base import StorageError, StorageUnavailableError, Store, Tidied, is_key

FINISH_AFTER = timedelta(minutes=15)  # wire.md: completed without `finish`, this long after the last connection
IDLE_RESERVATION = timedelta(hours=1)  # product.md: a reservation without a first byte is returned
USAGE_KEPT = timedelta(days=400)  # a year of daily use can be compared with the one before
ORPHAN_SECONDS = 3600.0  # younger bytes may belong to an upload that has only just begun
FAILED_REMOVALS = 10  # in a row: it is the storage that fails, and each may take its time

log = structlog.get_logger(__name__)


@dataclass
class Report:
    """What was done, or with `dry_run` would be; each a list of file ids, but `forgotten`: rows of daily use,
    `forgotten_downloads`, which nobody can resume any more, and `forgotten_files`, which came to nothing.

    `problems` are sentences.
    """

    expired: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    reservations: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    forgotten: int = 0
    forgotten_downloads: int = 0
    forgotten_files: int = 0
    problems: list[str] = field(default_factory=list)


class NoSlot:
    """Completing in the background takes no slot: no byte moves."""

    async def release(self) -> None:
        pass


async def clean(alive: frozenset[str], *, dry_run: bool = False) -> Report:
    """Do all that is due. `alive` are the uploads that hold a slot or a place now: they are left alone."""
    report = Report()
    steps: list[tuple[list[str], Callable[[], AsyncIterator[StoredFile]], Callable[[StoredFile], Awaitable[bool]]]] = [
        (report.completed, _unfinished_but_whole, _complete),
        (report.expired, _overdue, services.expire),
        (report.reservations, _idle_reservations, _return_reservation),
    ]
    for done, candidates, act in steps:
        async for file in candidates():
            key = str(file.pk)
            if key in alive:
                continue
            try:
                if dry_run or await act(file):
                    done.append(key)
            except (StorageError, UploadError) as error:
                log.warning("cleanup_failed", file=key, cause=str(error))
                report.problems.append(f"{key}: {error}")
    for store in await _stores():
        try:
            await _remove_orphans(store, alive, report, dry_run=dry_run)
            if isinstance(store, Tidied):
                await _remove_left_over(store, report, dry_run=dry_run)
        except StorageError as error:
            log.warning("orphans_not_removed", storage=store.name, cause=str(error))
            report.problems.append(f"storage {store.name}: {error}")
    long_ago = utc_day(timezone.now() - USAGE_KEPT)
    report.forgotten = await database_sync_to_async(quotas.forget_usage)(long_ago, dry_run=dry_run)
    report.forgotten_downloads = await database_sync_to_async(counting.forget)(dry_run=dry_run)
    report.forgotten_files = await database_sync_to_async(forget_files)(dry_run=dry_run)
    return report


async def _overdue() -> AsyncIterator[StoredFile]:
    """Uploads that can no longer be resumed, and files that can no longer be downloaded."""
    now = timezone.now()
    async for file in StoredFile.objects.filter(status__in=ACTIVE, upload_expires_at__lte=now).aiterator():
        yield file
    async for file in StoredFile.objects.filter(status=Status.COMPLETED, expires_at__lte=now).aiterator():
        yield file


async def _unfinished_but_whole() -> AsyncIterator[StoredFile]:
    """Uploads whose bytes are all stored, but whose client has been gone for 15 minutes without `finish`."""
    long_ago = timezone.now() - FINISH_AFTER
    seen = StoredFile.objects.filter(status__in=ACTIVE, last_seen_at__lte=long_ago)
    async for file in seen.aiterator():
        if await services.stored_bytes(file) == file.size:
            yield file


async def _idle_reservations() -> AsyncIterator[StoredFile]:
    async for file in _idle().aiterator():
        if file.size > 0 and await services.stored_bytes(file) == 0:
            yield file


def _idle() -> QuerySet[StoredFile]:
    now = timezone.now()
    long_ago = now - IDLE_RESERVATION
    unseen = Q(last_seen_at=None) | Q(last_seen_at__lte=long_ago)
    return StoredFile.objects.filter(
        unseen, status=Status.PENDING, quota_reserved=True, created_at__lte=long_ago, upload_expires_at__gt=now
    )


async def _complete(file: StoredFile) -> bool:
    """Verify and complete the file as a `finish` without a digest would; False while a connection holds it."""
    try:
        partial = await store_of(file).open(str(file.pk), file.size)
    except StorageUnavailableError:
        return False
    if partial.offset != file.size:
        await partial.close()
        return False
    # With the lock in hand, nobody else verifies it: a file that is still `verifying` has lost its worker.
    epoch = await database_sync_to_async(_begin_verifying)(file)
    if epoch is None:
        await partial.close()
        return False
    await Verification(file, partial, NoSlot(), None, epoch=epoch).outcome()
    return True


def _begin_verifying(file: StoredFile) -> int | None:
    """The epoch with which the file is verified now; None where a connection came for it since we looked."""
    with transaction.atomic():
        seen = file.epoch
        if services.back_to_pending(file.pk, "the worker that verified it was lost", epoch=seen, worker_lost=True):
            seen += 1
        epoch = services.raise_epoch(file.pk, seen)
        return epoch if epoch is not None and services.begin_verifying(file.pk, epoch=epoch) else None


async def _return_reservation(file: StoredFile) -> bool:
    def give_back() -> bool:
        with transaction.atomic():
            # A connection may have begun since we looked: then `begin_upload` has marked the row.
            if not _idle().select_for_update().filter(pk=file.pk).exists():
                return False
            return lifecycle.settle_quota(file, keep_bytes=0, forget_file=True)

    return await database_sync_to_async(give_back)()


async def _stores() -> list[Store]:
    """The store for new files, and those that files were stored in before."""
    used = {name async for name in StoredFile.objects.order_by().values_list("storage", flat=True).distinct()}
    return [store_named(name) for name in sorted(used | {get_store().name})]


async def _remove_left_over(store: Tidied, report: Report, *, dry_run: bool) -> None:
    """Objects that no key leads to any longer: removed where they are surely ours, as the file of their key says."""
    async for left in store.left_over(ORPHAN_SECONDS):
        file = await StoredFile.objects.filter(pk=left.key).afirst() if is_key(left.key) else None
        if file is None or not (left.replaced or file.status in TERMINAL):
            continue
        log.info("left_over", file=left.key, object=left.name)
        await _remove(left.key, left.remove, report, dry_run=dry_run)


async def _remove_orphans(store: Store, alive: frozenset[str], report: Report, *, dry_run: bool) -> None:
    """Bytes whose file is over or was never known: removed, unless they are young."""
    old = [key for key, age in await store.keys() if age >= ORPHAN_SECONDS and key not in alive]
    failed = 0  # in a row
    for start in range(0, len(old), 500):
        some = old[start : start + 500]
        kept = StoredFile.objects.filter(pk__in=some, status__in=[*ACTIVE, Status.COMPLETED])
        keep = {str(key) async for key in kept.values_list("pk", flat=True)}
        for key in some:
            if key not in keep:
                removed = await _remove(key, partial(store.delete, key), report, dry_run=dry_run)
                failed = 0 if removed else failed + 1
                if failed == FAILED_REMOVALS:
                    raise StorageUnavailableError(
                        f"{failed} removals in a row failed; the rest is left to the next run"
                    )


async def _remove(key: str, remove: Callable[[], Awaitable[None]], report: Report, *, dry_run: bool) -> bool:
    """Remove one, or say in the report why not: it keeps no other from being removed."""
    try:
        if not dry_run:
            await remove()
    except StorageError as error:
        log.warning("orphan_not_removed", file=key, cause=str(error))
        report.problems.append(f"{key}: {error}")
        return False
    report.orphans.append(key)
    return True
