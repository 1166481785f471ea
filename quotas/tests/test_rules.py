import ast
import ipaddress
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from quotas import networks, rules, seeds, sizes
from quotas.rules import AudienceLimits, DayLimitExceeded, FileLimitExceeded, OwnLimits, PersonLimits, Usage
from quotas.seeds import GIB, MIB, SEEDS

NOTHING_SET: dict[str, int | bool | None] = dict.fromkeys(rules.VARIABLES)
DAY = date(2026, 11, 23)


@pytest.mark.parametrize("module", [networks, rules, seeds, sizes])
def test_the_rules_need_no_framework(module) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
    }
    imported |= {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert imported <= set(sys.stdlib_module_names) | {"quotas"}


# --- Which value wins -------------------------------------------------------------------------------------------


def test_the_profile_decides_where_the_environment_is_silent() -> None:
    for limit in rules.limits_in_force(SEEDS["production"], NOTHING_SET):
        assert limit.source == "profile"
        assert limit.value == limit.profile_value == getattr(SEEDS["production"], limit.name)
        assert not limit.overridden


def test_an_environment_variable_wins_and_is_named() -> None:
    overrides = NOTHING_SET | {"max_concurrent_uploads_per_user": 2}
    in_force = {limit.name: limit for limit in rules.limits_in_force(SEEDS["production"], overrides)}
    limit = in_force["max_concurrent_uploads_per_user"]
    assert (limit.value, limit.source, limit.profile_value) == (2, "MAX_CONCURRENT_UPLOADS_PER_USER", 5)
    assert limit.overridden
    assert in_force["max_concurrent_uploads"].source == "profile"
    assert rules.slot_limits(SEEDS["production"], overrides).per_person == 2


@pytest.mark.parametrize("zero", [0, False])
def test_a_variable_set_to_zero_or_false_wins_too(zero: int | bool) -> None:
    name = "limits_enforced" if zero is False else "reserved_memory_bytes"
    in_force = {limit.name: limit for limit in rules.limits_in_force(SEEDS["production"], {name: zero})}
    assert in_force[name].value == zero
    assert in_force[name].source == rules.VARIABLES[name]


def test_slot_limits_take_each_value_from_its_own_field() -> None:
    profile = replace(
        SEEDS["staging"],
        max_concurrent_uploads=11,
        max_concurrent_uploads_per_user=3,
        max_queued_uploads=7,
        max_memory_percent=66,
        reserved_memory_bytes=99,
    )
    assert rules.slot_limits(profile, NOTHING_SET) == rules.SlotLimits(11, 3, 7, 66, 99)


def test_nothing_is_limited_where_limits_are_not_enforced() -> None:
    unlimited = PersonLimits(False, None, None, None)
    assert rules.person_limits(SEEDS["development"], NOTHING_SET, "anonymous") == unlimited
    assert rules.person_limits(SEEDS["production"], {"limits_enforced": False}, "anonymous") == unlimited


def test_each_audience_has_its_own_limits() -> None:
    production = SEEDS["production"]
    assert rules.person_limits(production, NOTHING_SET, "anonymous") == PersonLimits(True, 2 * GIB, 2 * GIB, None)
    assert rules.person_limits(production, NOTHING_SET, "registered") == PersonLimits(True, 5 * GIB, 5 * GIB, None)


def test_the_environment_can_switch_enforcement_on() -> None:
    own = AudienceLimits(file_bytes=1, daily_bytes=2, daily_files=3)
    profile = replace(SEEDS["development"], audiences={"anonymous": own})
    assert rules.person_limits(profile, {"limits_enforced": True}, "anonymous") == PersonLimits(True, 1, 2, 3)


def test_own_limits_stand_in_place_of_the_audiences_where_they_say_something() -> None:
    production = SEEDS["production"]
    own = OwnLimits(file_bytes=50 * GIB, daily_files=0)
    assert rules.person_limits(production, NOTHING_SET, "anonymous", own) == PersonLimits(True, 50 * GIB, 2 * GIB, 0)
    assert rules.person_limits(production, NOTHING_SET, "registered", own) == PersonLimits(True, 50 * GIB, 5 * GIB, 0)
    assert rules.person_limits(production, NOTHING_SET, "anonymous", OwnLimits()) == rules.person_limits(
        production, NOTHING_SET, "anonymous"
    )


def test_somebody_without_any_limits_is_still_said_to_be_under_enforced_ones() -> None:
    own = OwnLimits(daily_bytes=5, no_limits=True)
    assert rules.person_limits(SEEDS["production"], NOTHING_SET, "anonymous", own) == PersonLimits(True)


def test_own_limits_bind_nobody_where_limits_are_not_enforced() -> None:
    own = OwnLimits(daily_bytes=5)
    assert rules.person_limits(SEEDS["development"], NOTHING_SET, "anonymous", own) == PersonLimits(False)


def test_the_seeds_are_those_of_the_product() -> None:
    table = {
        name: (
            seed.limits_enforced,
            seed.audiences["anonymous"].file_bytes,
            seed.audiences["registered"].daily_bytes,
            seed.max_memory_percent,
            seed.reserved_memory_bytes,
            seed.max_concurrent_uploads,
            seed.max_concurrent_uploads_per_user,
            seed.max_queued_uploads,
        )
        for name, seed in SEEDS.items()
    }
    assert table == {
        "development": (False, None, None, 100, 0, 20, 5, 500),
        "staging": (True, 2 * GIB, 5 * GIB, 85, 1536 * MIB, 20, 5, 500),
        "production": (True, 2 * GIB, 5 * GIB, 80, 512 * MIB, 20, 5, 500),
    }


# --- What is refused --------------------------------------------------------------------------------------------

LIMITS = PersonLimits(True, file_bytes=100, daily_bytes=250, daily_files=3)


def test_a_file_of_exactly_the_limit_is_allowed_and_one_byte_more_is_not() -> None:
    rules.check_files(LIMITS, [100])
    with pytest.raises(FileLimitExceeded) as refusal:
        rules.check_files(LIMITS, [101])
    assert (refusal.value.limit, refusal.value.size) == (100, 101)


def test_any_file_is_allowed_without_a_limit() -> None:
    rules.check_files(PersonLimits(True), [5_497_558_138_880])


def test_the_last_byte_of_the_day_is_allowed_and_one_more_is_not() -> None:
    rules.check_day(LIMITS, Usage(100, 50, 1), [100], DAY)
    with pytest.raises(DayLimitExceeded) as refusal:
        rules.check_day(LIMITS, Usage(100, 51, 1), [100], DAY)
    error = refusal.value
    assert (error.unit, error.limit, error.used, error.reserved, error.remaining) == ("bytes", 250, 100, 51, 99)
    assert error.resets_at == datetime(2026, 11, 24, tzinfo=UTC)


def test_the_last_file_of_the_day_is_allowed_and_one_more_is_not() -> None:
    rules.check_day(LIMITS, Usage(0, 0, 2), [0], DAY)
    with pytest.raises(DayLimitExceeded) as refusal:
        rules.check_day(LIMITS, Usage(0, 0, 3), [0], DAY)
    assert (refusal.value.unit, refusal.value.limit, refusal.value.remaining) == ("files", 3, 0)


def test_of_a_list_every_file_that_is_too_large_is_named() -> None:
    rules.check_files(LIMITS, [100, 0, 100])
    with pytest.raises(FileLimitExceeded) as refusal:
        rules.check_files(LIMITS, [100, 101, 5, 102])
    assert (refusal.value.positions, refusal.value.size) == ([1, 3], 101)


def test_of_a_list_the_first_file_that_does_not_fit_into_the_day_is_named() -> None:
    rules.check_day(LIMITS, Usage(100, 50, 0), [50, 50, 0], DAY)
    with pytest.raises(DayLimitExceeded) as refusal:
        rules.check_day(LIMITS, Usage(100, 50, 0), [50, 51, 99], DAY)
    assert (refusal.value.unit, refusal.value.position, refusal.value.remaining) == ("bytes", 1, 100)
    with pytest.raises(DayLimitExceeded) as refusal:
        rules.check_day(LIMITS, Usage(0, 0, 1), [1, 1, 1], DAY)
    assert (refusal.value.unit, refusal.value.position, refusal.value.remaining) == ("files", 2, 2)


def test_nothing_remains_rather_than_less_than_nothing_when_a_limit_was_lowered() -> None:
    assert rules.remaining_bytes(LIMITS, Usage(300, 50, 1)) == 0
    with pytest.raises(DayLimitExceeded) as refusal:
        rules.check_day(LIMITS, Usage(300, 50, 1), [1], DAY)
    assert refusal.value.remaining == 0


def test_what_remains_counts_used_and_reserved_bytes() -> None:
    assert rules.remaining_bytes(LIMITS, Usage(100, 50, 1)) == 100
    assert rules.remaining_bytes(PersonLimits(True), Usage(100, 50, 1)) is None


def test_even_without_a_limit_a_sum_never_leaves_its_column() -> None:
    full = Usage(rules.MOST_BYTES - 10, 5, 1)
    rules.check_day(PersonLimits(False), full, [5], DAY)
    with pytest.raises(DayLimitExceeded):
        rules.check_day(PersonLimits(False), full, [6], DAY)


# --- Days -------------------------------------------------------------------------------------------------------


def test_a_day_is_a_utc_day_wherever_the_clock_hangs() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    assert rules.utc_day(datetime(2026, 11, 24, 5, 29, tzinfo=kolkata)) == DAY
    assert rules.utc_day(datetime(2026, 11, 24, 5, 30, tzinfo=kolkata)) == DAY + timedelta(days=1)


def test_a_day_ends_at_the_next_utc_midnight() -> None:
    assert rules.end_of_day(date(2026, 12, 31)) == datetime(2027, 1, 1, tzinfo=UTC)


# --- People -----------------------------------------------------------------------------------------------------


def test_addresses_of_one_ipv6_network_are_one_person() -> None:
    assert rules.address_person("2001:db8:1:2::1") == rules.address_person("2001:db8:1:2:ffff:ffff:ffff:ffff")
    assert rules.address_person("2001:db8:1:2::1") != rules.address_person("2001:db8:1:3::1")


def test_an_ipv4_address_is_one_person_however_it_is_written() -> None:
    assert rules.address_person("::ffff:192.0.2.7") == rules.address_person("192.0.2.7")
    assert rules.address_person("192.0.2.7") != rules.address_person("192.0.2.8")


def test_what_is_no_address_counts_as_one_anonymous_person() -> None:
    assert rules.address_person("") == rules.address_person("<script>")
    assert rules.address_person("").audience == "anonymous"


def test_an_account_is_registered_and_no_address_can_name_it() -> None:
    assert rules.account_person(7).audience == "registered"
    assert rules.account_person(7).key != rules.address_person("account:7").key


PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize("address", ["10.255.0.1", "fd00::1", "::ffff:10.0.0.1"])
def test_an_address_is_in_a_network_of_its_kind(address: str) -> None:
    assert rules.is_in(address, PROXIES)
    assert not rules.is_in(address, [])


@pytest.mark.parametrize("address", ["11.0.0.1", "::a00:1", "2001:db8::1", "unknown", ""])
def test_others_and_what_is_no_address_are_in_none(address: str) -> None:
    assert not rules.is_in(address, PROXIES)


def test_forwarded_headers_of_a_stranger_are_not_believed() -> None:
    assert rules.client_address("203.0.113.5", ["198.51.100.1"], PROXIES) == "203.0.113.5"
    assert rules.client_address("10.0.0.1", ["198.51.100.1"], []) == "10.0.0.1"


def test_the_client_is_the_last_hop_before_the_trusted_proxies() -> None:
    assert rules.client_address("10.0.0.1", ["6.6.6.6", "198.51.100.1", "10.0.0.2"], PROXIES) == "198.51.100.1"


def test_what_a_client_writes_into_the_header_itself_is_not_believed() -> None:
    assert rules.client_address("10.0.0.1", ["10.0.0.9", "198.51.100.1"], PROXIES) == "198.51.100.1"


@pytest.mark.parametrize("junk", ["unknown", "198.51.100.1:443", "'; drop table", ""])
def test_junk_in_the_header_stops_the_search_at_the_proxy(junk: str) -> None:
    assert rules.client_address("10.0.0.1", ["198.51.100.1", junk], PROXIES) == "10.0.0.1"


def test_ipv6_proxies_and_bracketed_entries_are_understood() -> None:
    assert rules.client_address("fd00::1", ["[2001:db8::5]"], PROXIES) == "2001:db8::5"


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "::ffff:a00:1"])
def test_a_socket_for_both_families_knows_a_proxy_by_its_ipv4_address(peer: str) -> None:
    assert rules.client_address(peer, ["198.51.100.1", "::ffff:10.0.0.2"], PROXIES) == "198.51.100.1"
    assert rules.client_address("::ffff:203.0.113.5", ["198.51.100.1"], PROXIES) == "::ffff:203.0.113.5"
