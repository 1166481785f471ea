"""The use-case of announcing files: rows, reservations and fresh upload tokens in one step, for all or for none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from quotas import rules
from quotas import services as quotas
from quotas.file_types import blocked_by
from quotas.rules import Person
from uploads import tokens
from uploads.errors import AtFault, DailyLimitExceeded, FileTooLarge, FileTypeBlocked, StorageFull
from uploads.idempotency import RequestKey, once
from uploads.lifecycle import kept_until
from uploads.models import Batch, FileEvent, StoredFile
from uploads.sharing import wishes as wished
from uploads.sharing.wishes import Wishes
from uploads.states import Status
from uploads.storage import get_store

Announced = tuple[StoredFile, str]  # the row, and the upload token, which is told this once


@dataclass(frozen=True)
class NewUpload:
    """What a sender announces: cleaned names (`names.py`), bytes, and `sha256` in lower-case hex or empty."""

    filename: str
    size: int
    content_type: str = ""
    sha256: str = ""
    path: str = ""
    wishes: Wishes = wished.NONE


@dataclass(frozen=True)
class Sender:
    """Who announces it: whom limits count by, the account if any, and the visitor whose browser it is."""

    person: Person
    account_id: int | None
    visitor: str


async def initiate(new: NewUpload, sender: Sender, idempotency: RequestKey | None = None) -> Announced:
    """Announce a file: its row, its reservation and a fresh upload token, in one step.

    `idempotency` names one request of this sender: within a day it gives the same file again, with a new token.
    Raises `FileTypeBlocked`, `FileTooLarge`, `DailyLimitExceeded`, and `StorageFull` for what has no room now.
    """
    room = await get_store().room()
    return await database_sync_to_async(_initiate)(new, sender, idempotency, room)


async def initiate_batch(
    new: Sequence[NewUpload],
    title: str,
    sender: Sender,
    idempotency: RequestKey | None = None,
    wishes: Wishes = wished.NONE,
) -> tuple[Batch, list[Announced]]:
    """Announce files that belong together, as `initiate` does each: all of them, in their order, or none.

    `wishes` are those for the whole batch. Where limits refuse, the error names the files that are to blame.
    """
    room = await get_store().room()
    return await database_sync_to_async(_initiate_batch)(new, title, sender, idempotency, room, wishes)


def _initiate(new: NewUpload, sender: Sender, idempotency: RequestKey | None, room: int | None) -> Announced:
    def announce(key: str | None) -> Announced:
        [announced] = _announce([new], sender, room, key=key)
        return announced

    def again(file: StoredFile) -> Announced:
        [announced] = _with_new_tokens(StoredFile.objects.filter(pk=file.pk))
        return announced

    return once(StoredFile, idempotency, announce, again)


def _initiate_batch(
    new: Sequence[NewUpload],
    title: str,
    sender: Sender,
    idempotency: RequestKey | None,
    room: int | None,
    wishes: Wishes = wished.NONE,
) -> tuple[Batch, list[Announced]]:
    def announce(key: str | None) -> tuple[Batch, list[Announced]]:
        batch = Batch(
            title=title,
            owner_id=sender.account_id,
            visitor=sender.visitor,
            person=sender.person.key,
            idempotency_digest=key,
            created_at=timezone.now(),
            **wishes.columns(),
        )
        return batch, _announce(new, sender, room, batch=batch)

    def again(batch: Batch) -> tuple[Batch, list[Announced]]:
        return batch, _with_new_tokens(batch.files.all())

    return once(Batch, idempotency, announce, again)


def _with_new_tokens(files: QuerySet[StoredFile]) -> list[Announced]:
    """The files in the sender's order, each with a token in place of the one that was told before."""
    # Locked in the order that whoever ends them keeps to as well.
    announced = [(file, tokens.new_token()) for file in files.select_for_update().order_by("pk")]
    for file, token in announced:
        file.token_digest = tokens.digest(token)
    StoredFile.objects.bulk_update([file for file, _token in announced], ["token_digest"])
    return sorted(announced, key=lambda one: one[0].position)


