"""Which Drive account takes a new file, and when one can."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from uploads.storage.gdrive.budget import DAY, HOUR, Chosen, Failing, Full, Spent, Standing, WaitUntil, choose

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
GB = 10**9


def hours_ago(hours: int, length: int) -> Spent:
    return Spent(NOON - hours * HOUR, length)


# --- by room and by what is left of the day ---


def test_the_account_with_most_room_takes_the_file() -> None:
    assert choose([Standing(1, room=5), Standing(2, room=9), Standing(3, room=7)], 4, NOON) == Chosen(2)


def test_of_two_with_room_the_one_with_more_left_of_the_day_takes_it() -> None:
    used = Standing(1, room=10_000 * GB, spent=[hours_ago(3, 700 * GB)])
    fresh = Standing(2, room=500 * GB)
    assert choose([used, fresh], 10 * GB, NOON) == Chosen(2)


def test_where_the_room_is_not_known_the_day_decides() -> None:
    shared_drive = Standing(1, room=None, spent=[hours_ago(1, 100 * GB)])
    assert choose([shared_drive, Standing(2, room=20 * GB)], GB, NOON) == Chosen(1)


def test_a_smaller_priority_goes_first_however_little_is_left_there() -> None:
    assert choose([Standing(1, room=900 * GB, priority=2), Standing(2, room=5 * GB)], GB, NOON) == Chosen(2)


def test_an_account_that_is_off_gets_nothing() -> None:
    assert choose([Standing(1, on=False), Standing(2, room=5)], 5, NOON) == Chosen(2)
    assert choose([Standing(1, on=False)], 5, NOON) == Failing(None)


def test_an_account_that_failed_for_this_file_is_avoided() -> None:
    both = [Standing(1, room=9), Standing(2, room=5)]
    assert choose(both, 5, NOON, frozenset({1})) == Chosen(2)
    assert choose(both, 5, NOON, frozenset({1, 2})) == Failing(None)


def test_a_failing_account_is_skipped_until_it_is_tried_again() -> None:
    failing = Standing(1, room=9, failing_until=NOON + HOUR)
    assert choose([failing, Standing(2, room=5)], 5, NOON) == Chosen(2)
    assert choose([failing], 5, NOON) == Failing(NOON + HOUR)
    assert choose([failing], 5, NOON + HOUR) == Chosen(1)


def test_an_account_that_an_admin_has_to_mend_gives_nobody_hope_of_a_sooner_time() -> None:
    broken = Standing(1, failing_until=NOON + timedelta(seconds=30), broken=True)
    spent = Standing(2, spent=[hours_ago(1, 750 * GB)])
    failing = Standing(3, failing_until=NOON + HOUR)
    assert choose([broken, spent], GB, NOON) == WaitUntil(NOON + DAY)
    assert choose([broken, failing], GB, NOON) == Failing(NOON + HOUR)
    assert choose([broken], GB, NOON) == Failing(NOON + timedelta(seconds=30))


def test_without_room_anywhere_it_is_full() -> None:
    full = Standing(1, full_until=NOON + HOUR)
    assert choose([Standing(2, room=4), full], 5, NOON) == Full()
    assert choose([full], 5, NOON + HOUR) == Chosen(1)


# --- the day ---


def test_near_the_limit_of_a_day_a_new_file_takes_another_account() -> None:
    nearly = Standing(1, spent=[hours_ago(2, 745 * GB)], priority=1)
    other = Standing(2, priority=2)
    assert choose([nearly, other], 5 * GB, NOON) == Chosen(1)
    assert choose([nearly, other], 5 * GB + 1, NOON) == Chosen(2)


def test_what_running_uploads_reserved_is_not_given_twice() -> None:
    assert choose([Standing(1, reserved=749 * GB)], GB, NOON) == Chosen(1)
    assert isinstance(choose([Standing(1, reserved=749 * GB)], GB + 1, NOON), WaitUntil)


def test_bytes_count_for_24_hours_after_their_hour() -> None:
    account = Standing(1, spent=[hours_ago(24, 700 * GB), hours_ago(25, 700 * GB)])
    assert account.used(NOON) == 700 * GB
    assert choose([account], 100 * GB, NOON) == WaitUntil(NOON + HOUR)
    assert choose([account], 100 * GB, NOON + HOUR) == Chosen(1)


def test_the_wait_ends_with_the_hour_that_leaves_enough() -> None:
    account = Standing(1, spent=[hours_ago(20, 300 * GB), hours_ago(10, 300 * GB), hours_ago(5, 150 * GB)])
    assert choose([account], 200 * GB, NOON) == WaitUntil(NOON + 5 * HOUR)
    assert choose([account], 400 * GB, NOON) == WaitUntil(NOON + 15 * HOUR)


def test_the_wait_is_for_whoever_is_first() -> None:
    one = Standing(1, spent=[hours_ago(2, 750 * GB)])
    other = Standing(2, spent=[hours_ago(8, 750 * GB)])
    assert choose([one, other], GB, NOON) == WaitUntil(NOON + 17 * HOUR)


def test_an_account_that_drive_refused_waits_out_its_day() -> None:
    refused = Standing(1, refused_until=NOON + 7 * HOUR)
    assert choose([refused], GB, NOON) == WaitUntil(NOON + 7 * HOUR)
    assert choose([refused], GB, NOON + 7 * HOUR) == Chosen(1)


def test_a_file_of_more_than_a_day_takes_a_day_of_its_own() -> None:
    assert choose([Standing(1)], 2000 * GB, NOON) == Chosen(1)
    assert choose([Standing(1, spent=[hours_ago(3, 1)])], 2000 * GB, NOON) == WaitUntil(NOON + 22 * HOUR)


def test_who_waits_for_a_day_may_get_a_failing_account_before() -> None:
    spent = Standing(1, spent=[hours_ago(2, 750 * GB)])
    failing = Standing(2, failing_until=NOON + timedelta(minutes=1))
    assert choose([spent, failing], GB, NOON) == WaitUntil(NOON + timedelta(minutes=1))


def test_an_account_without_room_is_not_waited_for() -> None:
    spent_and_small = Standing(1, room=GB, spent=[hours_ago(2, 750 * GB)])
    assert choose([spent_and_small], 2 * GB, NOON) == Full()


# --- whatever the pool looks like ---

MOMENTS = st.none() | st.integers(-30, 30).map(lambda hours: NOON + hours * HOUR)


@st.composite
def pools(draw) -> list[Standing]:
    return [
        Standing(
            number,
            on=draw(st.booleans()),
            priority=draw(st.integers(1, 2)),
            room=draw(st.none() | st.integers(0, 20)),
            day_bytes=10,
            spent=[
                Spent(NOON - hours * HOUR, draw(st.integers(0, 6)))
                for hours in draw(st.lists(st.integers(0, 30), unique=True, max_size=4))
            ],
            reserved=draw(st.integers(0, 4)),
            refused_until=draw(MOMENTS),
            full_until=draw(MOMENTS),
            failing_until=draw(MOMENTS),
        )
        for number in range(draw(st.integers(0, 4)))
    ]


SIZES = st.integers(0, 15)


@given(pools(), SIZES, st.frozensets(st.integers(0, 3)))
def test_what_is_chosen_may_take_it(pool: list[Standing], size: int, avoid: frozenset[int]) -> None:
    found = choose(pool, size, NOON, avoid)
    if not isinstance(found, Chosen):
        return
    account = pool[found.id]
    assert account.on
    assert found.id not in avoid
    assert account.room is None or account.room >= size
    assert account.used(NOON) + size <= 10 or account.used(NOON) == 0
    for until in (account.refused_until, account.full_until, account.failing_until):
        assert until is None or until <= NOON


@given(pools(), SIZES)
def test_whoever_may_take_it_leaves_nobody_waiting(pool: list[Standing], size: int) -> None:
    found = choose(pool, size, NOON)
    if isinstance(found, Chosen):
        return
    for account in pool:
        assert not (
            account.on
            and account.has_room(size, NOON)
            and not account.fails(NOON)
            and (account.refused_until is None or account.refused_until <= NOON)
            and account.used(NOON) + size <= 10
        )


@given(pools(), SIZES)
def test_a_time_that_is_told_is_kept_when_nothing_is_stored_until_then(pool: list[Standing], size: int) -> None:
    found = choose(pool, size, NOON)
    if isinstance(found, WaitUntil):
        assert NOON < found.until <= NOON + 31 * HOUR
        if not any(account.reserved for account in pool):
            assert isinstance(choose(pool, size, found.until), Chosen)


@given(pools(), SIZES)
def test_it_is_full_only_where_no_account_that_is_on_has_the_room(pool: list[Standing], size: int) -> None:
    if choose(pool, size, NOON) == Full():
        assert not any(account.on and account.has_room(size, NOON) for account in pool)


def test_an_hour_counts_until_its_last_byte_is_a_day_old() -> None:
    assert Spent(NOON, 1).over_at == NOON + HOUR + DAY
