"""What anybody who has a link may know of what is behind it, in words for people."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from quotas.sizes import short_size
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
    """The name as pages show it; where nothing of it could be seen, words that say so. format.js does the same."""
    readable = filename.translate(DIRECTION_MARKS)
    if all(
        unicodedata.category(character)[0] in "ZM" or unicodedata.category(character) == "Cf" for character in readable
    ):
        return str(_("(a name that cannot be seen)"))
    return readable


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
    def size_in_words(self) -> str:
        return short_size(self.size)

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
