"""What anybody who has a link may know of what is behind it, in words for people."""

import copy
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from quotas.sizes import short_size
from uploads.batches import BatchFacts
from uploads.delivery.preview import TEXT_BYTES, family_of
from uploads.links import batch_zip_path, download_path, preview_path, share_path
from uploads.models import StoredFile
from uploads.shown import percent
from uploads.states import ACTIVE, BatchStatus, Shown, Status, Withheld

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


# What recipients read of a file's state; the page keeps these words, so that they are written here only.
STATE_WORDS: dict[str, Any] = {
    Status.PENDING.value: _("Still to come"),
    Shown.QUEUED.value: _("Waits for its turn"),
    Shown.UPLOADING.value: _("On its way"),
    Status.VERIFYING.value: _("Being verified"),
    Status.COMPLETED.value: _("Complete"),
    Status.FAILED.value: _("The upload failed"),
    Status.CANCELLED.value: _("Cancelled by the sender"),
    Status.EXPIRED.value: _("Expired"),
    Status.DELETED.value: _("Deleted"),
    Withheld.REVOKED.value: _("Withdrawn by the sender"),
    Withheld.USED_UP.value: _("Downloaded as often as allowed"),
}
BATCH_WORDS: dict[str, Any] = {
    BatchStatus.UPLOADING.value: _("These files are still coming. Each can be downloaded as soon as it is complete."),
    BatchStatus.COMPLETED.value: _("All files are complete and can be downloaded."),
    BatchStatus.PARTIAL.value: _("Not all files are here; those that are can be downloaded."),
    BatchStatus.FAILED.value: _("The upload of these files failed. Please ask their sender to send them again."),
    BatchStatus.CANCELLED.value: _(
        "The upload of these files was cancelled. Please ask their sender whether they will be sent again."
    ),
    BatchStatus.EXPIRED.value: _(
        "These files have expired and can no longer be downloaded. Please ask their sender to send them again."
    ),
}


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
    preview_url: str
    share_url: str
    preview: str  # what can be shown of it: image, audio, video, pdf, text, or nothing
    is_preview_withheld: bool  # something could be shown, if its downloads were not limited
    downloads_left: int | None
    is_hidden: bool = False  # a stand-in for its name is all that is shown

    @property
    def size_in_words(self) -> str:
        return short_size(self.size)

    @property
    def state_in_words(self) -> str:
        return str(STATE_WORDS[self.status])

    @property
    def is_complete(self) -> bool:
        return self.status == Status.COMPLETED

    @property
    def is_coming(self) -> bool:
        return self.status in ACTIVE or self.status in set(Shown)

    @property
    def is_gone(self) -> bool:
        return not self.is_complete and not self.is_coming

    @property
    def downloads_left_in_words(self) -> str:
        """Empty where they are not limited."""
        left = self.downloads_left
        if left is None:
            return ""
        if left == 0:
            return str(_("Others cannot download it any more: it was downloaded as often as you allowed."))
        words = ngettext("It can be downloaded %(n)s more time.", "It can be downloaded %(n)s more times.", left)
        return words % {"n": f"{left:,}"}

    @property
    def is_shown_in_part(self) -> bool:
        return self.preview == "text" and self.size > TEXT_BYTES


def shared_file(file: StoredFile, status: str, stored: int, *, is_locked: bool = False) -> SharedFile:
    """The file as it looks in this state, stored, shown or withheld, with this many bytes stored."""
    is_deleted = status == Status.DELETED
    return SharedFile(
        id=file.pk,
        name=_stand_in(status, is_locked=is_locked) or ("" if is_deleted else readable_name(file.filename)),
        size=file.size,
        kind=kind_in_words("" if is_deleted else file.content_type),
        status=status,
        percent=percent(stored, file.size),
        sha256="" if is_deleted else file.sha256,
        expires_at=file.expires_at,
        download_url=download_path(file.pk),
        preview_url=preview_path(file.pk),
        share_url=share_path(file.pk),
        preview=family_of(file) if status == Status.COMPLETED else "",
        is_preview_withheld=status == Status.COMPLETED and _is_preview_withheld(file),
        downloads_left=None if file.max_downloads is None else max(0, file.max_downloads - file.downloads),
        is_hidden=is_locked or status == Withheld.REVOKED,
    )


