"""The rules of the Drive store that need neither Drive nor a network: causes, the length of chunks, patience."""

import inspect
import ssl
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtools.emulator.errors import MESSAGES
from uploads.intake.faults import translate
from uploads.storage.base import StorageError
from uploads.storage.gdrive import errors
from uploads.storage.gdrive.errors import (
    DriveBusyError,
    DriveFullError,
    DriveGoneError,
    DriveRateError,
    DriveRefusedError,
    DriveTakenError,
    DriveTokenError,
    of_answer,
    of_exception,
    of_status,
)
from uploads.storage.gdrive.pace import LONGEST_BYTES, QUANTUM_BYTES, Pace, chunk_bytes
from uploads.storage.gdrive.patience import Patience

# What Google documents for Drive (developers.google.com/workspace/drive/api/guides/handle-errors), and for its uploads.
DOCUMENTED: list[tuple[int, str, type[StorageError]]] = [
    (400, "badRequest", DriveRefusedError),
    (400, "invalid", DriveRefusedError),
    (401, "authError", DriveTokenError),
    (401, "required", DriveTokenError),
    (403, "activeItemCreationLimitExceeded", DriveFullError),
    (403, "appNotAuthorizedToFile", DriveRefusedError),
    (403, "cannotDownloadAbusiveFile", DriveRefusedError),
    (403, "dailyLimitExceeded", DriveFullError),
    (403, "domainPolicy", DriveRefusedError),
    (403, "forbidden", DriveRefusedError),
    (403, "insufficientFilePermissions", DriveRefusedError),
    (403, "insufficientPermissions", DriveRefusedError),
    (403, "numChildrenInNonRootLimitExceeded", DriveFullError),
    (403, "quotaExceeded", DriveFullError),
    (403, "rateLimitExceeded", DriveRateError),
    (403, "sharingRateLimitExceeded", DriveRateError),
    (403, "storageQuotaExceeded", DriveFullError),
    (403, "teamDriveFileLimitExceeded", DriveFullError),
    (403, "teamDriveHierarchyTooDeep", DriveRefusedError),
    (403, "uploadLimitExceeded", DriveFullError),
    (403, "userRateLimitExceeded", DriveRateError),
    (404, "notFound", DriveGoneError),
    (409, "conflict", DriveTakenError),
    (409, "fileIdInUse", DriveTakenError),
    (410, "gone", DriveGoneError),
    (413, "uploadTooLarge", DriveRefusedError),
    (416, "requestedRangeNotSatisfiable", DriveRefusedError),
    (429, "rateLimitExceeded", DriveRateError),
    (500, "backendError", DriveBusyError),
    (500, "internalError", DriveBusyError),
    (502, "", DriveBusyError),
    (503, "backendError", DriveBusyError),
    (504, "", DriveBusyError),
]


@pytest.mark.parametrize(("status", "reason", "expected"), DOCUMENTED, ids=lambda value: str(value))
def test_every_documented_cause_is_ours(status: int, reason: str, expected: type[StorageError]) -> None:
    assert of_status(status, reason or None) is expected


def test_there_is_no_gap_between_the_emulators_reasons_the_table_and_what_is_documented() -> None:
    documented = {reason for _status, reason, _expected in DOCUMENTED}
    assert set(errors.REASONS) - {"transientError"} <= documented
    assert set(MESSAGES) - {"fileNotDownloadable"} <= documented


@pytest.mark.parametrize("status", [*range(100, 200), *range(202, 600)])
def test_every_status_of_an_answer_is_some_error_with_a_code_of_the_wire(status: int) -> None:
    error = of_answer(status, {}, None)
    assert isinstance(error, StorageError)
    assert str(status) in str(error)
    ours = translate(error)
    assert ours is not None
    assert ours.code in ("storage_unavailable", "storage_full")


HOPELESS = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, aiohttp.ClientSSLError, ssl.SSLCertVerificationError)


def failures_of_the_network() -> list[type[Exception]]:
    known = [cls for _name, cls in inspect.getmembers(aiohttp, inspect.isclass) if issubclass(cls, Exception)]
    network = [cls for cls in known if issubclass(cls, aiohttp.ClientError | OSError)]
    return [*network, TimeoutError, ConnectionResetError, BrokenPipeError, ssl.SSLError, ssl.SSLCertVerificationError]


