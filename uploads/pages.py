"""The pages that people see: the upload page, and the download page of one file. They read, and never write."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from uploads.links import download_path
from uploads.models import StoredFile
from uploads.states import ACTIVE, Status

KINDS: dict[str, Any] = {
    "application/pdf": _("PDF document"),
    "application/zip": _("ZIP archive"),
    "application/gzip": _("Archive"),
    "application/x-7z-compressed": _("Archive"),
    "application/x-tar": _("Archive"),
    "application/vnd.rar": _("Archive"),
    "application/msword": _("Word document"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": _("Word document"),
    "application/vnd.ms-excel": _("Spreadsheet"),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": _("Spreadsheet"),
    "application/vnd.ms-powerpoint": _("Presentation"),
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": _("Presentation"),
    "text/csv": _("Table of values"),
    "text/html": _("Web page"),
}
FAMILIES: dict[str, Any] = {
    "audio": _("Sound"),
    "font": _("Font"),
    "image": _("Picture"),
    "text": _("Text"),
    "video": _("Video"),
}


def kind_in_words(content_type: str) -> str:
    """What a content type is called by people; the sender's word for it, so never more than a hint."""
    essence = content_type.partition(";")[0].strip().lower()
    return str(KINDS.get(essence) or FAMILIES.get(essence.partition("/")[0]) or _("File"))


# Marks that turn the order of letters round: "evil\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe" would look like a picture.
DIRECTION_MARKS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])


def readable_name(filename: str) -> str:
    return filename.translate(DIRECTION_MARKS)


@dataclass(frozen=True)
class SharedFile:
    """What anybody with the link may know: nothing of who sent it, and of a deleted file not even its name."""

    id: UUID
    name: str
    size: int
    kind: str
    status: str
    percent: int
    sha256: str
    expires_at: datetime | None
    download_url: str

    @property
    def is_coming(self) -> bool:
        return self.status in ACTIVE

    @property
    def is_gone(self) -> bool:
        return self.status not in ACTIVE and self.status != Status.COMPLETED


def shared_file(file: StoredFile, now: datetime) -> SharedFile:
    is_deleted = file.status == Status.DELETED
    return SharedFile(
        id=file.pk,
        name="" if is_deleted else readable_name(file.filename),
        size=file.size,
        kind=kind_in_words(file.content_type),
        status=file.status_at(now),
        percent=100 * file.stored_bytes // file.size if file.size else 100,
        sha256=file.sha256,
        expires_at=file.expires_at,
        download_url=download_path(file.pk),
    )


@require_safe
async def upload_page(request: HttpRequest) -> HttpResponse:
    return render(request, "uploads/upload.html")


@require_safe
@never_cache
async def share_page(request: HttpRequest, file_id: UUID) -> HttpResponse:
    """The download page; 404 for an unknown file, 410 for one that cannot be had any more."""
    try:
        file = await StoredFile.objects.aget(pk=file_id)
    except StoredFile.DoesNotExist:
        raise Http404 from None
    shared = shared_file(file, timezone.now())
    return render(request, "uploads/share.html", {"file": shared}, status=410 if shared.is_gone else 200)
