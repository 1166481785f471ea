"""Rows for tests that look at files."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from uploads.models import FileEvent, StoredFile
from uploads.states import Status


def a_file(filename: str = "holiday.mov", **fields: Any) -> StoredFile:
    """One stored row, announced now unless `created_at` says otherwise."""
    now = fields.pop("created_at", None) or timezone.now()
    values: dict[str, Any] = {
        "filename": filename,
        "size": 1000,
        "person": "address:203.0.113.9",
        "token_digest": "d" * 64,
        "quota_day": now.astimezone(UTC).date(),
        "created_at": now,
        "upload_expires_at": now + timedelta(hours=24),
    }
    return StoredFile.objects.create(**{**values, **fields})


def an_event(file: StoredFile, new: Status, at: datetime | None = None, **fields: Any) -> FileEvent:
    return FileEvent.objects.create(
        file=file, at=at or timezone.now(), old_status="verifying", new_status=new, actor="server", **fields
    )
