"""What the calls on batches take and give (wire.md, "HTTP")."""

from typing import Annotated, Literal

from django.utils.translation import gettext_lazy as _
from ninja import Schema
from pydantic import Field, StrictStr, field_validator
from pydantic.config import JsonDict

from uploads.names import BadNameError, clean_path, clean_title
from uploads.schemas import ControlsIn, InitiateIn, InitiateOut, LockedOut, MetaOut, refused
from uploads.states import BatchStatus

MOST_FILES = 1000

# For the OpenAPI page alone: the checks themselves are in names.py.
_PART = r"(?![\s\x1c-\x1f]*\.{0,2}[\s\x1c-\x1f]*(/|$))[^/]{1,255}"
PATH: JsonDict = {"maxLength": 1024, "pattern": f"^({_PART}(/{_PART}){{0,63}})?$"}
TITLE: JsonDict = {"maxLength": 255}


class BatchFileIn(InitiateIn):
    path: StrictStr | None = Field(
        None, description="Relative folders, such as photos/2026; without the filename.", json_schema_extra=PATH
    )

    @field_validator("path")
    @classmethod
    def _clean_path(cls, value: str | None) -> str | None:
        try:
            return clean_path(value) if value else value
        except BadNameError:
            raise refused(
                _("A path is at most 64 folder names with / between them, 1,024 characters, none of them . or ..")
            ) from None


class BatchIn(ControlsIn):
    files: Annotated[list[BatchFileIn], Field(min_length=1, max_length=MOST_FILES)]
    title: StrictStr | None = Field(None, description="At most 255 characters after NFC.", json_schema_extra=TITLE)

    @field_validator("title")
    @classmethod
    def _clean_title(cls, value: str | None) -> str | None:
        try:
            return clean_title(value) if value else value
        except BadNameError:
            raise refused(_("A title has at most 255 characters.")) from None


class BatchFileAnnounced(InitiateOut):
    path: str


class BatchInitiateOut(Schema):
    batch_id: str
    batch_url: str
    title: str
    files: list[BatchFileAnnounced]


class BatchFileOut(MetaOut):
    """Of a deleted file nothing but its id, size and times is left; of a withdrawn one, not even its size.

    `status` is also `revoked` or `used_up`, for whoever is not the sender.
    """

    path: str


class BatchOut(Schema):
    """Sizes in bytes; `total_size` is that of all files that may be seen, whatever became of them.

    `expires_at`: when the first of the files that are here cannot be had any more.
    """

    batch_id: str
    title: str
    status: BatchStatus
    total_size: int
    created_at: str
    expires_at: str | None
    password_required: bool
    files: list[BatchFileOut | LockedOut]


class BatchLockedOut(Schema):
    """All that is told of a batch with a password before it is given."""

    batch_id: str
    status: BatchStatus
    password_required: Literal[True]
    expires_at: str | None


class BatchCancelOut(Schema):
    """`cancelled`: how many files this call ended."""

    cancelled: int
