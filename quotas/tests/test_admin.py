import asyncio
from datetime import date
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import Permission, User
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from quotas import rules, services
from quotas.hints import LIMITS_GROUP
from quotas.models import AudienceLimit, DailyUsage, LimitProfile

GIB = 1024**3
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def production(settings, db):
    settings.ENVIRONMENT = "production"
    settings.LIMIT_OVERRIDES = dict.fromkeys(rules.VARIABLES)
    services.seed_profiles()


@pytest.fixture
def admin_user(db) -> User:
    return User.objects.create_superuser("admin")


def address(environment: str = "production") -> str:
    return reverse("admin:quotas_limitprofile_change", args=[LimitProfile.objects.get(environment=environment).pk])


@pytest.fixture
def change_page() -> str:
    return address()


def entries(response: Any) -> dict[str, Any]:
    """What the page's form would send as it stands."""
    data = {}
    formsets = [inline.formset for inline in response.context["inline_admin_formsets"]]
    forms = [response.context["adminform"].form]
    for formset in formsets:
        forms += [formset.management_form, *formset.forms]
    for form in forms:
        for field in form:
            if field.value() not in (None, False):
                data[field.html_name] = field.value()
    return data


def save(client: Client, environment: str = "production", **changes: Any) -> Any:
    page = address(environment)
    return client.post(page, entries(client.get(page)) | changes, follow=True)


