import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from pytest_django.asserts import assertNumQueries

from quotas import rules, services
from quotas.models import AudienceLimit, DailyUsage, LimitProfile
from quotas.rules import DayLimitExceeded, FileLimitExceeded, Usage
from quotas.seeds import GIB, SEEDS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

DAY = date(2026, 11, 23)
SOMEBODY = rules.address_person("192.0.2.7")
ACCOUNT = rules.account_person(7)


@pytest.fixture(autouse=True)
def production(settings):
    settings.ENVIRONMENT = "production"
    settings.LIMIT_OVERRIDES = dict.fromkeys(rules.VARIABLES)
    services.seed_profiles()


def limit(audience: str = "anonymous", **values: int | None) -> None:
    """Change the audience limits of the active profile, as an admin does."""
    rows = AudienceLimit.objects.filter(profile__environment=django_settings.ENVIRONMENT, audience=audience)
    assert rows.update(**values) == 1


# --- Profiles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", SEEDS)
def test_a_seeded_profile_is_as_its_seed(settings, environment: str) -> None:
    settings.ENVIRONMENT = environment
    assert services.active_profile() == SEEDS[environment]
    LimitProfile.objects.all().delete()
    assert services.active_profile() == SEEDS[environment], "a missing profile behaves as its seed"


def test_seeding_again_changes_nothing_and_adds_what_is_missing() -> None:
    LimitProfile.objects.filter(environment="production").update(max_concurrent_uploads=3)
    limit(file_bytes=None, daily_bytes=1)
    LimitProfile.objects.filter(environment="staging").delete()
    AudienceLimit.objects.filter(profile__environment="production", audience="registered").delete()
    services.seed_profiles()
    services.seed_profiles()
    assert LimitProfile.objects.count() == 3
    assert AudienceLimit.objects.count() == 6
    profile = services.active_profile()
    assert profile.max_concurrent_uploads == 3
    assert profile.audiences["anonymous"] == rules.AudienceLimits(None, 1, None)
    assert profile.audiences["registered"] == SEEDS["production"].audiences["registered"]


def test_limits_are_read_in_one_query_and_anew_each_time() -> None:
    with assertNumQueries(1):
        assert services.slot_limits() == rules.SlotLimits(20, 5, 500, 80, 512 * 1024**2)
    LimitProfile.objects.filter(environment="production").update(max_concurrent_uploads=21)
    assert services.slot_limits().all_uploads == 21
    limit(daily_files=4)
    with assertNumQueries(2):  # the profile, and this person's own
        assert services.person_limits(SOMEBODY).daily_files == 4


def test_a_profile_of_another_environment_has_no_say() -> None:
    LimitProfile.objects.exclude(environment="production").update(max_concurrent_uploads=1)
    assert services.slot_limits().all_uploads == 20


def test_what_the_environment_says_wins_and_is_named(settings) -> None:
    settings.LIMIT_OVERRIDES["max_concurrent_uploads_per_user"] = 2
    in_force = {limit.name: limit for limit in services.limits_in_force()}
    assert in_force["max_concurrent_uploads_per_user"] == rules.LimitInForce(
        "max_concurrent_uploads_per_user", 2, "MAX_CONCURRENT_UPLOADS_PER_USER", 5
    )
    assert services.slot_limits().per_person == 2
    assert services.quota_info(SOMEBODY, datetime.now(UTC))["limits"]["concurrent"] == 2


def test_each_variable_reaches_the_limit_that_names_it() -> None:
    values = {
        "limits_enforced": False,
        "max_concurrent_uploads": 31,
        "max_concurrent_uploads_per_user": 32,
        "max_queued_uploads": 33,
        "max_memory_percent": 34,
        "reserved_memory_bytes": 35,
    }
    environment = os.environ | {rules.VARIABLES[name]: str(value) for name, value in values.items()}
    code = "import json, directdrivex.settings as s; print(json.dumps(s.LIMIT_OVERRIDES))"
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=django_settings.BASE_DIR, capture_output=True, check=True
    )
    assert json.loads(answer.stdout) == values


# --- Reserve ----------------------------------------------------------------------------------------------------


