"""The stored states of a file and the edges between them (product.md, "Life of a file").

`queued` and `uploading` are shown, never stored: they are what the slot lease of a pending file says, so that a
killed worker leaves no stale state behind.
"""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    PENDING = "pending"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    EXPIRED = "expired"
    DELETED = "deleted"


class Shown(StrEnum):
    """What a pending file is called while its upload has a place in the line or a slot."""

    QUEUED = "queued"
    UPLOADING = "uploading"


class Withheld(StrEnum):
    """What a file is called, for all but its sender, that is there and cannot be had."""

    REVOKED = "revoked"
    USED_UP = "used_up"


class BatchStatus(StrEnum):
    """What a batch is called: made of the states of its files, and stored nowhere."""

    UPLOADING = "uploading"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.VERIFYING, Status.CANCELLED, Status.FAILED, Status.EXPIRED}),
    # Back to pending when the worker that verified was lost.
    Status.VERIFYING: frozenset({Status.PENDING, Status.COMPLETED, Status.CANCELLED, Status.FAILED, Status.EXPIRED}),
    Status.COMPLETED: frozenset({Status.EXPIRED, Status.DELETED}),
    Status.CANCELLED: frozenset(),
    Status.FAILED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.DELETED: frozenset(),
}

ACTIVE = frozenset({Status.PENDING, Status.VERIFYING})
TERMINAL = frozenset(status for status, onward in TRANSITIONS.items() if not onward)


def may_become(old: str, new: str) -> bool:
    return Status(new) in TRANSITIONS[Status(old)]


def status_at(now: datetime, status: str, *, upload_expires_at: datetime, expires_at: datetime | None) -> Status:
    """What a file counts as at `now`: `expired` as soon as its time is over, also before the cleanup comes by."""
    stored = Status(status)
    end = {Status.PENDING: upload_expires_at, Status.COMPLETED: expires_at}.get(stored)
    return Status.EXPIRED if end is not None and end <= now else stored


def batch_status(states: Collection[str]) -> BatchStatus | None:
    """What a batch of files in these states is called: stored, shown or withheld. None where all were deleted."""
    left = set(states) - {Status.DELETED}
    if not left:
        return None
    if left & (ACTIVE | set(Shown)):
        return BatchStatus.UPLOADING
    if Status.COMPLETED in left:
        return BatchStatus.COMPLETED if set(states) == {Status.COMPLETED} else BatchStatus.PARTIAL
    left -= set(Withheld)  # what its sender took back says nothing of how the others fared
    if Status.FAILED in left:
        return BatchStatus.FAILED
    return BatchStatus.CANCELLED if left == {Status.CANCELLED} else BatchStatus.EXPIRED
