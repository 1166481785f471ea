"""Foreign errors become ours in one table; what is in no table is `internal`, with the id of its log line."""

import math
import uuid
from typing import Any
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from uploads import lifecycle
from uploads.errors import (
    Cancelled,
    Internal,
    Maintenance,
    QueueFull,
    ServerRestart,
    SlotsUnavailable,
    StorageFull,
    StorageUnavailable,
    Superseded,
    UploadError,
)
from uploads.slots.manager import QueueFullError, SlotsUnavailableError
from uploads.storage.base import (
    BudgetSpentError,
    ObjectMissingError,
    RewindError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)

log = structlog.get_logger(__name__)

# How long a client should wait before it tries again, in seconds.
STORAGE_PAUSE_SECONDS = 10

TABLE: dict[type[Exception], type[UploadError]] = {
    StorageFullError: StorageFull,
    BudgetSpentError: StorageFull,
    StorageUnavailableError: StorageUnavailable,
    RewindError: StorageUnavailable,
    ObjectMissingError: StorageUnavailable,
    StorageError: StorageUnavailable,
    QueueFullError: QueueFull,
    SlotsUnavailableError: SlotsUnavailable,
}

# The database's own word for a disk without room: SQLite's, and PostgreSQL's.
SQLITE_FULL, DISK_FULL = "SQLITE_FULL", "53100"

# These are no faults: somebody wanted them so.
WANTED = (Superseded, Cancelled, ServerRestart, Maintenance)


def translate(error: Exception) -> UploadError | None:
    """Our error for a foreign one, by its nearest class in the table; None where there is none."""
    if isinstance(error, UploadError):
        return error
    if isinstance(error, DatabaseError):
        return StorageFull(retry_after=STORAGE_PAUSE_SECONDS) if _without_room(error) else None
    for cls in type(error).__mro__:
        if ours := TABLE.get(cls):
            if isinstance(error, RewindError) and error.reason == StorageFull.code:
                ours = StorageFull
            extra: dict[str, Any] = {"scope": error.scope} if isinstance(error, QueueFullError) else {}
            pause = _pause(error) if isinstance(error, StorageError) else None
            return ours(retry_after=pause, **extra)
    return None


def _pause(error: StorageError) -> int:
    """Where the storage knows when it is of use to come back, that; rounded up to whole seconds."""
    return STORAGE_PAUSE_SECONDS if error.retry_after is None else max(1, math.ceil(error.retry_after))


def _without_room(error: DatabaseError) -> bool:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) == DISK_FULL or getattr(cause, "sqlite_errorname", None) == SQLITE_FULL


def internal(error: Exception, **where: Any) -> Internal:
    """Log an error that nobody foresaw, and give the answer that names its log line."""
    reference = uuid.uuid4().hex[:12]
    log.error("internal_error", reference=reference, exc_info=error, **where)
    return Internal(reference=reference)


async def as_upload_error(file_id: UUID | str | None, error: Exception) -> UploadError:
    """Our error for `error`, whose true cause is logged and kept beside the file."""
    ours = translate(error) or internal(error, file=str(file_id))
    if file_id is not None and not ours.noted and not isinstance(ours, WANTED):
        ours.noted = True
        cause = str(error) if not isinstance(ours, Internal) else f"{error!r} (reference {ours.extra['reference']})"
        log.warning("upload_fault", file=str(file_id), code=ours.code, cause=cause)
        try:
            await database_sync_to_async(lifecycle.note_fault)(file_id, ours, cause)
        except DatabaseError as failure:
            log.error("fault_not_kept", file=str(file_id), cause=str(failure))
    return ours
