"""Foreign causes become ours in this one place: Drive's answers by status and reason, the network's by class.

Needs no Django. What a cause asks of the caller is its class:

    DriveBusyError      wait (`retry_after` first), ask where the upload stands, go on     5xx, 429, rates, the network
    DriveRateError      the same: it was asked too often
    DriveStalledError   the same, but nothing had moved or been answered for long
    DriveTokenError     make a fresh access token, once                                    401
    DriveGoneError      no such session or file: begin anew                                404, 410
    DriveTakenError     the id that was asked for has its file already                     409
    DriveFullError      this account can take no more: take another                        quotas
    DriveRefusedError   stop with the true cause: time alone does not mend it              any other 4xx, certificates
    DriveChangedError   the same; it is this file that is not what was stored
"""

import re
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from uploads.storage.base import StorageError, StorageFullError, StorageUnavailableError

STALLED = "stalled"
LONGEST_MESSAGE = 300
# An address in a message may be that of a session, which is a secret.
_ADDRESS = re.compile(r"\S*(?:://|upload_id=|/upload/)\S*")


class DriveBusyError(StorageUnavailableError):
    """`reason` is Drive's own word for it, `retry_after` how long it asks to wait, in seconds."""

    def __init__(self, message: str, reason: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.retry_after = reason, retry_after


class DriveRateError(DriveBusyError):
    """It was asked too often."""


class DriveStalledError(DriveBusyError):
    def __init__(self, message: str) -> None:
        super().__init__(message, STALLED)


class _CauseError(StorageError):
    def __init__(self, message: str, reason: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason


class DriveTokenError(_CauseError, StorageUnavailableError):
    """The access token was refused."""


class DriveGoneError(_CauseError, StorageUnavailableError):
    """There is no such session or file on Drive."""


class DriveTakenError(_CauseError, StorageUnavailableError):
    """There is a file of this id already."""


class DriveFullError(_CauseError, StorageFullError):
    """The account is out of room, of its day's budget, or of items."""


class DriveRefusedError(_CauseError, StorageUnavailableError):
    """Drive will not do this, whoever asks again."""


class DriveChangedError(DriveRefusedError):
    """The file on Drive is not the one that was stored."""


Foreign = type[DriveBusyError] | type[_CauseError]

# Drive's reasons, which say more than the status.
REASONS: dict[str, Foreign] = {
    "rateLimitExceeded": DriveRateError,
    "userRateLimitExceeded": DriveRateError,
    "sharingRateLimitExceeded": DriveRateError,
    "backendError": DriveBusyError,
    "internalError": DriveBusyError,
    "transientError": DriveBusyError,
    "storageQuotaExceeded": DriveFullError,
    "quotaExceeded": DriveFullError,
    "dailyLimitExceeded": DriveFullError,
    "uploadLimitExceeded": DriveFullError,
    "teamDriveFileLimitExceeded": DriveFullError,
    "numChildrenInNonRootLimitExceeded": DriveFullError,
    "activeItemCreationLimitExceeded": DriveFullError,
    "authError": DriveTokenError,
    "fileIdInUse": DriveTakenError,
}

STATUSES: dict[int, Foreign] = {
    401: DriveTokenError,
    404: DriveGoneError,
    408: DriveBusyError,
    409: DriveTakenError,
    410: DriveGoneError,
    429: DriveRateError,
}

# The nearest class in the order of inheritance decides.
EXCEPTIONS: dict[type[Exception], Foreign] = {
    aiohttp.ClientError: DriveBusyError,
    OSError: DriveBusyError,  # TimeoutError and ConnectionError are among them
    aiohttp.InvalidURL: DriveRefusedError,
    aiohttp.NonHttpUrlClientError: DriveRefusedError,
    aiohttp.ClientSSLError: DriveRefusedError,
    ssl.SSLCertVerificationError: DriveRefusedError,
}

FAILURES = (aiohttp.ClientError, OSError)


def of_status(status: int, reason: str | None) -> Foreign:
    """What an answer that is no success means."""
    if reason in REASONS:
        return REASONS[reason]
    if status >= 500 or status < 400:
        return DriveBusyError  # what is no answer of Drive's at all may be a proxy's, and pass
    return STATUSES.get(status, DriveRefusedError)


def of_answer(status: int, headers: Mapping[str, str], body: Any) -> DriveBusyError | _CauseError:
    """The error for an answer; `body` is its JSON, or None where it is none."""
    reason, message = _reason_and_message(body)
    words = ": ".join(filter(None, (f"Drive answered {status}", reason, message)))
    return of_status(status, reason)(words, reason, _seconds(headers.get("Retry-After")))


def of_exception(error: Exception) -> DriveBusyError | _CauseError:
    """The error for one of `FAILURES`. Its words name no address: that may be a session's."""
    words = f"no answer from Drive: {type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        words += f" ({_ADDRESS.sub('…', error.strerror)})"
    for cls in type(error).__mro__:
        if foreign := EXCEPTIONS.get(cls):
            return foreign(words)
    raise error


def is_foreign(error: StorageError) -> bool:
    """Did it come from Drive, or from the way there?"""
    return isinstance(error, DriveBusyError | _CauseError)


def reason_of(error: StorageError) -> str | None:
    """Drive's own word for an error, where it had one."""
    return getattr(error, "reason", None)


def _reason_and_message(body: Any) -> tuple[str | None, str]:
    """Of `{"error": {"message", "errors": [{"reason"}]}}`, and of nothing else: a page may show a session's address."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None, ""
    listed = error.get("errors")
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    reason, message = first.get("reason"), error.get("message")
    shown = _ADDRESS.sub("…", message)[:LONGEST_MESSAGE] if isinstance(message, str) else ""
    return reason if isinstance(reason, str) else None, shown


def _seconds(text: str | None) -> float | None:
    """`Retry-After` as a number of seconds; Drive sends no dates."""
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
