"""The use-cases of share controls: what a sender wishes when files are announced, and changes later."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from uploads import lifecycle, services
from uploads.batches import NOTHING_LEFT
from uploads.errors import Gone, InvalidRequest, NotFound
from uploads.models import Batch, FileEvent, StoredFile
from uploads.states import ACTIVE, Status

OVER_ALREADY = _(
    "It counts from when the file was complete, and would be over already. To end it now, withdraw the link."
)
# What the history of a file calls a change.
REVOKED, RESTORED, CHANGED = "revoked", "restored", "controls_changed"


@dataclass(frozen=True)
class Change:
    """What a sender changes of a file or a batch: the columns of `fields`; `revoked` is None where that stays."""

    fields: Mapping[str, Any]
    revoked: bool | None = None

    def columns(self, subject: StoredFile | Batch, now: datetime) -> dict[str, Any]:
        """The columns of this file or batch that are to be something else than they are."""
        wanted = dict(self.fields)
        if self.revoked is not None and self.revoked != bool(subject.revoked_at):
            wanted["revoked_at"] = now if self.revoked else None
        return {name: value for name, value in wanted.items() if getattr(subject, name) != value}


def change_file(file_id: UUID, change: Change, actor: str) -> StoredFile:
    """Change how a file may be had, and return it. Raises `NotFound`, and `Gone` for what nobody can have again."""
    now = timezone.now()
    with transaction.atomic():
        file = lifecycle.locked_with_batch(file_id)
        if file is None:
            raise NotFound()
        file.status = file.status_at(now)
        services.refuse_gone(file, Status.CANCELLED, Status.FAILED, Status.EXPIRED)
        columns = change.columns(file, now)
        _set(file, columns)
        if "expires_in" in columns:
            file.expires_at = columns["expires_at"] = lifecycle.kept_until(file, file.completed_at or file.created_at)
            if _is_over(file, now):
                raise InvalidRequest("expires_in", OVER_ALREADY)
        if columns:
            StoredFile.objects.filter(pk=file.pk).update(**columns)
            _note(file, columns, actor, now)
    return file


def _note(file: StoredFile, columns: Mapping[str, Any], actor: str, now: datetime) -> None:
    """Into the history of the file."""
    FileEvent.objects.create(
        file=file, at=now, old_status=file.status, new_status=file.status, code=_name_of(columns), actor=actor
    )


def _name_of(columns: Mapping[str, Any]) -> str:
    if "revoked_at" not in columns:
        return CHANGED
    return REVOKED if columns["revoked_at"] else RESTORED


def _set(subject: StoredFile | Batch, columns: Mapping[str, Any]) -> None:
    for name, value in columns.items():
        setattr(subject, name, value)


def change_batch(batch_id: UUID, change: Change, actor: str) -> Batch:
    """As `change_file`; a limit and a life are also those of the files which have none of their own."""
    now = timezone.now()
    with transaction.atomic():
        batch = Batch.objects.select_for_update(no_key=True).filter(pk=batch_id).first()
        if batch is None:
            raise NotFound()
        kept = [file for file in batch.files.filter(status__in=[*ACTIVE, Status.COMPLETED]) if not _is_over(file, now)]
        if not kept:
            raise Gone(NOTHING_LEFT)
        columns = change.columns(batch, now)
        if "max_downloads" in columns:
            followers = batch.files.filter(max_downloads=batch.max_downloads)
            followers.update(max_downloads=columns["max_downloads"])
        _set(batch, columns)
        if columns:
            Batch.objects.filter(pk=batch.pk).update(**columns)
            for file in kept:
                _note(file, columns, actor, now)
        if "expires_in" in columns:
            _give_life(batch, kept)
    return batch


def _is_over(file: StoredFile, now: datetime) -> bool:
    return file.status_at(now) == Status.EXPIRED


def _give_life(batch: Batch, files: list[StoredFile]) -> None:
    changed = [file for file in files if file.expires_in is None]
    for file in changed:
        file.batch = batch
        file.expires_at = lifecycle.kept_until(file, file.completed_at or file.created_at)
        if _is_over(file, timezone.now()):
            raise InvalidRequest("expires_in", OVER_ALREADY)
    StoredFile.objects.bulk_update(changed, ["expires_at"])