@pytest.mark.parametrize("cls", failures_of_the_network())
def test_every_failure_of_the_network_is_ours_and_names_no_address(cls: type[Exception]) -> None:
    secret = "https://www.googleapis.com/upload/drive/v3/files?upload_id=SECRET"
    failure = cls.__new__(cls)
    Exception.__init__(failure, secret)
    if isinstance(failure, OSError):
        failure.errno, failure.strerror = 104, f"cannot reach {secret}"
    error = of_exception(failure)
    assert translate(error) is not None
    assert "SECRET" not in str(error)
    assert isinstance(error, DriveRefusedError) == issubclass(cls, HOPELESS)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "<html>The requested URL /upload/drive/v3/files?upload_id=SECRET was not found</html>",
        {"error": "invalid_grant"},
        {"error": {"message": "no https://www.googleapis.com/upload/drive/v3/files?upload_id=SECRET here"}},
        {"error": {"errors": [{"reason": 5}], "message": ["x"]}},
        {"error": {"errors": "x", "message": "x" * 10_000}},
    ],
)
def test_whatever_an_answer_holds_its_error_is_short_and_names_no_address(body: Any) -> None:
    error = of_answer(404, {"Retry-After": "soon"}, body)
    assert isinstance(error, DriveGoneError)
    assert "SECRET" not in str(error)
    assert len(str(error)) < 500


def test_a_busy_drive_says_how_long_it_wants_to_be_left_alone() -> None:
    error = of_answer(429, {"Retry-After": "7"}, None)
    assert isinstance(error, DriveBusyError)
    assert error.retry_after == 7


# --- chunks ---


@given(delivered=st.integers(0, 1 << 40), remaining=st.integers(1, 1 << 43))
def test_a_chunk_is_a_multiple_of_a_quantum_or_ends_the_file(delivered: int, remaining: int) -> None:
    length = chunk_bytes(delivered, remaining)
    assert 0 < length <= min(LONGEST_BYTES, remaining)
    assert length == remaining or length % QUANTUM_BYTES == 0
    if QUANTUM_BYTES <= delivered <= min(LONGEST_BYTES, remaining):
        assert delivered - QUANTUM_BYTES < length <= delivered


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_delivered_counts_for_twenty_seconds() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(30):
        pace.count(1000)
        clock.now += 1
    assert pace.delivered == 20_000
    clock.now += 19.5
    assert pace.delivered == 0


def test_a_sender_that_kept_a_chunk_waiting_halts_until_it_delivers_again() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.count(QUANTUM_BYTES)
    assert not pace.halting
    pace.pause()
    assert pace.halting
    clock.now += 1
    pace.count(QUANTUM_BYTES)
    assert not pace.halting


# --- patience ---


async def tried(patience: Patience, *answers: Exception | None, brief: bool = False) -> int:
    """How often a call was made that fails with these, one after the other. Raises the last of them."""
    calls = 0
    async for attempt in patience.tries(brief=brief):
        with attempt:
            calls += 1
            if (answer := answers[min(calls, len(answers)) - 1]) is not None:
                raise answer
    return calls


async def test_a_busy_drive_is_asked_again_and_a_refusal_is_not() -> None:
    quick = Patience(first=0.001, longest=0.01, enough=5)
    assert await tried(quick, DriveBusyError("x"), DriveBusyError("x"), None) == 3
    with pytest.raises(DriveRefusedError):
        await tried(quick, DriveBusyError("x"), DriveRefusedError("x"), None)


async def test_patience_ends_and_is_shorter_where_another_account_may_do_it() -> None:
    quick = Patience(first=0.001, longest=0.01, enough=0.2, brief=0.02)
    with pytest.raises(DriveBusyError):
        await tried(quick, DriveBusyError("x"))
    with pytest.raises(DriveBusyError):
        await tried(quick, DriveBusyError("x", retry_after=0.1), None, brief=True)
    assert await tried(quick, DriveBusyError("x", retry_after=0.1), None) == 2


async def test_a_pause_that_is_longer_than_patience_is_not_waited_for() -> None:
    with pytest.raises(DriveBusyError):
        await tried(Patience(enough=30), DriveBusyError("x", retry_after=3600), None)
