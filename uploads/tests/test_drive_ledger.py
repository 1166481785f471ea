"""What is reserved and counted of Drive accounts: alone, and by many at once."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from uploads.drive_models import DriveAccount, DriveBooking, DriveHour
from uploads.storage.gdrive import circuits, ledger, troubles
from uploads.storage.gdrive.budget import Chosen, Failing, Full, WaitUntil

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

NOON = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
GB = 10**9
TOGETHER = 12


def account(name: str = "one", **values: Any) -> DriveAccount:
    usual = {"checked_at": NOON, "reserve_bytes": 0, "daily_bytes": 100}
    return DriveAccount.objects.create(name=name, **usual | values)


def all_at_once(action: Callable, arguments: Iterable) -> list:
    gate = threading.Barrier(TOGETHER)
    started = threading.local()

    def run(argument):
        if not hasattr(started, "already"):
            started.already = True
            gate.wait()
        try:
            return action(argument)
        finally:
            connection.close()

    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(run, arguments))


def used(row: DriveAccount, now: datetime = NOON) -> tuple[int, int]:
    """What was stored within the day, and what is reserved."""
    [standing] = [standing for standing in ledger.standings(now) if standing.id == row.pk]
    return sum(spent.length for spent in standing.spent), standing.reserved


# --- alone ---


def test_an_upload_that_is_still_there_keeps_what_it_reserved_and_counts_nothing() -> None:
    one = account()
    _choice, booking = ledger.choose(60, NOON)
    ledger.count(one.pk, booking, 0, NOON + timedelta(seconds=100))
    assert used(one, NOON + timedelta(seconds=200)) == (0, 60)
    assert not DriveHour.objects.exists()


def test_a_reservation_turns_into_use_as_bytes_are_stored() -> None:
    one = account(room_bytes=1000)
    choice, booking = ledger.choose(60, NOON)
    assert choice == Chosen(one.pk)
    assert used(one) == (0, 60)
    ledger.count(one.pk, booking, 25, NOON)
    assert used(one) == (25, 35)
    one.refresh_from_db()
    assert one.room_bytes == 975
    ledger.end(booking)
    assert used(one) == (25, 0)


def test_what_is_reserved_is_missing_in_the_room_as_well() -> None:
    account(room_bytes=50, reserve_bytes=10)
    assert isinstance(ledger.choose(30, NOON)[0], Chosen)
    assert ledger.choose(11, NOON)[0] == Full()
    assert isinstance(ledger.choose(10, NOON)[0], Chosen)


def test_a_reservation_that_nobody_uses_any_more_lapses() -> None:
    one = account()
    _, booking = ledger.choose(100, NOON)
    ledger.count(one.pk, booking, 10, NOON + timedelta(seconds=100))
    assert isinstance(ledger.choose(1, NOON + timedelta(seconds=200))[0], WaitUntil)
    assert isinstance(ledger.choose(1, NOON + timedelta(seconds=221))[0], Chosen)


def test_bytes_count_by_the_hour_and_for_a_day() -> None:
    one = account()
    for minutes in (0, 20, 40):
        ledger.count(one.pk, None, 10, NOON + timedelta(minutes=minutes))
    assert sorted(DriveHour.objects.values_list("hour", "length")) == [
        (NOON.replace(minute=0), 20),
        (NOON.replace(hour=13, minute=0), 10),
    ]
    assert used(one, NOON + 23 * HOUR)[0] == 30
    ledger.forget(NOON + 25 * HOUR)
    assert list(DriveHour.objects.values_list("length", flat=True)) == [10]


def test_an_upload_that_goes_on_is_reserved_whatever_is_left() -> None:
    one = account()
    ledger.count(one.pk, None, 100, NOON)
    assert ledger.book(one.pk, 70, NOON) is not None
    assert used(one) == (100, 70)
    assert ledger.book(one.pk + 1, 70, NOON) is None


def test_the_wait_is_told_to_the_hour() -> None:
    one = account()
    ledger.count(one.pk, None, 100, NOON)
    assert ledger.choose(1, NOON + HOUR)[0] == WaitUntil(NOON.replace(minute=0) + 25 * HOUR)


def test_an_account_that_was_never_asked_gets_nothing_yet() -> None:
    account(checked_at=None)
    assert isinstance(ledger.choose(1, NOON)[0], Failing)


def test_an_account_that_was_removed_meanwhile_counts_nothing() -> None:
    ledger.count(12345, None, 10, NOON)
    assert not DriveHour.objects.exists()


# --- circuits, as all workers see them ---


def test_an_account_that_keeps_failing_is_skipped_and_asked_by_one_after_its_pause() -> None:
    one, other = account("one", priority=1), account("other", priority=2)
    for _ in range(3):
        circuits.failed(one.pk, NOON, troubles.FAILING, "503")
    assert ledger.choose(1, NOON)[0] == Chosen(other.pk)
    later = NOON + timedelta(seconds=11)
    assert [circuits.claim(one.pk, later) for _ in range(3)] == [True, False, False]
    assert ledger.choose(1, later)[0] == Chosen(other.pk)
    circuits.answered(one.pk, later)
    assert ledger.choose(1, later)[0] == Chosen(one.pk)
    circuits.failed(one.pk, later, troubles.FAILING, "503")
    assert ledger.choose(1, later)[0] == Chosen(other.pk), "an answer was no proof"
    circuits.worked(one.pk, later)
    assert ledger.choose(1, later)[0] == Chosen(one.pk)
    one.refresh_from_db()
    assert (one.failures, one.failing_since, one.error_code, one.last_error) == (0, None, "", "")


def test_what_a_check_found_is_mended_by_a_check() -> None:
    one = account()
    circuits.failed(one.pk, NOON, troubles.REVOKED, "invalid_grant", at_once=True)
    one.refresh_from_db()
    assert (one.error_code, one.last_error, one.failing_since) == (troubles.REVOKED, "invalid_grant", NOON)
    circuits.answered(one.pk, NOON)
    one.refresh_from_db()
    assert (one.error_code, one.failures) == ("", 0)


def test_while_drive_itself_fails_nobody_goes_there_but_one() -> None:
    one, other = account("one"), account("other")
    for number in range(6):
        circuits.failed((one, other)[number % 2].pk, NOON, troubles.FAILING, "no route", whole=True)
    assert circuits.whole_storage_open_until(NOON) == NOON + timedelta(seconds=10)
    for row in (one, other):
        DriveAccount.objects.filter(pk=row.pk).update(failures=0, retry_at=None)
    assert ledger.choose(1, NOON)[0] == Failing(NOON + timedelta(seconds=10))
    later = NOON + timedelta(seconds=10)
    assert isinstance(ledger.choose(1, later)[0], Chosen)
    assert isinstance(ledger.choose(1, later)[0], Failing)
    circuits.worked(one.pk, later)
    assert isinstance(ledger.choose(1, later)[0], Chosen)


def test_an_account_that_drive_says_is_out_stays_out_while_others_end_there() -> None:
    one = account()
    circuits.refused(one.pk, NOON, troubles.DAY_SPENT, "dailyLimitExceeded")
    circuits.worked(one.pk, NOON)
    assert ledger.choose(1, NOON)[0] == WaitUntil(NOON + 24 * HOUR)
    one.refresh_from_db()
    assert one.error_code == troubles.DAY_SPENT
    circuits.worked(one.pk, NOON + 24 * HOUR)
    one.refresh_from_db()
    assert one.error_code == ""


def test_a_full_account_is_asked_again_after_an_hour() -> None:
    one = account()
    circuits.refused(one.pk, NOON, troubles.FULL, "storageQuotaExceeded")
    assert ledger.choose(1, NOON)[0] == Full()
    assert ledger.choose(1, NOON + HOUR)[0] == Chosen(one.pk)


def test_an_upload_that_stands_still_sets_its_account_aside_at_once() -> None:
    one = account()
    circuits.failed(one.pk, NOON, troubles.STALLED, "no byte for 60 s")
    assert ledger.choose(1, NOON)[0] == Failing(NOON + timedelta(minutes=10))


# --- many at once ---


def test_two_hundred_who_want_the_last_bytes_of_a_day_get_exactly_those() -> None:
    one, other = account("one", daily_bytes=500), account("other", daily_bytes=330)
    answers = all_at_once(lambda _: ledger.choose(10, NOON)[0], range(200))
    assert answers.count(Chosen(one.pk)) == 50
    assert answers.count(Chosen(other.pk)) == 33
    assert used(one) == (0, 500)
    assert used(other) == (0, 330)


def test_two_hundred_who_want_the_last_room_get_exactly_that() -> None:
    one = account(daily_bytes=GB, room_bytes=1005)
    answers = all_at_once(lambda _: ledger.choose(10, NOON)[0], range(200))
    assert answers.count(Chosen(one.pk)) == 100
    assert answers.count(Full()) == 100


def used_at_one_moment(one: DriveAccount) -> tuple[int, int]:
    """Both figures of one snapshot: read one after the other, bytes that were just counted would stand in both."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return used(one)


