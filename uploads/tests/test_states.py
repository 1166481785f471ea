"""What a file counts as when its time is over, and what a batch of files is called."""

from datetime import UTC, datetime, timedelta
from itertools import combinations_with_replacement

import pytest

from uploads.states import Shown, Status, batch_status, status_at

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LATER, EARLIER = NOW + SECOND, NOW - SECOND


@pytest.mark.parametrize("status", list(Status))
def test_before_its_times_a_file_is_what_is_stored(status: Status) -> None:
    assert status_at(NOW, status, upload_expires_at=LATER, expires_at=LATER) == status
    assert status_at(NOW, status.value, upload_expires_at=LATER, expires_at=None) == status


@pytest.mark.parametrize("end", [NOW, EARLIER])
def test_an_unfinished_file_expires_by_the_time_to_resume_and_a_finished_one_by_the_time_to_download(end) -> None:
    assert status_at(NOW, Status.PENDING, upload_expires_at=end, expires_at=LATER) == Status.EXPIRED
    assert status_at(NOW, Status.PENDING, upload_expires_at=LATER, expires_at=end) == Status.PENDING
    assert status_at(NOW, Status.COMPLETED, upload_expires_at=LATER, expires_at=end) == Status.EXPIRED
    assert status_at(NOW, Status.COMPLETED, upload_expires_at=end, expires_at=LATER) == Status.COMPLETED


@pytest.mark.parametrize("status", [Status.VERIFYING, Status.CANCELLED, Status.FAILED, Status.EXPIRED, Status.DELETED])
def test_no_other_state_ends_by_time_alone(status: Status) -> None:
    assert status_at(NOW, status, upload_expires_at=EARLIER, expires_at=EARLIER) == status


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["completed"], "completed"),
        (["completed", "completed"], "completed"),
        (["completed", "pending"], "uploading"),
        (["failed", "verifying"], "uploading"),
        (["cancelled", "queued"], "uploading"),
        (["deleted", "uploading"], "uploading"),
        (["completed", "failed"], "partial"),
        (["completed", "cancelled", "failed"], "partial"),
        (["completed", "expired"], "partial"),
        (["completed", "deleted"], "partial"),
        (["failed"], "failed"),
        (["failed", "cancelled", "expired", "deleted"], "failed"),
        (["cancelled", "cancelled"], "cancelled"),
        (["cancelled", "deleted"], "cancelled"),
        (["cancelled", "expired"], "expired"),
        (["expired"], "expired"),
        (["expired", "deleted"], "expired"),
    ],
)
def test_a_batch_is_called_after_what_its_files_are(states: list[str], status: str) -> None:
    assert batch_status(states) == status
    assert batch_status(states[::-1]) == status


def test_of_a_batch_whose_files_were_all_deleted_nothing_is_left() -> None:
    assert batch_status([Status.DELETED]) is None
    assert batch_status([Status.DELETED] * 3) is None


def test_any_mix_of_states_has_a_name_and_it_does_not_depend_on_their_number() -> None:
    for states in combinations_with_replacement([*Status, *Shown], 3):
        name = batch_status(states)
        assert (name is None) == (set(states) == {Status.DELETED})
        assert batch_status([*states, *states]) == name
