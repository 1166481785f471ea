"""The same request twice: what it made the first time is answered again, for a day (wire.md, `Idempotency-Key`)."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db import IntegrityError, transaction
from django.utils import timezone

from uploads import tokens
from uploads.errors import DailyLimitExceeded
from uploads.models import Batch, StoredFile

IDEMPOTENCY_WINDOW = timedelta(days=1)

Row = TypeVar("Row", StoredFile, Batch)
Answer = TypeVar("Answer")


def once(
    kind: type[Row],
    idempotency: str | None,
    announce: Callable[[str | None], Answer],
    again: Callable[[Row], Answer],
) -> Answer:
    """`announce`, or `again` where the same request made a row before. In one transaction."""
    key = tokens.digest(idempotency) if idempotency else None
    try:
        with transaction.atomic():
            known = _known(kind, key)
            return announce(key) if known is None else again(known)
    except (IntegrityError, DailyLimitExceeded):
        # The same request came twice at once, and the other was first: it may have taken the key or the last room.
        with transaction.atomic():
            if (known := _known(kind, key)) is not None:
                return again(known)
        raise


def _known(kind: type[Row], key: str | None) -> Row | None:
    """What the request of this key made within a day; after that the key is free again."""
    rows = kind._default_manager.filter(idempotency_digest=key)
    row = rows.first() if key else None
    if row is not None and row.created_at <= timezone.now() - IDEMPOTENCY_WINDOW:
        rows.update(idempotency_digest=None)
        return None
    return row
