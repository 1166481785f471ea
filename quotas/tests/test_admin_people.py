"""What admins say of single persons, and what they see of them day by day."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from quotas import rules, services
from quotas.models import BlockedPerson, DailyUsage, PersonLimit

GIB = 1024**3
pytestmark = pytest.mark.django_db

ADD = "admin:quotas_personlimit_add"


@pytest.fixture(autouse=True)
def production(settings, db):
    settings.ENVIRONMENT = "production"
    settings.LIMIT_OVERRIDES = dict.fromkeys(rules.VARIABLES)
    services.seed_profiles()


@pytest.fixture
def admin_user(db) -> User:
    return User.objects.create_superuser("admin")


@pytest.fixture
def asha(db) -> User:
    return User.objects.create_user("asha", "asha@example.org")


def text_of(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def add(client: Client, **values: Any) -> Any:
    blank = {"account": "", "network": "", "file_bytes": "", "daily_bytes": "", "daily_files": "", "note": ""}
    return client.post(reverse(ADD), blank | {"until_0": "", "until_1": ""} | values, follow=True)


def errors_of(response: Any) -> list[str]:
    form = response.context["adminform"].form
    return [error for errors in form.errors.values() for error in errors]


# --- Limits of single persons -----------------------------------------------------------------------------------


def test_a_limit_for_an_address_is_written_as_people_write_it_and_in_force_at_once(admin_client: Client) -> None:
    page = add(admin_client, network=" 2001:db8::5 ", daily_bytes="50 GiB", file_bytes="20GB", daily_files="7")
    assert page.redirect_chain
    assert services.person_limits(rules.address_person("2001:db8::99")) == rules.PersonLimits(
        True, 20 * 1000**3, 50 * GIB, 7
    )
    listed = text_of(page)
    assert "2001:db8::/64" in listed
    assert "50 GiB" in listed


def test_a_limit_for_an_account_ends_when_the_form_says_so(admin_client: Client, asha: User) -> None:
    add(admin_client, account=str(asha.pk), no_limits="on", until_0="2026-12-01", until_1="18:30:00")
    (limit,) = PersonLimit.objects.all()
    assert limit.until is not None
    assert limit.until.isoformat() == "2026-12-01T18:30:00+00:00"
    person = rules.account_person(asha.pk)
    assert services.own_limits(person, limit.until - timedelta(seconds=1)) is not None
    assert services.own_limits(person, limit.until) is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"daily_bytes": "5 GiB"}, "Name either an account, or an address or network."),
        ({"network": "the office"}, "“the office” is no IP address or network."),
        ({"network": "192.0.2.7", "daily_bytes": "much"}, "“much” is not a size"),
        ({"network": "192.0.2.9/24"}, "There is an entry for this address or network already; change that one."),
    ],
)
def test_a_form_that_makes_no_sense_says_why(admin_client: Client, values: dict[str, str], sentence: str) -> None:
    PersonLimit.objects.create(network="192.0.2.0/24")
    errors = errors_of(add(admin_client, **values))
    assert any(sentence in error for error in errors), errors
    assert PersonLimit.objects.count() == 1


def test_account_and_address_together_are_refused(admin_client: Client, asha: User) -> None:
    errors = errors_of(add(admin_client, account=str(asha.pk), network="192.0.2.7"))
    assert errors == ["Name either an account, or an address or network."]


def test_the_list_tells_what_counts_from_what_is_over(admin_client: Client) -> None:
    PersonLimit.objects.create(network="192.0.2.1", until=timezone.now() - timedelta(hours=1))
    PersonLimit.objects.create(network="192.0.2.2", until=timezone.now() + timedelta(hours=1))
    PersonLimit.objects.create(network="192.0.2.3")

    def shown(value: str) -> list[str]:
        page = admin_client.get(reverse("admin:quotas_personlimit_changelist"), {"in_force": value})
        return [str(limit) for limit in page.context["cl"].result_list]

    assert shown("yes") == ["192.0.2.2", "192.0.2.3"]
    assert shown("no") == ["192.0.2.1"]


def test_only_those_with_the_permission_give_limits(client: Client) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    assert add(client, network="192.0.2.7").status_code == 403
    clerk.user_permissions.set(Permission.objects.filter(codename="add_personlimit"))
    assert add(client, network="192.0.2.7").status_code == 200
    assert PersonLimit.objects.count() == 1


# --- Daily use --------------------------------------------------------------------------------------------------


@pytest.fixture
def used(asha: User) -> User:
    today = timezone.now().date()
    DailyUsage.objects.create(person=f"account:{asha.pk}", day=today, used_bytes=3 * GIB, reserved_bytes=GIB, files=2)
    DailyUsage.objects.create(person="address:192.0.2.7", day=today, used_bytes=GIB, files=1)
    DailyUsage.objects.create(person="address:192.0.2.7", day=today - timedelta(days=1), used_bytes=GIB, files=5)
    return asha


def use(client: Client, **query: str) -> Any:
    return client.get(reverse("admin:quotas_dailyusage_changelist"), query)


def test_accounts_and_addresses_can_be_told_apart(admin_client: Client, used: User) -> None:
    def persons(**query: str) -> set[str]:
        return {usage.person for usage in use(admin_client, **query).context["cl"].result_list}

    assert persons(who="account:") == {f"account:{used.pk}"}
    assert persons(who="address:") == {"address:192.0.2.7"}


def test_what_is_listed_is_summed_up(admin_client: Client, used: User) -> None:
    assert "All in this list: 2 persons, 5 GiB used, 1 GiB reserved, 8 files." in text_of(use(admin_client))
    of_one = use(admin_client, person__exact="address:192.0.2.7")
    assert "All in this list: 1 person, 2 GiB used, 0 B reserved, 6 files." in text_of(of_one)
    assert "0 persons, 0 B used, 0 B reserved, 0 files" in text_of(use(admin_client, q="nobody at all"))


def test_daily_use_shows_whose_limits_are_their_own(admin_client: Client, used: User) -> None:
    PersonLimit.objects.create(account=used, no_limits=True)
    PersonLimit.objects.create(network="192.0.2.0/24", daily_bytes=9 * GIB)
    PersonLimit.objects.create(network="192.0.2.7", until=timezone.now() - timedelta(seconds=1), daily_bytes=1)
    page = text_of(use(admin_client))
    assert "no limits at all" in page
    assert page.count("Total a day: 9 GiB") == 2


def links(client: Client, person: str) -> dict[str, str]:
    usage = DailyUsage.objects.filter(person=person).first()
    assert usage is not None
    body = client.get(reverse("admin:quotas_dailyusage_change", args=[usage.pk])).content.decode()
    tools = body.split('<ul class="object-tools">')[1].split("</ul>")[0]
    return {label: html.unescape(address) for address, label in re.findall(r'<a href="([^"]*)">([^<]*)</a>', tools)}


@pytest.mark.django_db(transaction=True)  # the list of files looks at the slots, in a thread of its own
def test_from_a_persons_day_one_click_leads_to_their_files_and_their_limit(admin_client: Client, used: User) -> None:
    for person in (f"account:{used.pk}", "address:192.0.2.7"):
        found = links(admin_client, person)
        for address in found.values():
            assert admin_client.get(address).status_code == 200
        for label in ("Give another limit", "Block this person"):
            form = admin_client.get(found[label]).context["adminform"].form
            filled_in = {name: str(form.initial.get(name, "")) for name in ("account", "network")}
            kind, _colon, name = person.partition(":")
            assert filled_in == {"account": "", "network": ""} | {"account" if kind == "account" else "network": name}


def test_an_entry_that_is_there_is_changed_and_not_added_twice(admin_client: Client, used: User) -> None:
    limit = PersonLimit.objects.create(account=used, no_limits=True)
    found = links(admin_client, f"account:{used.pk}")
    assert found["Change their limit"] == reverse("admin:quotas_personlimit_change", args=[limit.pk])
    block = BlockedPerson.objects.create(network="192.0.2.7")
    PersonLimit.objects.create(network="192.0.2.0/24", no_limits=True)
    found = links(admin_client, "address:192.0.2.7")
    assert found["Change their block"] == reverse("admin:quotas_blockedperson_change", args=[block.pk])
    assert "Give another limit" in found, "that of a network is not their own"


def test_links_lead_nobody_where_they_may_not_go(client: Client, used: User) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_dailyusage"))
    client.force_login(clerk)
    assert "Give another limit" not in links(client, f"account:{used.pk}")


def test_an_address_that_nobody_knows_can_be_given_no_limit(admin_client: Client) -> None:
    DailyUsage.objects.create(person="address:unknown", day=timezone.now().date())
    assert "Give another limit" not in links(admin_client, "address:unknown")


def test_a_person_is_shown_as_admins_know_them_and_not_by_a_key(admin_client: Client, used: User) -> None:
    text = text_of(use(admin_client))
    assert "192.0.2.7" in text
    assert "address:" not in text
    usage = DailyUsage.objects.filter(person="address:192.0.2.7").latest("day")
    text = text_of(admin_client.get(reverse("admin:quotas_dailyusage_change", args=[usage.pk])))
    assert "address:" not in text
    assert text.count("Person:") == 1
