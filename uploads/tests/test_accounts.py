"""Signing in and out: for people whose account an admin made, on pages that look and speak like the others."""

from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils.html import strip_tags

from uploads import people

pytestmark = pytest.mark.django_db

LOGIN, LOGOUT, PASSWORD = "/accounts/login/", "/accounts/logout/", "/accounts/password/"
SECRET = "a long password for tests"


@pytest.fixture
def asha(db: Any) -> User:
    return User.objects.create_user("asha", password=SECRET)


def sign_in(client: Client, password: str = SECRET, **more: Any) -> Any:
    return client.post(LOGIN, {"username": "asha", "password": password, **more})


def text_of(answer: Any) -> str:
    return " ".join(strip_tags(answer.content.decode()).split())


@pytest.mark.django_db(transaction=True)
def test_somebody_with_an_account_signs_in_and_is_named_on_the_pages(client: Client, asha: User) -> None:
    assert "Sign in" in text_of(client.get("/"))
    answer = sign_in(client)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    page = text_of(client.get("/"))
    assert "asha" in page
    assert "Sign out" in page
    assert client.get("/api/v1/upload/quota-info").json()["audience"] == "registered"


@pytest.mark.django_db(transaction=True)
def test_signing_out_takes_a_button_and_no_link(client: Client, asha: User) -> None:
    sign_in(client)
    assert client.get(LOGOUT).status_code == 405
    assert "asha" in text_of(client.get("/"))
    answer = client.post(LOGOUT)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert "asha" not in text_of(client.get("/"))


@pytest.mark.django_db(transaction=True)
def test_an_account_is_one_person_on_all_its_devices(asha: User) -> None:
    """The same request from another browser makes no second file; nor does one before the first cookie."""
    made = set()
    for device in (Client(), Client()):
        device.force_login(asha)
        for _ in range(2):
            answer = device.post(
                "/api/v1/upload/initiate",
                {"filename": "once", "size": 5},
                content_type="application/json",
                headers={"Idempotency-Key": "one-and-the-same"},
            )
            made.add(answer.json()["file_id"])
    assert len(made) == 1


@pytest.mark.parametrize("path", [LOGIN, LOGOUT, PASSWORD])
def test_every_form_wants_the_secret_of_the_page(asha: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(asha)
    assert client.post(path, {"username": "asha", "password": SECRET}).status_code == 403


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/f/4dbfdf0a-0000-4000-8000-000000000000", "/f/4dbfdf0a-0000-4000-8000-000000000000"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("http://testserver@evil.example/", "/"),
        (LOGIN, "/"),
    ],
)
def test_one_comes_back_to_where_one_was_and_never_elsewhere(
    client: Client, asha: User, wanted: str, reached: str
) -> None:
    answer = sign_in(client, next=wanted)
    assert (answer.status_code, answer["Location"]) == (302, reached)
    again = client.get(LOGIN, {"next": wanted})
    assert (again.status_code, again["Location"]) == (302, reached), "who is signed in already is sent on"


def test_the_link_to_sign_in_remembers_the_page(client: Client) -> None:
    page = client.get("/nowhere/फ़ाइल?x=1").content.decode()
    assert 'href="/accounts/login/?next=/nowhere/%E0%A4%AB' in page


@pytest.mark.parametrize("name", ["asha", "nobody"])
def test_a_wrong_password_and_a_wrong_name_are_told_alike(client: Client, asha: User, name: str) -> None:
    answer = client.post(LOGIN, {"username": name, "password": "wrong"})
    assert answer.status_code == 200
    assert "Please enter a correct username and password." in text_of(answer)