def text_of(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def errors_of(response: Any) -> list[str]:
    inline = response.context["inline_admin_formsets"][0].formset
    forms = [response.context["adminform"].form, *inline.forms]
    return [error for form in forms for errors in form.errors.values() for error in errors]


def row(response: Any, name: str) -> str:
    """The line of the table of limits in force that begins with this name."""
    table = response.content.decode().split('class="module limits-in-force"')[1].split("</section>")[0]
    lines = [" ".join(strip_tags(line).split()) for line in table.split("<tr>")]
    return next(line for line in lines if line.startswith(name))


def warnings_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"] if message.level_tag == "warning"]


# --- What is in force -------------------------------------------------------------------------------------------


def test_the_page_says_which_value_is_in_force_and_where_it_comes_from(admin_client: Client) -> None:
    page = admin_client.get(address())
    assert "In force now, in production" in text_of(page)
    assert row(page, "Slots for all") == "Slots for all 20 profile"
    assert row(page, "Slots per person") == "Slots per person 5 profile"
    assert row(page, "Places in the line") == "Places in the line 500 profile"
    assert row(page, "Memory kept free") == "Memory kept free 512 MiB profile"
    assert row(page, "Memory ceiling") == "Memory ceiling in percent 80 % profile"
    assert row(page, "File and daily limits enforced") == "File and daily limits enforced yes profile"
    assert row(page, "Largest file (anonymous)") == "Largest file (anonymous) 2 GiB profile"
    assert row(page, "Files a day (registered)") == "Files a day (registered) unlimited profile"


def test_an_environment_variable_that_wins_is_named_beside_the_profiles_own_value(
    admin_client: Client, settings
) -> None:
    settings.LIMIT_OVERRIDES["max_concurrent_uploads_per_user"] = 2
    page = admin_client.get(address())
    assert row(page, "Slots per person") == (
        "Slots per person 2 environment variable MAX_CONCURRENT_UPLOADS_PER_USER; the profile says 5"
    )
    assert row(page, "Slots for all") == "Slots for all 20 profile"


def test_limits_that_the_environment_switches_off_are_shown_as_unlimited(admin_client: Client, settings) -> None:
    settings.LIMIT_OVERRIDES["limits_enforced"] = False
    page = admin_client.get(address())
    assert row(page, "Largest file (anonymous)") == (
        "Largest file (anonymous) unlimited environment variable ENABLE_UPLOAD_LIMITS; the profile says 2 GiB"
    )
    assert row(page, "Files a day (anonymous)") == "Files a day (anonymous) unlimited profile"


def test_a_profile_of_another_environment_is_marked_as_not_in_force(admin_client: Client) -> None:
    sentence = "The profile below is not in force: the environment here is production."
    assert sentence in text_of(admin_client.get(address("staging")))
    assert sentence not in text_of(admin_client.get(address("production")))


def test_the_list_of_profiles_marks_the_one_in_force(admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:quotas_limitprofile_changelist"))
    assert "In force now, in production" in text_of(page)
    rows = page.content.decode().split("<tbody>")[-1].split("</tr>")
    marks = {
        profile: "icon-yes" in line.split("field-is_in_force")[1].split("</td>")[0]
        for line in rows
        for profile in ("development", "staging", "production")
        if f">{profile}<" in line
    }
    assert marks == {"development": False, "staging": False, "production": True}


# --- Changing it ------------------------------------------------------------------------------------------------


def test_a_change_is_in_force_for_the_next_request(admin_client: Client) -> None:
    response = save(admin_client, max_concurrent_uploads="33", max_concurrent_uploads_per_user="7")
    assert response.redirect_chain
    assert services.slot_limits().all_uploads == 33
    assert row(admin_client.get(address()), "Slots per person") == "Slots per person 7 profile"


def test_sizes_are_entered_as_people_write_them(admin_client: Client) -> None:
    changes = {
        "reserved_memory_bytes": "1.5 GiB",
        "audience_limits-0-file_bytes": "3 GiB",
        "audience_limits-0-daily_bytes": "3624892618",
        "audience_limits-1-file_bytes": "",
        "audience_limits-1-daily_bytes": "",
    }
    save(admin_client, **changes)
    assert services.slot_limits().reserved_memory_bytes == 3 * GIB // 2
    assert services.person_limits(rules.address_person("192.0.2.7")).file_bytes == 3 * GIB
    assert services.person_limits(rules.address_person("192.0.2.7")).daily_bytes == 3_624_892_618
    assert services.person_limits(rules.account_person(1)) == rules.PersonLimits(True, None, None, None)


def test_an_input_shows_its_size_in_words_and_the_bytes_it_means(admin_client: Client) -> None:
    page = admin_client.get(address()).content.decode()
    assert 'name="audience_limits-0-file_bytes" value="2 GiB"' in page
    assert '<span class="size-echo">= 2,147,483,648 bytes</span>' in page
    save(admin_client, **{"audience_limits-0-file_bytes": ""})
    assert '<span class="size-echo">unlimited</span>' in admin_client.get(address()).content.decode()


def test_saving_without_a_change_changes_nothing(admin_client: Client) -> None:
    AudienceLimit.objects.filter(audience="anonymous").update(file_bytes=3_624_892_618)
    before = services.active_profile()
    response = save(admin_client)
    assert response.redirect_chain
    assert services.active_profile() == before
    history = admin_client.get(address().replace("/change/", "/history/")).content.decode()
    assert "No fields changed." in history


@pytest.mark.parametrize("nonsense", ["much", "-1", "1,500 MB", "2 GiB and more", "1e99", "<b>2</b>"])
def test_a_nonsense_size_is_refused_with_a_sentence_and_loses_nothing(admin_client: Client, nonsense: str) -> None:
    before = services.active_profile()
    response = save(admin_client, max_concurrent_uploads="33", **{"audience_limits-0-file_bytes": nonsense})
    assert errors_of(response) == [f"“{nonsense}” is not a size. Write it like 2 GiB, 500 MB or 1048576 (bytes)."]
    assert services.active_profile() == before
    assert "<b>2</b>" not in response.content.decode()
    assert 'value="33"' in response.content.decode(), "what else was typed is still there"


def test_a_size_beyond_what_can_be_stored_is_refused_with_a_sentence(admin_client: Client) -> None:
    response = save(admin_client, reserved_memory_bytes="9000 PiB")
    assert errors_of(response) == ["“9000 PiB” is more than can be stored; the most is 8191 PiB."]
    save(admin_client, reserved_memory_bytes="8191 PiB")
    assert services.slot_limits().reserved_memory_bytes == 8191 * 1024**5


def test_one_person_cannot_have_more_slots_than_there_are_for_all(admin_client: Client) -> None:
    response = save(admin_client, max_concurrent_uploads="4", max_concurrent_uploads_per_user="5")
    assert errors_of(response) == ["One person cannot have more slots (5) than there are for all (4)."]
    assert services.slot_limits().all_uploads == 20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrent_uploads", "0"),
        ("max_concurrent_uploads_per_user", "0"),
        ("max_queued_uploads", "-1"),
        ("max_memory_percent", "101"),
        ("max_memory_percent", "0"),
        ("max_concurrent_uploads", "99999999999999999999"),
        ("audience_limits-0-daily_files", "-1"),
        ("audience_limits-0-daily_files", "9999999999"),
        ("reserved_memory_bytes", ""),
    ],
)
def test_a_number_out_of_range_is_refused_beside_its_field(admin_client: Client, field: str, value: str) -> None:
    before = services.active_profile()
    response = save(admin_client, **{field: value})
    assert len(errors_of(response)) >= 1
    assert not response.redirect_chain
    assert services.active_profile() == before