def test_a_reservation_counts_its_bytes_and_one_file() -> None:
    services.reserve(SOMEBODY, [100], DAY)
    services.reserve(SOMEBODY, [0], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 100, 2)


def test_a_day_can_be_filled_to_the_last_byte_and_no_further() -> None:
    limit(daily_bytes=1000)
    services.reserve(SOMEBODY, [999], DAY)
    with pytest.raises(DayLimitExceeded) as refusal:
        services.reserve(SOMEBODY, [2], DAY)
    assert (refusal.value.unit, refusal.value.limit, refusal.value.reserved, refusal.value.remaining) == (
        "bytes",
        1000,
        999,
        1,
    )
    services.reserve(SOMEBODY, [1], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 1000, 2)


@pytest.mark.parametrize("day_limit", [1, 2**31, 2 * GIB + 1, 5 * GIB, 2**40, rules.MOST_BYTES])
def test_a_limit_of_any_length_refuses_the_byte_beyond_it(day_limit: int) -> None:
    limit(file_bytes=None, daily_bytes=day_limit)
    services.reserve(SOMEBODY, [day_limit - 1], DAY)
    with pytest.raises(DayLimitExceeded):
        services.reserve(SOMEBODY, [2], DAY)
    services.reserve(SOMEBODY, [1], DAY)
    assert services.usage(SOMEBODY.key, DAY).reserved_bytes == day_limit


def test_a_refusal_leaves_everything_as_it_was() -> None:
    limit(file_bytes=10, daily_bytes=10)
    with pytest.raises(FileLimitExceeded):
        services.reserve(SOMEBODY, [11], DAY)
    assert not DailyUsage.objects.exists()
    services.reserve(SOMEBODY, [4], DAY)
    with pytest.raises(DayLimitExceeded):
        services.reserve(SOMEBODY, [7], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 4, 1)


def test_a_list_of_files_is_reserved_in_one_step() -> None:
    services.reserve(SOMEBODY, [1], DAY)
    with assertNumQueries(3):  # the limits in two, and the one UPDATE
        services.reserve(SOMEBODY, [100, 0, 23], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 124, 4)


def test_a_list_that_does_not_fit_whole_reserves_nothing() -> None:
    limit(file_bytes=10, daily_bytes=20, daily_files=3)
    services.reserve(SOMEBODY, [5], DAY)
    for sizes, position in (([10, 5, 1], 2), ([1, 1, 1], 2), ([6, 10], 1)):
        with pytest.raises(DayLimitExceeded) as refusal:
            services.reserve(SOMEBODY, sizes, DAY)
        assert refusal.value.position == position
    with pytest.raises(FileLimitExceeded) as too_large:
        services.reserve(SOMEBODY, [1, 11, 12], DAY)
    assert too_large.value.positions == [1, 2]
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 5, 1)
    services.reserve(SOMEBODY, [10, 5], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 20, 3)


def test_reserving_no_file_at_all_changes_nothing() -> None:
    limit(daily_files=0)
    services.reserve(SOMEBODY, [], DAY)
    assert not DailyUsage.objects.exists()


def test_used_bytes_count_against_the_day_as_reserved_ones_do() -> None:
    limit(daily_bytes=10)
    services.reserve(SOMEBODY, [6], DAY)
    services.commit(SOMEBODY.key, DAY, 6)
    with pytest.raises(DayLimitExceeded) as refusal:
        services.reserve(SOMEBODY, [5], DAY)
    assert (refusal.value.used, refusal.value.reserved) == (6, 0)
    services.reserve(SOMEBODY, [4], DAY)


def test_a_day_has_its_number_of_files() -> None:
    limit(daily_files=2)
    services.reserve(SOMEBODY, [1], DAY)
    services.reserve(SOMEBODY, [1], DAY)
    with pytest.raises(DayLimitExceeded) as refusal:
        services.reserve(SOMEBODY, [1], DAY)
    assert (refusal.value.unit, refusal.value.limit, refusal.value.remaining) == ("files", 2, 0)


def test_a_limit_of_nothing_refuses_the_first_file_of_the_day() -> None:
    limit(daily_files=0)
    with pytest.raises(DayLimitExceeded):
        services.reserve(SOMEBODY, [0], DAY)
    limit(daily_files=None, daily_bytes=0)
    with pytest.raises(DayLimitExceeded):
        services.reserve(SOMEBODY, [1], DAY)
    services.reserve(SOMEBODY, [0], DAY)


