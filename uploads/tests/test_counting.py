"""Many who download at once, each on a connection of its own to the database: never one more than was allowed."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from quotas.tests.test_races import TOGETHER, all_at_once
from uploads.errors import Gone
from uploads.models import Batch, CountedDownload, StoredFile
from uploads.sharing import counting
from uploads.sharing.counting import Counted, Wanted
from uploads.states import Status
from uploads.tests.sharing_rig import batch
from uploads.tests.test_pages import stored_file

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
SIZE = 1000


def a_file(**fields: Any) -> StoredFile:
    known = {"size": SIZE, "status": Status.COMPLETED, "completed_at": timezone.now()}
    return stored_file(**known | fields)


def begin(subject: StoredFile | Batch, recipient: str, *, is_range: bool = False, files: Any = ()) -> Counted | None:
    try:
        return counting.begin(Wanted(subject, SIZE, (recipient,), tuple(files)), 0, is_range=is_range)
    except Gone:
        return None


def downloads(subject: StoredFile | Batch) -> int:
    return type(subject)._default_manager.get(pk=subject.pk).downloads


def test_no_more_downloads_begin_than_are_allowed() -> None:
    file = a_file(max_downloads=5)
    begun = all_at_once(lambda number: begin(file, f"person {number}"), range(3 * TOGETHER))
    assert sum(one is not None for one in begun) == downloads(file) == 5
    assert CountedDownload.objects.count() == 5


def test_ranges_of_one_recipient_are_one_download_whoever_comes_first() -> None:
    file = a_file(max_downloads=2)
    begun = all_at_once(lambda number: begin(file, f"person {number % 3}", is_range=True), range(3 * TOGETHER))
    assert downloads(file) == 2
    assert len({one.row for one in begun if one}) == 2
    assert sum(one.made for one in begun if one) == 2
    refused = [number % 3 for number, one in enumerate(begun) if one is None]
    assert len(set(refused)) == 1, "one of the three came too late, each time"
    assert len(refused) == TOGETHER


def test_what_is_given_back_can_be_had_by_others_and_nothing_more() -> None:
    file = a_file(max_downloads=3)

    def come_and_go(number: int) -> bool:
        one = begin(file, f"person {number}")
        if one is not None:
            counting.end(one, began=number % 4 == 0)
        return one is not None and number % 4 == 0

    stayed = sum(all_at_once(come_and_go, range(4 * TOGETHER)))
    assert stayed == downloads(file) <= 3
    assert CountedDownload.objects.count() == stayed


def test_a_zip_and_its_files_are_counted_together_or_not_at_all() -> None:
    whole = async_to_sync(batch)()
    scarce, free = a_file(batch=whole, position=0, max_downloads=4), a_file(batch=whole, position=1)

    def one(number: int) -> bool:
        if number % 2:
            return begin(scarce, f"person {number}") is not None
        return begin(whole, f"person {number}", files=[scarce.pk, free.pk]) is not None

    done = all_at_once(one, range(2 * TOGETHER))
    zips, singles = sum(done[0::2]), sum(done[1::2])
    assert zips + singles == 4 == downloads(scarce)
    assert downloads(whole) == downloads(free) == zips


def test_connections_that_share_a_download_share_its_bytes() -> None:
    """Together they get twice its size, in steps; then one of them counts one more download, and then none does."""
    file = a_file(max_downloads=2)
    shared = [begin(file, "me", is_range=True) for _ in range(TOGETHER)]

    def take(counted: Counted) -> int:
        taken = 0
        try:
            while True:
                counting.note_more(counted, 100)
                taken += 100
        except Gone:
            return taken

    given = sum(all_at_once(take, shared))
    assert downloads(file) == 2
    assert given == sum(CountedDownload.objects.values_list("given", flat=True))
    assert 4 * SIZE <= given <= 2 * (2 * SIZE + 100)


def test_a_file_that_is_withdrawn_begins_no_download_any_more() -> None:
    file = a_file()
    StoredFile.objects.filter(pk=file.pk).update(revoked_at=timezone.now())
    assert begin(file, "me") is None, "though whoever asks found it open a moment before"


def test_a_flood_of_downloads_by_one_recipient_leaves_one_row_where_nothing_is_limited() -> None:
    file, whole = a_file(), async_to_sync(batch)()
    inside = [a_file(batch=whole, position=position).pk for position in range(3)]
    all_at_once(lambda number: begin(file, f"person {number % 2}"), range(2 * TOGETHER))
    for _ in range(3):
        begin(whole, "person", files=inside)
    assert (downloads(file), downloads(whole)) == (2 * TOGETHER, 3)
    assert CountedDownload.objects.filter(subject=file.pk).count() == 2
    assert CountedDownload.objects.filter(subject=whole.pk).count() == 1


def test_a_download_that_never_began_takes_nothing_from_one_that_came_after_it() -> None:
    file = a_file()
    first, second = begin(file, "person"), begin(file, "person")
    assert first
    assert second
    counting.end(first, began=False)
    assert downloads(file) == 1
    third = begin(file, "person", is_range=True)
    assert third
    assert (third.made, third.row, downloads(file)) == (False, second.row, 1), "it belongs to the second"
    counting.end(second, began=True)
    assert CountedDownload.objects.count() == 1