def _is_preview_withheld(file: StoredFile) -> bool:
    """Whether nothing is shown of it only because whoever sees all of it has it, uncounted."""
    if file.max_downloads is None:
        return False
    unlimited = copy.copy(file)
    unlimited.max_downloads = None
    return bool(family_of(unlimited))


def _stand_in(status: str, *, is_locked: bool) -> str:
    """What is shown in place of a name that is not to be seen."""
    if is_locked:
        return str(_("A file with a password of its own"))
    return str(_("A withdrawn file")) if status == Withheld.REVOKED else ""


@dataclass(frozen=True)
class Folder:
    """Files of a batch that lay in the same folder; `path` is empty for those that lay in none."""

    path: str
    files: list[SharedFile]


@dataclass(frozen=True)
class SharedBatch:
    """What anybody with the link of a batch may know."""

    id: UUID
    title: str
    status: str
    created_at: datetime
    size: int
    stored: int
    folders: list[Folder]

    @cached_property
    def files(self) -> list[SharedFile]:
        return [file for folder in self.folders for file in folder.files]

    @property
    def files_in_words(self) -> str:
        count = len(self.files)
        return ngettext("%(n)s file", "%(n)s files", count) % {"n": f"{count:,}"}

    @property
    def complete_in_words(self) -> str:
        return str(_("%(complete)s of %(all)s complete")) % {
            "complete": f"{self.complete:,}",
            "all": f"{len(self.files):,}",
        }

    @property
    def size_in_words(self) -> str:
        return short_size(self.size)

    @property
    def stored_in_words(self) -> str:
        return short_size(self.stored)

    @property
    def percent(self) -> int:
        return percent(self.stored, self.size)

    @property
    def status_in_words(self) -> str:
        return str(BATCH_WORDS[self.status])

    @cached_property
    def complete(self) -> int:
        """How many files can be downloaded."""
        return sum(file.is_complete for file in self.files)

    @property
    def zip_url(self) -> str:
        return batch_zip_path(self.id)

    @property
    def zip_in_words(self) -> str:
        """What is in the ZIP now."""
        count = len(self.zipped)
        words = ngettext("%(n)s file · %(size)s", "%(n)s files · %(size)s", count)
        return words % {"n": f"{count:,}", "size": short_size(sum(file.size for file in self.zipped))}

    @cached_property
    def zipped(self) -> list[SharedFile]:
        """Those that are here, and not behind a password of their own that was not given."""
        return [file for file in self.files if file.is_complete and not file.is_hidden]

    @cached_property
    def missing(self) -> list[SharedFile]:
        """Those that will not come, or not be had again."""
        return [file for file in self.files if file.is_gone]

    @cached_property
    def expires_at(self) -> datetime | None:
        """When the first of the files that are here cannot be had any more."""
        return min((file.expires_at for file in self.files if file.is_complete and file.expires_at), default=None)

    @property
    def is_coming(self) -> bool:
        return self.status == BatchStatus.UPLOADING

    @property
    def is_gone(self) -> bool:
        return self.status not in (BatchStatus.UPLOADING, BatchStatus.COMPLETED, BatchStatus.PARTIAL)


def shared_batch(facts: BatchFacts) -> SharedBatch:
    folders: dict[str, list[SharedFile]] = {"": []}  # what lay in no folder comes first
    for known in facts.files:
        file = shared_file(known.file, known.state, known.offset, is_locked=known.is_locked)
        path = "" if known.state == Status.DELETED or not known.file.path else readable_name(known.file.path)
        folders.setdefault(path, []).append(file)
    return SharedBatch(
        id=facts.batch.pk,
        title=readable_name(facts.batch.title) if facts.batch.title else "",
        status=facts.status,
        created_at=facts.batch.created_at,
        size=facts.total_size,
        stored=facts.offset,
        folders=[Folder(path, files) for path, files in folders.items() if files],
    )