def test_each_person_and_each_day_has_a_quota_of_its_own() -> None:
    limit(daily_bytes=10)
    services.reserve(SOMEBODY, [10], DAY)
    services.reserve(rules.address_person("192.0.2.8"), [10], DAY)
    services.reserve(ACCOUNT, [10], DAY)
    services.reserve(SOMEBODY, [10], DAY + timedelta(days=1))
    assert DailyUsage.objects.count() == 4


def test_a_file_counts_on_the_day_of_its_initiation_however_late_it_ends() -> None:
    services.reserve(SOMEBODY, [10], DAY)
    services.commit(SOMEBODY.key, DAY, 10)
    assert services.usage(SOMEBODY.key, DAY) == Usage(10, 0, 1)
    next_morning = datetime(2026, 11, 24, 0, 0, 1, tzinfo=UTC)
    assert services.quota_info(SOMEBODY, next_morning)["used_bytes"] == 0


def test_a_lowered_limit_is_in_force_for_the_next_request_and_takes_nothing_away() -> None:
    services.reserve(SOMEBODY, [100], DAY)
    limit(daily_bytes=50)
    with pytest.raises(DayLimitExceeded) as refusal:
        services.reserve(SOMEBODY, [1], DAY)
    assert refusal.value.remaining == 0
    services.commit(SOMEBODY.key, DAY, 100)
    limit(daily_bytes=101)
    services.reserve(SOMEBODY, [1], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(100, 1, 2)


def test_limits_that_are_not_enforced_refuse_nothing_and_still_record(settings) -> None:
    limit(file_bytes=1, daily_bytes=1, daily_files=1)
    settings.LIMIT_OVERRIDES["limits_enforced"] = False
    services.reserve(SOMEBODY, [5 * GIB], DAY)
    services.reserve(SOMEBODY, [5 * GIB], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 10 * GIB, 2)


def test_no_sum_of_sizes_leaves_its_column_even_without_limits(settings) -> None:
    settings.LIMIT_OVERRIDES["limits_enforced"] = False
    services.reserve(SOMEBODY, [rules.MOST_BYTES - 1], DAY)
    with pytest.raises(DayLimitExceeded):
        services.reserve(SOMEBODY, [2], DAY)
    services.reserve(SOMEBODY, [1], DAY)
    assert services.usage(SOMEBODY.key, DAY).reserved_bytes == rules.MOST_BYTES


def test_a_negative_size_cannot_widen_the_day() -> None:
    with pytest.raises(ValueError, match="no size"):
        services.reserve(SOMEBODY, [-1], DAY)
    with pytest.raises(ValueError, match="no size"):
        services.commit(SOMEBODY.key, DAY, -1)
    with pytest.raises(ValueError, match="no size"):
        services.give_back(SOMEBODY.key, DAY, -1)


def test_a_reservation_shares_the_fate_of_its_callers_transaction() -> None:
    def reserve_and_fail() -> None:
        with transaction.atomic():
            services.reserve(SOMEBODY, [10], DAY)
            raise LookupError

    with pytest.raises(LookupError):
        reserve_and_fail()
    assert services.usage(SOMEBODY.key, DAY) == Usage()


def test_a_refusal_leaves_its_callers_transaction_usable() -> None:
    limit(daily_bytes=10)
    with transaction.atomic():
        services.reserve(SOMEBODY, [10], DAY)
        with pytest.raises(DayLimitExceeded):
            services.reserve(SOMEBODY, [1], DAY)
        services.reserve(ACCOUNT, [1], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 10, 1)
    assert services.usage(ACCOUNT.key, DAY) == Usage(0, 1, 1)


# --- Commit and give back ---------------------------------------------------------------------------------------


def test_a_commit_turns_reserved_bytes_into_used_ones_in_one_step() -> None:
    services.reserve(SOMEBODY, [10], DAY)
    with assertNumQueries(1):
        services.commit(SOMEBODY.key, DAY, 10)
    assert services.usage(SOMEBODY.key, DAY) == Usage(10, 0, 1)


def test_what_was_never_received_goes_back_and_what_was_stays_used() -> None:
    services.reserve(SOMEBODY, [10], DAY)
    with assertNumQueries(1):
        services.give_back(SOMEBODY.key, DAY, 10, keep_bytes=4)
    assert services.usage(SOMEBODY.key, DAY) == Usage(4, 0, 1)


def test_where_the_fault_is_ours_everything_goes_back() -> None:
    services.reserve(SOMEBODY, [10], DAY)
    services.reserve(SOMEBODY, [5], DAY)
    services.give_back(SOMEBODY.key, DAY, 10, forget_files=1)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 5, 1)


