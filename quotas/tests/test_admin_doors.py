"""The pages that shut doors, and that always stay open themselves."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from quotas.models import BlockedPerson, Maintenance

pytestmark = pytest.mark.django_db

SWITCH, INDEX = "admin:quotas_maintenance_switch", "admin:index"


@pytest.fixture
def admin_user(db) -> User:
    return User.objects.create_superuser("admin")


def text_of(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def switch(client: Client, to: str) -> Any:
    return client.post(reverse(SWITCH), {"to": to}, follow=True)


# --- Maintenance ------------------------------------------------------------------------------------------------


def test_one_button_on_the_first_page_shuts_all_doors_and_one_on_every_page_opens_them(
    admin_client: Client, admin_user: User
) -> None:
    assert "Switch maintenance on" in text_of(admin_client.get(reverse(INDEX)))
    page = switch(admin_client, "on")
    (row,) = Maintenance.objects.all()
    assert row.on
    assert row.switched_by == admin_user
    assert row.switched_at is not None
    assert "Switch maintenance on" not in text_of(page)
    for name in (INDEX, "admin:live", "admin:quotas_dailyusage_changelist"):
        shown = text_of(admin_client.get(reverse(name)))
        assert "Maintenance is on: nobody can send or download." in shown
        assert "Open the doors again" in shown
    switch(admin_client, "off")
    assert not Maintenance.objects.get().on
    assert "Maintenance is on" not in text_of(admin_client.get(reverse("admin:live")))


def test_pressing_the_same_button_twice_switches_once(admin_client: Client) -> None:
    switch(admin_client, "on")
    first = Maintenance.objects.get().switched_at
    switch(admin_client, "on")
    assert Maintenance.objects.get().on
    assert Maintenance.objects.get().switched_at == first


def test_the_page_of_the_switch_takes_a_message_and_a_duration(admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:quotas_maintenance_changelist"), follow=True)
    address = page.redirect_chain[-1][0]
    admin_client.post(address, {"on": "on", "message": "A <new> disk.", "minutes": "30"})
    row = Maintenance.objects.get()
    assert (row.on, row.message, row.minutes) == (True, "A <new> disk.", 30)
    switched_at = row.switched_at
    assert switched_at is not None
    assert "People read: “A &lt;new&gt; disk.”" in admin_client.get(reverse(INDEX)).content.decode()
    admin_client.post(address, {"on": "on", "message": "Still at it.", "minutes": "45"})
    assert Maintenance.objects.get().switched_at == switched_at, "a new message is no new beginning"


def test_looking_at_the_switch_changes_nothing(admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:quotas_maintenance_changelist"), follow=True)
    assert page.status_code == 200
    assert not Maintenance.objects.exists()
    assert admin_client.get(reverse("admin:quotas_maintenance_change", args=[2]), follow=True).redirect_chain


@pytest.mark.parametrize("values", [{"message": "x" * 301}, {"minutes": "0"}, {"minutes": "10081"}, {"minutes": "-5"}])
def test_what_makes_no_sense_is_refused(admin_client: Client, values: dict[str, str]) -> None:
    Maintenance.objects.create()
    page = admin_client.post(reverse("admin:quotas_maintenance_change", args=[1]), {"on": "on", **values})
    assert page.context["adminform"].form.errors
    assert not Maintenance.objects.get().on


def test_the_switch_takes_no_link_and_nobody_without_the_permission(admin_client: Client, client: Client) -> None:
    assert admin_client.get(reverse(SWITCH)).status_code == 405
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    assert switch(client, "on").status_code == 403
    assert client.get(reverse("admin:quotas_maintenance_changelist")).status_code == 403
    assert "Switch maintenance on" not in text_of(client.get(reverse(INDEX)))
    assert not Maintenance.objects.filter(on=True).exists()
    clerk.user_permissions.set(Permission.objects.filter(codename="change_maintenance"))
    switch(client, "on")
    assert Maintenance.objects.get().on


def test_the_switch_wants_the_secret_of_the_page() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    assert client.post(reverse(SWITCH), {"to": "on"}).status_code == 403
    assert not Maintenance.objects.filter(on=True).exists()


# --- Blocked persons --------------------------------------------------------------------------------------------


def block(client: Client, **values: str) -> Any:
    blank = {"account": "", "network": "", "until_0": "", "until_1": "", "reason": ""}
    return client.post(reverse("admin:quotas_blockedperson_add"), blank | values, follow=True)


def test_a_block_keeps_who_made_it_and_when(admin_client: Client, admin_user: User) -> None:
    block(admin_client, network="2001:db8::7", reason="sends strange letters")
    (row,) = BlockedPerson.objects.all()
    assert (row.network, row.reason, row.created_by) == ("2001:db8::/64", "sends strange letters", admin_user)
    other = User.objects.create_superuser("other")
    client = Client()
    client.force_login(other)
    address = reverse("admin:quotas_blockedperson_change", args=[row.pk])
    client.post(address, {"account": "", "network": "2001:db8::/48", "until_0": "", "until_1": "", "reason": ""})
    row.refresh_from_db()
    assert (row.network, row.created_by) == ("2001:db8::/48", admin_user), "a change has another maker than the block"


def test_who_blocks_themselves_is_told_that_these_pages_stay_open(admin_client: Client, admin_user: User) -> None:
    page = block(admin_client, account=str(admin_user.pk))
    assert "That is you. These pages stay open to you; everything else is shut." in text_of(page)
    assert admin_client.get(reverse(INDEX)).status_code == 200


def test_the_list_tells_what_counts_and_why(admin_client: Client) -> None:
    block(admin_client, network="192.0.2.7", until_0="2026-01-01", until_1="00:00", reason="once")
    block(admin_client, network="192.0.2.8", reason="still")
    for value, reason in (("yes", "still"), ("no", "once")):
        page = admin_client.get(reverse("admin:quotas_blockedperson_changelist"), {"in_force": value})
        assert [row.reason for row in page.context["cl"].result_list] == [reason]


def test_one_person_is_blocked_once(admin_client: Client) -> None:
    block(admin_client, network="192.0.2.7")
    page = block(admin_client, network="192.0.2.7/32")
    assert "There is an entry for this address or network already; change that one." in text_of(page)