def test_a_day_below_its_largest_file_is_saved_with_a_warning(admin_client: Client) -> None:
    response = save(admin_client, **{"audience_limits-0-daily_bytes": "1 GiB"})
    assert warnings_of(response) == [
        "Anonymous: one file may be larger (2 GiB) than all of a day together (1 GiB), "
        "so files above 1 GiB are refused all the same."
    ]
    assert services.person_limits(rules.address_person("192.0.2.7")).daily_bytes == GIB


def test_changing_what_the_environment_overrides_says_that_it_has_no_effect(admin_client: Client, settings) -> None:
    settings.LIMIT_OVERRIDES["max_queued_uploads"] = 9
    assert warnings_of(save(admin_client, max_queued_uploads="50")) == [
        "“Places in the line” stays at 9, because the environment variable MAX_QUEUED_UPLOADS is set and wins."
    ]
    assert warnings_of(save(admin_client, max_concurrent_uploads="50")) == []


def test_changing_another_environments_profile_says_that_it_is_not_in_force(admin_client: Client) -> None:
    assert warnings_of(save(admin_client, "staging", max_queued_uploads="50")) == [
        "This profile is not in force: the environment here is production."
    ]
    assert services.slot_limits().queued == 500


@pytest.mark.django_db(transaction=True)
async def test_a_change_wakes_whoever_goes_by_the_limits(
    async_client: AsyncClient, admin_user: User, change_page: str
) -> None:
    layer = get_channel_layer()
    await layer.group_add(LIMITS_GROUP, "keeper!1")
    await async_client.aforce_login(admin_user)
    data = entries(await async_client.get(change_page))
    refused = await async_client.post(change_page, data | {"max_concurrent_uploads": "0"})
    assert refused.status_code == 200
    saved = await async_client.post(change_page, data | {"max_concurrent_uploads": "44"})
    assert saved.status_code == 302
    async with asyncio.timeout(5):
        assert await layer.receive("keeper!1") == {"type": "limits.changed"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await layer.receive("keeper!1")


# --- Who may ----------------------------------------------------------------------------------------------------


def test_profiles_and_audiences_are_neither_added_nor_deleted(admin_client: Client) -> None:
    assert admin_client.get(reverse("admin:quotas_limitprofile_add")).status_code == 403
    profile = LimitProfile.objects.get(environment="production")
    gone = reverse("admin:quotas_limitprofile_delete", args=[profile.pk])
    assert admin_client.post(gone, {"post": "yes"}).status_code == 403
    save(
        admin_client,
        **{
            "audience_limits-0-DELETE": "on",
            "audience_limits-TOTAL_FORMS": "3",
            "audience_limits-2-file_bytes": "1",
        },
    )
    assert profile.audience_limits.count() == 2


def test_neither_environment_nor_audience_can_be_renamed(admin_client: Client) -> None:
    save(admin_client, environment="staging", **{"audience_limits-0-audience": "registered"})
    assert LimitProfile.objects.filter(environment="production").count() == 1
    profile = LimitProfile.objects.get(environment="production")
    assert set(profile.audience_limits.values_list("audience", flat=True)) == {"anonymous", "registered"}


@pytest.mark.parametrize("name", ["quotas_limitprofile_changelist", "quotas_dailyusage_changelist"])
def test_nobody_but_staff_sees_limits_and_use(client: Client, name: str) -> None:
    assert client.get(reverse(f"admin:{name}")).status_code == 302
    client.force_login(User.objects.create_user("visitor"))
    assert client.get(reverse(f"admin:{name}")).status_code == 302
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get(reverse(f"admin:{name}")).status_code == 403


def test_staff_who_may_only_look_cannot_change(client: Client) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_limitprofile", "view_audiencelimit"]))
    client.force_login(clerk)
    page = client.get(address())
    assert row(page, "Slots for all") == "Slots for all 20 profile"
    assert client.post(address(), {"max_concurrent_uploads": "1"}).status_code == 403
    assert services.slot_limits().all_uploads == 20


# --- Daily use --------------------------------------------------------------------------------------------------


@pytest.fixture
def used():
    someone = User.objects.create_user("asha", "asha@example.org")
    today = timezone.now().date()
    account = rules.account_person(someone.pk).key
    DailyUsage.objects.create(person=account, day=today, used_bytes=3_624_892_618, reserved_bytes=GIB, files=2)
    DailyUsage.objects.create(person="address:192.0.2.7", day=today, used_bytes=5, files=1)
    DailyUsage.objects.create(person="address:192.0.2.7", day=date(2026, 1, 2), used_bytes=6 * 1024, files=1)
    DailyUsage.objects.create(person=rules.account_person(999_999).key, day=date(2026, 1, 2), files=1)
    return someone


def listed(client: Client, **query: str) -> list[str]:
    page = client.get(reverse("admin:quotas_dailyusage_changelist"), query)
    return [usage.account_name or usage.person for usage in page.context["cl"].result_list]


def test_daily_use_is_listed_in_human_sizes_with_the_names_of_accounts(admin_client: Client, used: User) -> None:
    page = text_of(admin_client.get(reverse("admin:quotas_dailyusage_changelist")))
    assert "asha" in page
    assert "3.38 GiB" in page
    assert "1 GiB" in page
    assert "6 KiB" in page
    assert "account:999999" in page


def test_daily_use_can_be_searched_by_person_and_filtered_by_day(admin_client: Client, used: User) -> None:
    assert listed(admin_client, q="192.0.2.7") == ["address:192.0.2.7", "address:192.0.2.7"]
    assert listed(admin_client, q="ASHA@example") == ["asha"]
    assert listed(admin_client, q="nobody at all") == []
    assert listed(admin_client, day__year="2026", day__month="1", day__day="2") == [
        "account:999999",
        "address:192.0.2.7",
    ]


def test_a_page_of_daily_use_costs_no_query_a_row(
    admin_client: Client, used: User, django_assert_max_num_queries
) -> None:
    for number in range(50):
        someone = User.objects.create_user(f"person {number}")
        DailyUsage.objects.create(person=rules.account_person(someone.pk).key, day=date(2026, 2, 1))
    with django_assert_max_num_queries(12):
        assert "person 49" in listed(admin_client)


def test_daily_use_can_be_looked_at_and_not_changed(admin_client: Client, used: User) -> None:
    usage = DailyUsage.objects.get(used_bytes=3_624_892_618)
    page = reverse("admin:quotas_dailyusage_change", args=[usage.pk])
    assert "3.38 GiB" in text_of(admin_client.get(page))
    assert "asha" in text_of(admin_client.get(page))
    assert admin_client.post(page, {"used_bytes": "0"}).status_code == 403
    assert admin_client.get(reverse("admin:quotas_dailyusage_add")).status_code == 403
    usage.refresh_from_db()
    assert usage.used_bytes == 3_624_892_618


def test_the_pages_need_no_inline_script_or_style(admin_client: Client, used: User) -> None:
    for page in (
        address(),
        reverse("admin:quotas_limitprofile_changelist"),
        reverse("admin:quotas_dailyusage_changelist"),
    ):
        body = admin_client.get(page).content.decode()
        assert "<style" not in body
        assert " style=" not in body
        assert "onclick=" not in body
        assert "<script>" not in body
