"""The messages of the upload WebSocket, typed (wire.md, "WebSocket"). Needs no Django but its lazy sentences."""

import re
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from uploads import strict_json
from uploads.errors import InvalidRequest, Unauthorized, UploadError

TEXT_LIMIT_BYTES = 64 * 1024
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Start:
    token: str


@dataclass(frozen=True)
class Resume:
    offset: int


@dataclass(frozen=True)
class Finish:
    sha256: str | None


@dataclass(frozen=True)
class Cancel:
    pass


ClientMessage = Start | Resume | Finish | Cancel


def parse(text: str) -> ClientMessage:
    """The message in a text frame. Raises `InvalidRequest`, or `Unauthorized` for a `start` without a token."""
    if len(text) > TEXT_LIMIT_BYTES or len(text.encode("utf-8", "surrogatepass")) > TEXT_LIMIT_BYTES:
        raise InvalidRequest("message", _("A text message may have at most 64 KiB."))
    try:
        message = strict_json.read(text)
    except ValueError:
        raise InvalidRequest("message", _("A text message must be JSON.")) from None
    if not isinstance(message, dict):
        raise InvalidRequest("message", _("A text message must be a JSON object."))
    match message.get("type"):
        case "start":
            token = message.get("token")
            if token is None:
                raise Unauthorized()
            if not isinstance(token, str):
                raise InvalidRequest("token", _("The token must be a string."))
            return Start(token)
        case "resume":
            offset = message.get("offset")
            if not isinstance(offset, int) or isinstance(offset, bool):
                raise InvalidRequest("offset", _("The offset must be a whole number."))
            return Resume(offset)
        case "finish":
            sha256 = message.get("sha256")
            if sha256 is not None and not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
                raise InvalidRequest("sha256", _("A SHA-256 is written as 64 lower-case hexadecimal digits."))
            return Finish(sha256)
        case "cancel":
            return Cancel()
    raise InvalidRequest("type", _("The type must be start, resume, finish or cancel."))


def error_message(error: UploadError) -> dict[str, Any]:
    return {
        "type": "error",
        "code": error.code,
        "value": error.detail,
        "retryable": error.retryable,
        "retry_after": error.retry_after,
        **error.members,
    }


def queued_message(position: int, waiting_for: str, eta_seconds: int | None) -> dict[str, Any]:
    return {"type": "queued", "position": position, "waiting_for": waiting_for, "eta_seconds": eta_seconds}


def ready_message(offset: int, chunk_size: int, window: int, size: int) -> dict[str, Any]:
    return {"type": "ready", "offset": offset, "chunk_size": chunk_size, "window": window, "size": size}


def progress_message(received: int, stored: int, size: int, rate: float) -> dict[str, Any]:
    return {
        "type": "progress",
        "value": percent(stored, size),
        "received": received,
        "stored": stored,
        "rate": round(rate),
    }


def percent(stored: int, size: int) -> float:
    """`stored` in percent with one decimal, rounded down, so that 100 means all; 100 for an empty file."""
    return 100 if stored >= size else stored * 1000 // size / 10
