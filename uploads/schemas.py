"""What the JSON calls take and give (wire.md, "HTTP"); the OpenAPI page is made from these."""

import re
from datetime import datetime
from typing import Annotated, Any

from django.utils.translation import gettext_lazy as _
from ninja import Schema
from pydantic import BaseModel, Field, StrictInt, StrictStr, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from uploads.names import BadNameError, clean_filename

MAX_FILE_BYTES = 5_497_558_138_880
_WORD = "[A-Za-z0-9_!#$&^.+-]+"
CONTENT_TYPE = re.compile(rf"{_WORD}/{_WORD}([ \t]*;[ -~]*)?")

# For the OpenAPI page alone: the checks themselves are below, with sentences for people.
NAME: JsonDict = {"minLength": 1, "maxLength": 255}
MEDIA_TYPE: JsonDict = {"pattern": f"^({CONTENT_TYPE.pattern})?$"}
NOTHING: JsonDict = {"type": "null"}


def refused(sentence: Any) -> PydanticCustomError:
    """What a validator raises, with the sentence for a person."""
    return PydanticCustomError("refused", "refused", {"reason": sentence})


class NoProtectionIn(BaseModel):
    """Unknown members are ignored, but for those that promise a protection which this server cannot give yet.

    No `Schema` of the framework's: that also reads attributes of objects, takes five times as long for it, and takes
    a string for an object without members.
    """

    # Ignoring these would leave a file that looks protected and is not (wire.md).
    password: Any = Field(None, description="Not supported yet: refused.", json_schema_extra=NOTHING)
    max_downloads: Any = Field(None, description="Not supported yet: refused.", json_schema_extra=NOTHING)
    expires_in: Any = Field(None, description="Not supported yet: refused.", json_schema_extra=NOTHING)

    @field_validator("password", "max_downloads", "expires_in")
    @classmethod
    def _refuse(cls, value: Any) -> Any:
        if value is not None:
            raise refused(_("This server does not support that yet."))
        return value


class InitiateIn(NoProtectionIn):
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


class MetaOut(Schema):
    """The public facts of a file."""

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

    share_url: str
    upload_expires_at: str
    batch_id: str | None
    batch_url: str | None
    batch_title: str | None


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
