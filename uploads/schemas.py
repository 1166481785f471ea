"""What the JSON calls take and give (wire.md, "HTTP"); the OpenAPI page is made from these."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from django.utils.translation import gettext_lazy as _
from ninja import Schema
from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from uploads.names import BadNameError, clean_filename
from uploads.sharing.rules import LONGEST_LIFE, LONGEST_PASSWORD, MOST_DOWNLOADS, SHORTEST_LIFE, is_password

MAX_FILE_BYTES = 5_497_558_138_880
_WORD = "[A-Za-z0-9_!#$&^.+-]+"
CONTENT_TYPE = re.compile(rf"{_WORD}/{_WORD}([ \t]*;[ -~]*)?")

# For the OpenAPI page alone: the checks themselves are below, with sentences for people.
NAME: JsonDict = {"minLength": 1, "maxLength": 255}
MEDIA_TYPE: JsonDict = {"pattern": f"^({CONTENT_TYPE.pattern})?$"}
PASSWORD: JsonDict = {"minLength": 1, "maxLength": 256, "pattern": r"[^\s\x1c-\x1f]"}


def refused(sentence: Any) -> PydanticCustomError:
    """What a validator raises, with the sentence for a person."""
    return PydanticCustomError("refused", "refused", {"reason": sentence})


def _checked_password(value: str | None) -> str | None:
    if value is not None and not is_password(value):
        raise refused(_("A password has 1 to %(most)d characters, not only spaces.") % {"most": LONGEST_PASSWORD})
    return value


class ControlsIn(BaseModel):
    """Who may have what is sent, how often and how long; null, or nothing: no such limit.

    No `Schema` of the framework's: that also reads attributes of objects, takes five times as long for it, and takes
    a string for an object without members.
    """

    password: StrictStr | None = Field(
        None,
        description="1 to 256 characters, not only spaces; the same in whatever Unicode form.",
        json_schema_extra=PASSWORD,
    )
    max_downloads: StrictInt | None = Field(None, ge=1, le=MOST_DOWNLOADS, description="Then it is gone.")
    expires_in: StrictInt | None = Field(
        None,
        ge=SHORTEST_LIFE,
        le=LONGEST_LIFE,
        description="Seconds from completion on; never more than the server keeps files.",
    )

    @field_validator("password")
    @classmethod
    def _is_no_blank(cls, value: str | None) -> str | None:
        return _checked_password(value)


class ChangeIn(ControlsIn):
    """What is not named stays as it is; null takes a limit away."""

    revoked: StrictBool = Field(False, description="true: gone for everybody but its sender, until false.")


class UnlockIn(BaseModel):
    password: StrictStr = Field(json_schema_extra=PASSWORD)

    @field_validator("password")
    @classmethod
    def _is_no_blank(cls, value: str) -> str:
        _checked_password(value)
        return value


class InitiateIn(ControlsIn):
    filename: StrictStr = Field(
        description="1 to 255 characters after NFC; it is data, never a path.", json_schema_extra=NAME
    )
    size: Annotated[StrictInt, Field(ge=0, le=MAX_FILE_BYTES, description="Bytes.")]
    content_type: StrictStr | None = Field(
        None, max_length=255, description="A media type, such as image/png.", json_schema_extra=MEDIA_TYPE
    )
    sha256: StrictStr | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Compared before `success`.")

    @field_validator("filename")
    @classmethod
    def _clean(cls, value: str) -> str:
        try:
            return clean_filename(value)
        except BadNameError:
            raise refused(_("A file name has 1 to 255 characters.")) from None

    @field_validator("content_type")
    @classmethod
    def _is_media_type(cls, value: str | None) -> str | None:
        if value and not CONTENT_TYPE.fullmatch(value):
            raise refused(_("A content type looks like image/png."))
        return value


class QuotaLimits(Schema):
    file_bytes: int | None
    daily_bytes: int | None
    daily_files: int | None
    concurrent: int


class QuotaInfo(Schema):
    """Sizes in bytes; null means unlimited."""

    enforced: bool
    audience: str
    day: str
    resets_at: str
    limits: QuotaLimits
    used_bytes: int
    reserved_bytes: int
    remaining_bytes: int | None
    files: int
    override_until: str | None = Field(
        None,
        description="Until when these are limits of this person's own; there only where they are, and end.",
    )


class InitiateOut(Schema):
    file_id: str
    filename: str
    size: int
    upload_url: str
    upload_token: str
    chunk_size: int
    window: int
    status: str
    upload_expires_at: str
    expires_at: str | None
    download_url: str
    share_url: str
    gdrive_upload_url: None = None
    quota: QuotaInfo


class FaultOut(Schema):
    """Why an upload failed, or what its last connection met."""

    code: str
    detail: str
    retryable: bool


class StatusOut(Schema):
    file_id: str
    status: str
    offset: int
    size: int
    queue_position: int | None = None
    upload_expires_at: str
    error: FaultOut | None = None


class CancelOut(Schema):
    file_id: str
    status: str


class LockedOut(Schema):
    """All that is told of a file with a password before it is given."""

    file_id: str
    status: str
    password_required: Literal[True]
    expires_at: str | None


class ControlsOut(Schema):
    """The share controls of a file or a batch itself; `password`: whether it has one. For its sender."""

    password: bool
    max_downloads: int | None
    downloads: int
    expires_in: int | None
    revoked: bool


class FileChangedOut(Schema):
    file_id: str
    expires_at: str | None
    controls: ControlsOut


class BatchChangedOut(Schema):
    batch_id: str
    controls: ControlsOut


class UnlockedOut(Schema):
    """Send it as `Authorization: Bearer`; browsers get a cookie as well. Void when the password changes."""

    token: str
    expires_at: str


class MetaOut(Schema):
    """The public facts of a file. `password_required`: whether others are asked for a password."""

    file_id: str
    filename: str
    size: int
    content_type: str
    status: str
    offset: int
    sha256: str | None
    created_at: str
    expires_at: str | None
    download_url: str
    password_required: bool = False


class MyFileOut(MetaOut):
    """What only the sender sees in the list of their own files."""

    completed_at: str | None
    share_url: str
    upload_expires_at: str
    batch_id: str | None
    batch_url: str | None
    batch_title: str | None
    controls: ControlsOut
    batch_controls: ControlsOut | None


class MyFilesOut(Schema):
    items: list[MyFileOut]
    next: str | None


class ProblemOut(Schema):
    """RFC 9457; codes that carry further members say so in the table of errors."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    retry_after: int | None


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
