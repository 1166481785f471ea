"""Limits of single persons over the real database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django.asserts import assertNumQueries

from quotas import rules, services
from quotas.models import PersonLimit
from quotas.rules import PersonLimits, account_person, address_person
from quotas.seeds import GIB

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

SOMEBODY = address_person("192.0.2.7")
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def production(settings):
    settings.ENVIRONMENT = "production"
    settings.LIMIT_OVERRIDES = dict.fromkeys(rules.VARIABLES)
    services.seed_profiles()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("asha")


def day_of(person: rules.Person) -> int | None:
    return services.person_limits(person).daily_bytes


def test_an_account_has_limits_of_its_own_at_once(user: User) -> None:
    person = account_person(user.pk)
    assert services.person_limits(person) == PersonLimits(True, 5 * GIB, 5 * GIB, None)
    limit = PersonLimit.objects.create(account=user, file_bytes=50 * GIB, daily_bytes=100 * GIB)
    assert services.person_limits(person) == PersonLimits(True, 50 * GIB, 100 * GIB, None)
    assert day_of(account_person(user.pk + 1)) == 5 * GIB, "nobody else's limits change"
    limit.delete()
    assert services.person_limits(person) == PersonLimits(True, 5 * GIB, 5 * GIB, None)


def test_the_most_specific_network_in_force_wins() -> None:
    PersonLimit.objects.create(network="192.0.0.0/16", daily_bytes=1)
    PersonLimit.objects.create(network="192.0.2.0/24", daily_bytes=2)
    own = PersonLimit.objects.create(network="192.0.2.7", daily_bytes=3)
    assert day_of(SOMEBODY) == 3
    assert day_of(address_person("192.0.2.8")) == 2
    assert day_of(address_person("192.0.3.8")) == 1
    assert day_of(address_person("198.51.100.1")) == 2 * GIB
    PersonLimit.objects.filter(pk=own.pk).update(until=timezone.now())
    assert day_of(SOMEBODY) == 2, "what is over is as if it were not there"


def test_a_network_says_nothing_of_somebody_who_signed_in(user: User) -> None:
    PersonLimit.objects.create(network="0.0.0.0/0", no_limits=True)
    assert day_of(SOMEBODY) is None
    assert day_of(account_person(user.pk)) == 5 * GIB


@pytest.mark.parametrize("written", ["2001:db8:1:2::5", "2001:db8:1:2::5/128", "2001:DB8:1:2::/64"])
def test_an_ipv6_address_means_its_whole_64(written: str) -> None:
    PersonLimit.objects.create(network=written, daily_bytes=1)
    assert PersonLimit.objects.get().network == "2001:db8:1:2::/64"
    assert day_of(address_person("2001:db8:1:2:ffff::1")) == 1
    assert day_of(address_person("2001:db8:1:3::1")) == 2 * GIB


def test_a_limit_ends_by_itself_at_its_moment() -> None:
    end = datetime(2026, 12, 1, tzinfo=UTC)
    PersonLimit.objects.create(network="192.0.2.7", daily_bytes=9 * GIB, until=end)

    def info(now: datetime) -> dict[str, Any]:
        return services.quota_info(SOMEBODY, now)

    before, at_the_end = info(end - SECOND), info(end)
    assert (before["limits"]["daily_bytes"], before["override_until"]) == (9 * GIB, "2026-12-01T00:00:00Z")
    assert (at_the_end["limits"]["daily_bytes"], at_the_end.get("override_until")) == (2 * GIB, None)


def test_a_reservation_goes_by_the_persons_own_limits() -> None:
    day = rules.utc_day(timezone.now())
    with pytest.raises(rules.FileLimitExceeded):
        services.reserve(SOMEBODY, [3 * GIB], day)
    limit = PersonLimit.objects.create(network="192.0.2.7", file_bytes=3 * GIB, daily_bytes=5 * GIB, daily_files=2)
    services.reserve(SOMEBODY, [3 * GIB], day)
    with pytest.raises(rules.DayLimitExceeded) as refused:
        services.reserve(SOMEBODY, [3 * GIB], day)
    assert (refused.value.limit, refused.value.reserved) == (5 * GIB, 3 * GIB)
    PersonLimit.objects.filter(pk=limit.pk).update(no_limits=True)
    services.reserve(SOMEBODY, [30 * GIB] * 4, day)
    PersonLimit.objects.filter(pk=limit.pk).update(until=timezone.now() - SECOND)
    with pytest.raises(rules.DayLimitExceeded):
        services.reserve(SOMEBODY, [1], day)


def test_a_lowered_limit_leaves_what_was_used_alone_and_refuses_more() -> None:
    day = rules.utc_day(timezone.now())
    services.reserve(SOMEBODY, [GIB], day)
    PersonLimit.objects.create(network="192.0.2.7", daily_bytes=GIB // 2)
    info = services.quota_info(SOMEBODY, timezone.now())
    assert (info["reserved_bytes"], info["remaining_bytes"], info.get("override_until")) == (GIB, 0, None)
    with pytest.raises(rules.DayLimitExceeded):
        services.reserve(SOMEBODY, [1], day)
    services.commit(SOMEBODY.key, day, GIB)


def test_they_are_read_in_one_query_each() -> None:
    for person in (SOMEBODY, account_person(7), address_person("2001:db8::1")):
        with assertNumQueries(1):
            assert services.own_limits(person, timezone.now()) is None


def test_an_address_that_nobody_knows_has_none() -> None:
    PersonLimit.objects.create(network="0.0.0.0/0", no_limits=True)
    assert services.own_limits(address_person("nonsense"), timezone.now()) is None


def test_there_is_one_a_person(user: User) -> None:
    PersonLimit.objects.create(account=user)
    PersonLimit.objects.create(network="2001:db8::/64")
    for values in ({"account": user}, {"network": "2001:db8::7"}, {}, {"account": user, "network": "192.0.2.7"}):
        with pytest.raises(ValidationError):
            PersonLimit(**values).full_clean()
        with pytest.raises(IntegrityError), transaction.atomic():
            PersonLimit.objects.create(**values)
    with pytest.raises(ValidationError, match="no IP address or network"):
        PersonLimit(network="the office").full_clean()


def test_it_goes_with_the_account(user: User) -> None:
    PersonLimit.objects.create(account=user)
    user.delete()
    assert not PersonLimit.objects.exists()