def test_uploads_that_come_and_go_lose_no_byte_and_never_go_over() -> None:
    one = account(daily_bytes=400, room_bytes=10_000)
    over: list[tuple[int, int]] = []

    def upload(number: int) -> int:
        size = 7 + number % 5
        choice, booking = ledger.choose(size, NOON)
        if not isinstance(choice, Chosen):
            return 0
        assert booking is not None
        sent = size if number % 3 else size // 2
        ledger.count(one.pk, booking, sent - 1, NOON)
        if sum(seen := used_at_one_moment(one)) > 400:
            over.append(seen)
        ledger.count(one.pk, booking, 1, NOON)
        ledger.end(booking)
        return sent

    sent = sum(all_at_once(upload, range(150)))
    assert over == []
    assert used(one) == (sent, 0)
    one.refresh_from_db()
    assert one.room_bytes == 10_000 - sent
    assert not DriveBooking.objects.exists()


def test_failures_successes_and_choices_of_many_never_block_each_other() -> None:
    rows = [account(f"account {number}", daily_bytes=GB) for number in range(3)]

    def do(number: int) -> None:
        row = rows[number % 3]
        match number % 4:
            case 0:
                circuits.failed(row.pk, NOON, troubles.FAILING, "503", whole=True)
            case 1:
                circuits.worked(row.pk, NOON)
            case 2:
                circuits.answered(row.pk, NOON)
            case _:
                ledger.choose(1, NOON + timedelta(minutes=number))

    all_at_once(do, range(120))
    for row in rows:
        circuits.worked(row.pk, NOON)
    assert circuits.whole_storage_open_until(NOON) is None
    assert isinstance(ledger.choose(1, NOON)[0], Chosen)
