"""Foreign errors become ours in one table; what is in no table is `internal`, with the id of its log line."""

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
    StorageUnavailableError: StorageUnavailable,
    RewindError: StorageUnavailable,
    ObjectMissingError: StorageUnavailable,
    StorageError: StorageUnavailable,
    QueueFullError: QueueFull,
    SlotsUnavailableError: SlotsUnavailable,
}

# These are no faults: somebody wanted them so.
WANTED = (Superseded, Cancelled, ServerRestart)


def translate(error: Exception) -> UploadError | None:
    """Our error for a foreign one, by its nearest class in the table; None where there is none."""
    if isinstance(error, UploadError):
        return error
    for cls in type(error).__mro__:
        if ours := TABLE.get(cls):
            extra: dict[str, Any] = {"scope": error.scope} if isinstance(error, QueueFullError) else {}
            pause = STORAGE_PAUSE_SECONDS if isinstance(error, StorageError) else None
            return ours(retry_after=pause, **extra)
    return None


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