def _announce(
    new: Sequence[NewUpload],
    sender: Sender,
    room: int | None,
    *,
    batch: Batch | None = None,
    key: str | None = None,
) -> list[Announced]:
    """The rows of all these files, in their order, and what they reserve. Belongs into a transaction of the caller's.

    `room` is what the storage has, in bytes; `key` makes a request of a single file known again.
    """
    now = timezone.now()
    day = rules.utc_day(now)
    sizes = [upload.size for upload in new]
    refuse_blocked_types(new, sender.person, in_batch=batch is not None)
    reserve(sender.person, sizes, day, names=[upload.filename for upload in new] if batch else ())
    if room is not None and sum(sizes) > room:
        raise StorageFull()
    fields = {
        "batch": batch,
        "owner_id": sender.account_id,
        "visitor": sender.visitor,
        "person": sender.person.key,
        "idempotency_digest": key,
        "storage": get_store().name,
        "quota_day": day,
        "quota_reserved": True,
        "created_at": now,
        "upload_expires_at": now + timedelta(hours=settings.UPLOAD_EXPIRES_HOURS),
    }
    announced = [_announced(upload, position, fields) for position, upload in enumerate(new)]
    if batch:
        batch.save(force_insert=True)
    StoredFile.objects.bulk_create(file for file, _token in announced)
    FileEvent.objects.bulk_create(
        FileEvent(file=file, at=now, new_status=Status.PENDING, actor=sender.person.key) for file, _token in announced
    )
    return announced


def _announced(new: NewUpload, position: int, fields: Mapping[str, Any]) -> Announced:
    token = tokens.new_token()
    file = StoredFile(
        filename=new.filename,
        path=new.path,
        position=position,
        size=new.size,
        content_type=new.content_type,
        expected_sha256=new.sha256,
        token_digest=tokens.digest(token),
        **new.wishes.columns(),
        **fields,
    )
    file.expires_at = kept_until(file, file.created_at)
    return file, token


def refuse_blocked_types(new: Sequence[NewUpload], person: Person, *, in_batch: bool) -> None:
    """Raise `FileTypeBlocked` where one of these files is of a type that nobody may send, and name them all.

    Of a batch, those that are too large are named as well: whoever sends the others is not to be refused once more.
    """
    patterns = quotas.blocked_types()
    at_fault: dict[int, AtFault] = {}
    reasons = set()
    for position, upload in enumerate(new):
        if found := blocked_by(patterns, upload.filename, upload.content_type):
            field, pattern = found
            reason = _("Files of the type “%(type)s” are not accepted here.") % {
                "type": pattern if "/" in pattern else f".{pattern}"
            }
            reasons.add(reason)
            at_fault[position] = AtFault(f"files.{position}.{field}" if in_batch else field, upload.filename, reason)
    if not at_fault:
        return
    if in_batch:
        too_large = _too_large(new, quotas.person_limits(person))
        at_fault = dict(sorted((too_large | at_fault).items()))
    raise FileTypeBlocked(reasons.pop() if len(reasons) == 1 else None, named=list(at_fault.values()))


def _too_large(new: Sequence[NewUpload], limits: rules.PersonLimits) -> dict[int, AtFault]:
    try:
        rules.check_files(limits, [upload.size for upload in new])
    except rules.FileLimitExceeded as error:
        code, reason = FileTooLarge.code, FileTooLarge.sentence
        return {
            position: AtFault(f"files.{position}.size", new[position].filename, reason, code, error.limit)
            for position in error.positions
        }
    return {}


def reserve(
    person: Person, sizes: Sequence[int], day: date, *, names: Sequence[str] = (), accepted: bool = False
) -> None:
    """Reserve quota for files of these sizes, all or none; the refusals of `quotas` come out as ours.

    With `names`, those of a batch, a refusal names the files that it is about. What was `accepted` before is never too
    large now.
    """
    try:
        quotas.reserve(person, sizes, day, accepted=accepted)
    except rules.FileLimitExceeded as error:
        raise FileTooLarge(
            _("The file has %(size)s bytes; at most %(limit)s are allowed.")
            % {"size": error.size, "limit": error.limit},
            named=[AtFault(f"files.{position}.size", names[position]) for position in error.positions] if names else (),
            limit=error.limit,
            size=error.size,
        ) from error
    except rules.DayLimitExceeded as error:
        # A day that is over has no more room at its midnight: what was reserved on it may still be given back.
        reset = max(error.resets_at, rules.end_of_day(rules.utc_day(timezone.now())))
        seconds = max(1, int((reset - timezone.now()).total_seconds()))
        raise DailyLimitExceeded(
            retry_after=seconds,
            named=[AtFault(f"files.{error.position}.size", names[error.position])] if names else (),
            unit=error.unit,
            limit=error.limit,
            used=error.used,
            reserved=error.reserved,
            remaining=error.remaining,
        ) from error
