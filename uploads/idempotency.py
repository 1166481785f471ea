"""The same request twice: what it made the first time is answered again, for a day (wire.md, `Idempotency-Key`)."""

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class RequestKey:
    """What makes a request the same as another. `before_cookie` is what it was when `visitor` had no cookie yet."""

    own: str
    before_cookie: str = ""
    visitor: str = ""


def once(
    kind: type[Row],
    request: RequestKey | None,
    announce: Callable[[str | None], Answer],
    again: Callable[[Row], Answer],
) -> Answer:
    """`announce`, or `again` where the same request made a row before. In one transaction."""
    key = tokens.digest(request.own) if request else None
    try:
        with transaction.atomic():
            known = _known(kind, request)
            return announce(key) if known is None else again(known)
    except (IntegrityError, DailyLimitExceeded):
        # The same request came twice at once, and the other was first: it may have taken the key or the last room.
        with transaction.atomic():
            if (known := _known(kind, request)) is not None:
                return again(known)
        raise


def _known(kind: type[Row], request: RequestKey | None) -> Row | None:
    """What the request made within a day; after that its key is free again."""
    if request is None:
        return None
    everything = kind._default_manager.all()
    rows = everything.filter(idempotency_digest=tokens.digest(request.own))
    row = rows.first()
    if row is None and request.before_cookie:
        # The first answer brought the cookie. A neighbour behind the same address has another.
        rows = everything.filter(idempotency_digest=tokens.digest(request.before_cookie), visitor=request.visitor)
        row = rows.first()
    if row is not None and row.created_at <= timezone.now() - IDEMPOTENCY_WINDOW:
        rows.update(idempotency_digest=None)
        return None
    return row