def test_upload_and_cancel_is_no_free_ride() -> None:
    limit(daily_bytes=10, file_bytes=10)
    for _ in range(2):
        services.reserve(SOMEBODY, [5], DAY)
        services.give_back(SOMEBODY.key, DAY, 5, keep_bytes=5)
    with pytest.raises(DayLimitExceeded):
        services.reserve(SOMEBODY, [1], DAY)


def test_a_reservation_can_be_returned_and_taken_again_without_counting_twice() -> None:
    services.reserve(SOMEBODY, [10], DAY)
    services.give_back(SOMEBODY.key, DAY, 10, forget_files=1)
    services.reserve(SOMEBODY, [10], DAY)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 10, 1)


def test_more_cannot_stay_than_was_reserved() -> None:
    services.reserve(SOMEBODY, [10], DAY)
    with pytest.raises(ValueError, match="cannot stay"):
        services.give_back(SOMEBODY.key, DAY, 10, keep_bytes=11)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 10, 1)


def test_a_drift_stops_at_zero_and_is_reported(caplog) -> None:
    services.reserve(SOMEBODY, [3], DAY)
    services.give_back(SOMEBODY.key, DAY, 10, keep_bytes=4, forget_files=1)
    assert services.usage(SOMEBODY.key, DAY) == Usage(4, 0, 0)
    assert "quota_drift" in caplog.text
    assert SOMEBODY.key in caplog.text


def test_a_file_that_was_never_counted_is_a_drift_too(caplog) -> None:
    services.reserve(SOMEBODY, [3], DAY)
    services.give_back(SOMEBODY.key, DAY, 1, forget_files=1)
    assert "quota_drift" not in caplog.text
    services.give_back(SOMEBODY.key, DAY, 2, forget_files=1)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 0, 0)
    assert "quota_drift" in caplog.text


def test_bytes_that_were_used_are_recorded_even_where_the_day_has_no_row(caplog) -> None:
    services.commit(SOMEBODY.key, DAY, 10)
    assert services.usage(SOMEBODY.key, DAY) == Usage(10, 0, 0)
    assert "quota_drift" in caplog.text


# --- What the person is told ------------------------------------------------------------------------------------


def test_the_quota_answer_is_as_the_wire_contract_has_it() -> None:
    limit(daily_files=9)
    services.reserve(SOMEBODY, [10], DAY)
    services.commit(SOMEBODY.key, DAY, 10)
    services.reserve(SOMEBODY, [5], DAY)
    info = services.quota_info(SOMEBODY, datetime(2026, 11, 23, 23, 59, 59, 999999, tzinfo=UTC))
    assert json.loads(json.dumps(info)) == {
        "enforced": True,
        "audience": "anonymous",
        "day": "2026-11-23",
        "resets_at": "2026-11-24T00:00:00Z",
        "limits": {"file_bytes": 2 * GIB, "daily_bytes": 2 * GIB, "daily_files": 9, "concurrent": 5},
        "used_bytes": 10,
        "reserved_bytes": 5,
        "remaining_bytes": 2 * GIB - 15,
        "files": 2,
    }


def test_unlimited_is_null_but_the_slots_per_person_always_hold(settings) -> None:
    settings.ENVIRONMENT = "development"
    info = services.quota_info(ACCOUNT, datetime(2026, 11, 23, tzinfo=UTC))
    assert info["enforced"] is False
    assert info["audience"] == "registered"
    assert info["limits"] == {"file_bytes": None, "daily_bytes": None, "daily_files": None, "concurrent": 5}
    assert info["remaining_bytes"] is None
