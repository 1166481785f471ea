"""What several calls of the API answer, or are asked, in the same words (wire.md, "HTTP")."""

from collections.abc import Sequence
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from quotas import services as quotas
from uploads import links
from uploads.announcing import Announced, NewUpload
from uploads.errors import every_error
from uploads.models import Batch, StoredFile
from uploads.people import Caller
from uploads.schemas import InitiateIn, ProblemOut, timestamp
from uploads.sharing.wishes import Wishes
from uploads.shown import Facts, look

ERRORS = dict.fromkeys(sorted({e.http_status for e in every_error().values() if e.http_status}), ProblemOut)


def new_upload(payload: InitiateIn, wishes: Wishes, path: str = "") -> NewUpload:
    return NewUpload(payload.filename, payload.size, payload.content_type or "", payload.sha256 or "", path, wishes)


async def announcements(request: HttpRequest, caller: Caller, announced: Sequence[Announced]) -> list[dict[str, Any]]:
    """For each file all that its upload needs, and what is left of the sender's quota now."""
    now = await look([file for file, _ in announced])
    origin = links.origin_of_request(request)
    quota = await database_sync_to_async(quotas.quota_info)(caller.person, timezone.now())
    return [
        {
            "file_id": str(file.pk),
            "filename": file.filename,
            "size": file.size,
            "upload_url": links.upload_path(file.pk),
            "upload_token": token,
            "chunk_size": settings.UPLOAD_CHUNK_BYTES,
            "window": settings.UPLOAD_WINDOW_BYTES,
            "status": now.state(file),
            "upload_expires_at": timestamp(file.upload_expires_at),
            "expires_at": timestamp(file.expires_at),
            "download_url": links.download_path(file.pk),
            "share_url": links.share_url(origin, file.pk),
            "gdrive_upload_url": None,
            "quota": quota,
        }
        for file, token in announced
    ]


def locked(file: StoredFile, state: str) -> dict[str, Any]:
    """All that is told of a file whose password was not given."""
    return {
        "file_id": str(file.pk),
        "status": state,
        "password_required": True,
        "expires_at": timestamp(file.expires_at),
    }


def controls_of(subject: StoredFile | Batch) -> dict[str, Any]:
    """For the sender alone."""
    return {
        "password": bool(subject.password_hash),
        "max_downloads": subject.max_downloads,
        "downloads": subject.downloads,
        "expires_in": subject.expires_in,
        "revoked": subject.revoked_at is not None,
    }


def meta_of(facts: Facts, *, has_password: bool) -> dict[str, Any]:
    """The public facts of a file; never who sent it, nor which batch it belongs to."""
    file = facts.file
    return {
        "file_id": str(file.pk),
        "filename": file.filename,
        "size": file.size,
        "content_type": file.content_type,
        "status": facts.state,
        "offset": facts.offset,
        "sha256": file.sha256 or None,
        "created_at": timestamp(file.created_at),
        "expires_at": timestamp(file.expires_at),
        "download_url": links.download_path(file.pk),
        "password_required": has_password,
    }
