"""Every way in which a request or an upload can be refused or fail: one class, one code, one row of wire.md's table.

    UploadError
    ├── InvalidRequest   BodyTooLarge   MethodNotAllowed   Unauthorized ◄ Locked   Forbidden
    ├── NotFound   Gone   WrongState   PreconditionFailed   RangeInvalid
    ├── FileTypeBlocked   FileTooLarge   DailyLimitExceeded   RateLimited
    ├── QueueFull   StorageUnavailable   StorageFull   SlotsUnavailable   Maintenance
    ├── FrameTooLarge   FlowViolation   SizeExceeded   Incomplete   ChecksumMismatch
    ├── IdleTimeout   Superseded   Cancelled   ServerRestart
    └── Internal         (a fault that no other row names; carries the id of its log line)

An error knows nothing of HTTP libraries or sockets: `api.py` turns it into a problem document, `intake/consumer.py`
into an `error` message and a close code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class AtFault:
    """A file of a batch that is refused: the field at fault (`files.3.size`), and the file's name.

    `reason` and `code` stand where they differ from those of the error that names it; `limit` is in bytes.
    """

    field: str
    filename: str
    reason: str | Promise = ""
    code: str = ""
    limit: int | None = None


class UploadError(Exception):
    """A refusal with its cause.

    `detail` is the sentence for a person, `retry_after` is in seconds, `extra` holds the further members that
    wire.md names for the code (such as `limit` and `size`), `named` are the files of a batch that are meant.
    """

    code: ClassVar[str]
    http_status: ClassVar[int | None] = None
    close_code: ClassVar[int | None] = None
    retryable: ClassVar[bool] = False
    sentence: ClassVar[str | Promise]

    def __init__(
        self,
        detail: str | Promise | None = None,
        *,
        retry_after: int | None = None,
        named: Sequence[AtFault] = (),
        **extra: Any,
    ) -> None:
        super().__init__(str(detail or self.code))
        self._detail = detail
        self.retry_after = retry_after
        self.named = named
        self.extra = extra
        self.noted = False  # True once its cause is kept beside the file

    @property
    def detail(self) -> str:
        """The sentence, in the language that is active when it is read."""
        return str(self._detail or self.sentence)

    @property
    def members(self) -> dict[str, Any]:
        """The further members of the answer, ready for JSON."""
        if not self.named:
            return self.extra
        return {**self.extra, "errors": [self._entry(file) for file in self.named]}

    def _entry(self, file: AtFault) -> dict[str, Any]:
        entry = {
            "field": file.field,
            "filename": file.filename,
            "code": file.code or self.code,
            "reason": str(file.reason or self.sentence),
        }
        return entry if file.limit is None else {**entry, "limit": file.limit}


class InvalidRequest(UploadError):
    """Carries `errors`: a list of `{"field", "reason"}`."""

    code, http_status, close_code = "invalid_request", 422, 1008
    sentence = _("The request could not be understood.")

    def __init__(self, field: str, reason: str | Promise, *more: tuple[str, str | Promise]) -> None:
        super().__init__()
        self.problems = ((field, reason), *more)

    @property
    def detail(self) -> str:
        # A batch may have the same fault a thousand times.
        return " ".join(dict.fromkeys(str(reason) for _field, reason in self.problems))

    @property
    def members(self) -> dict[str, Any]:
        return {"errors": [{"field": field, "reason": str(reason)} for field, reason in self.problems]}


class BodyTooLarge(UploadError):
    code, http_status = "body_too_large", 413
    sentence = _("The request body is larger than 2 MiB.")


class MethodNotAllowed(UploadError):
    code, http_status = "method_not_allowed", 405
    sentence = _("This address does not answer that method.")


class Unauthorized(UploadError):
    code, http_status, close_code = "unauthorized", 401, 1008
    sentence = _("The upload token is missing or wrong.")


class Locked(Unauthorized):
    """The row of `Unauthorized` for what has a password: none was given, or a wrong one."""

    sentence = _("The password is missing or wrong.")

    def __init__(self, detail: str | Promise | None = None) -> None:
        super().__init__(detail, password_required=True)


class Forbidden(UploadError):
    code, http_status, close_code = "forbidden", 403, 1008
    sentence = _("This is not yours to change.")


class NotFound(UploadError):
    code, http_status, close_code = "not_found", 404, 1008
    sentence = _("There is nothing at this address.")


class Gone(UploadError):
    code, http_status, close_code = "gone", 410, 1008
    sentence = _("This file is no longer here.")


class WrongState(UploadError):
    code, http_status, close_code = "wrong_state", 409, 1008
    sentence = _("This cannot be done to the file as it is now.")


class PreconditionFailed(UploadError):
    code, http_status = "precondition_failed", 412
    sentence = _("The file is not the one that was asked for.")


class RangeInvalid(UploadError):
    """Carries `size`, for the header `Content-Range: bytes */size`."""

    code, http_status = "range_invalid", 416
    sentence = _("The range asked for lies outside the file.")


class FileTypeBlocked(UploadError):
    code, http_status = "file_type_blocked", 415
    sentence = _("Files of this type are not accepted here.")


class FileTooLarge(UploadError):
    """Carries `limit` and `size`, in bytes."""

    code, http_status = "file_too_large", 413
    sentence = _("The file is larger than is allowed here.")


class DailyLimitExceeded(UploadError):
    """Carries `limit`, `used`, `reserved` and `remaining`; `retry_after` runs to UTC midnight."""

    code, http_status, close_code, retryable = "daily_limit_exceeded", 429, 1008, True
    sentence = _("This would be more than is allowed for today.")


class RateLimited(UploadError):
    code, http_status, close_code, retryable = "rate_limited", 429, 1013, True
    sentence = _("That was too many requests. Please wait a moment.")


class QueueFull(UploadError):
    """Carries `scope`: `all` or `person`."""

    code, http_status, close_code, retryable = "queue_full", 503, 1013, True
    sentence = _("The line is full. Please try again in a moment.")


class StorageUnavailable(UploadError):
    code, http_status, close_code, retryable = "storage_unavailable", 503, 1013, True
    sentence = _("The storage does not answer at the moment. Your upload is kept and can go on later.")


class StorageFull(UploadError):
    code, http_status, close_code, retryable = "storage_full", 507, 1013, True
    sentence = _("The storage has no room left. Your upload is kept and can go on when there is room.")


class SlotsUnavailable(UploadError):
    code, http_status, close_code, retryable = "slots_unavailable", 503, 1013, True
    sentence = _("The upload slots cannot be managed at the moment. Your upload is kept and can go on later.")


class Maintenance(UploadError):
    code, http_status, close_code, retryable = "maintenance", 503, 1013, True
    sentence = _("The service is down for maintenance and will be back.")


class FrameTooLarge(UploadError):
    code, close_code = "frame_too_large", 1009
    sentence = _("A frame was larger than the announced chunk size.")


class FlowViolation(UploadError):
    code, close_code = "flow_violation", 1008
    sentence = _("The client sent more than the window allows.")


class SizeExceeded(UploadError):
    code, close_code = "size_exceeded", 1008
    sentence = _("The client sent more bytes than it had announced.")


class Incomplete(UploadError):
    """The socket stays open: the client may send what is missing."""

    code, retryable = "incomplete", True
    sentence = _("Not all bytes of the file have arrived yet.")


class ChecksumMismatch(UploadError):
    code, close_code = "checksum_mismatch", 1008
    sentence = _("The bytes that arrived are not those that were sent. The upload was removed; please send it again.")


class IdleTimeout(UploadError):
    code, close_code, retryable = "idle_timeout", 4408, True
    sentence = _("Nothing arrived for too long. The upload is kept and can go on from where it was.")


class Superseded(UploadError):
    code, close_code = "superseded", 4409
    sentence = _("Another connection has taken this upload over.")


class Cancelled(UploadError):
    code, close_code = "cancelled", 1000
    sentence = _("The upload was cancelled.")


class ServerRestart(UploadError):
    code, close_code, retryable = "server_restart", 1012, True
    sentence = _("The server is restarting. The upload goes on by itself in a moment.")


class Internal(UploadError):
    """Carries `reference`, the id of the log line that tells the cause."""

    code, http_status, close_code, retryable = "internal", 500, 1011, True
    sentence = _("Something went wrong on the server. The upload is kept and can be tried again.")


def every_error() -> dict[str, type[UploadError]]:
    """The whole table, by code."""
    return {error.code: error for error in UploadError.__subclasses__()}