def test_after_too_many_wrong_passwords_a_page_says_how_long_to_wait(client: Client, asha: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    for _ in range(2):
        assert sign_in(client, "wrong").status_code == 200
    for password in ("wrong", "wrong", SECRET):
        answer = sign_in(client, password)
        assert answer.status_code == 429
        assert "It opens again within 15 minutes." in text_of(answer)
        assert answer["Retry-After"] == "900"
    for path in (LOGIN, "/admin/login/"):
        hindi = client.post(
            path, {"username": "asha", "password": SECRET}, headers={"accept-language": "hi"}
        ).content.decode()
        assert "बहुत ज़्यादा कोशिशें" in hindi
        assert 'lang="hi"' in hindi
    assert client.get("/").status_code == 200, "only signing in is closed"
    assert sign_in(Client(REMOTE_ADDR="192.0.2.99")).status_code == 302, "others are not locked out with them"


@pytest.mark.every_database
def test_who_is_locked_out_fills_no_table_however_often_and_with_whatever_they_try(settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    for number in range(10):
        Client().post(LOGIN, {"username": f"{number}{'u' * 100_000}", "password": "wrong"})
    attempts = AccessAttempt.objects.all()
    assert attempts.count() == 3
    assert all(len(attempt.username) <= 150 and len(attempt.post_data) < 2000 for attempt in attempts)


def test_failed_sign_ins_from_one_ipv6_network_count_together(asha: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    for number in range(3):
        sign_in(Client(REMOTE_ADDR=f"2001:db8:1:2::{number + 1}"), "wrong")
    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:2:ffff::9")).status_code == 429
    assert sign_in(Client(REMOTE_ADDR="2001:db8:1:3::9")).status_code == 302
    assert set(AccessAttempt.objects.values_list("ip_address", flat=True)) == {"2001:db8:1:2::"}


@pytest.mark.parametrize(
    ("peer", "address"),
    [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8::7", "2001:db8::"), ("", ""), ("x", "")],
)
def test_sign_ins_are_counted_by_address(rf: Any, peer: str, address: str) -> None:
    assert people.client_address(rf.get("/", REMOTE_ADDR=peer)) == address


@pytest.mark.django_db(transaction=True)
def test_a_password_is_changed_by_who_knows_the_old_one(client: Client, asha: User) -> None:
    assert client.get(PASSWORD)["Location"] == f"{LOGIN}?next={PASSWORD}"
    sign_in(client)
    other_device = Client()
    sign_in(other_device)
    new = "another long password for tests"
    refused = client.post(PASSWORD, {"old_password": "wrong", "new_password1": new, "new_password2": new})
    assert "Your old password was entered incorrectly." in text_of(refused)
    weak = client.post(PASSWORD, {"old_password": SECRET, "new_password1": "12345678", "new_password2": "12345678"})
    assert "This password is too common." in text_of(weak)
    done = client.post(PASSWORD, {"old_password": SECRET, "new_password1": new, "new_password2": new}, follow=True)
    assert "Your password is changed" in text_of(done)
    assert "asha" in text_of(client.get("/")), "this device stays signed in"
    assert "asha" not in text_of(other_device.get("/")), "and the other one does not"
    client.post(LOGOUT)
    assert sign_in(client).status_code == 200
    assert sign_in(client, new).status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/", "/nowhere", "/f/4dbfdf0a-0000-4000-8000-000000000000"])
async def test_every_page_knows_who_is_signed_in_as_the_server_serves_it(async_client: AsyncClient, path: str) -> None:
    await async_client.aforce_login(await User.objects.acreate(username="<b>asha</b>"))
    answer = await async_client.get(path)
    assert answer.status_code in (200, 404)
    assert "&lt;b&gt;asha&lt;/b&gt;" in answer.content.decode()


@pytest.mark.parametrize("path", [LOGIN, PASSWORD, "/accounts/password/changed/"])
def test_the_pages_speak_hindi_and_have_nothing_inline(client: Client, asha: User, path: str) -> None:
    if path != LOGIN:
        sign_in(client)
    page = client.get(path, headers={"accept-language": "hi"}).content.decode()
    assert 'lang="hi"' in page
    assert "<style" not in page
    assert " style=" not in page
    words = strip_tags(page.split("<main")[1].split("</main>")[0])
    assert not [word for word in words.split() if word.isascii() and word.isalpha()], words


def test_a_password_has_one_name_in_hindi(client: Client, asha: User) -> None:
    hindi = {"accept-language": "hi"}
    wrong = client.post(LOGIN, {"username": "asha", "password": "wrong"}, headers=hindi)
    sign_in(client)
    for answer in (wrong, client.post(PASSWORD, {"old_password": "wrong"}, headers=hindi)):
        text = text_of(answer)
        assert "पासवर्ड" in text
        assert "शब्दकूट" not in text
        assert "कूटशब्द" not in text
