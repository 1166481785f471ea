"""The stored states of a file and the edges between them (product.md, "Life of a file").

`queued` and `uploading` are shown, never stored: they are what the slot lease of a pending file says, so that a
killed worker leaves no stale state behind.
"""

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
