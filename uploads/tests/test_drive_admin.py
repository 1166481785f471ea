"""Drive accounts in the admin: what goes in never comes out, and the walk through Google's consent."""

import re
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from devtools.emulator_process import EmulatorProcess
from uploads.drive_consent import KEPT
from uploads.drive_models import DriveAccount, DriveHour, DriveUpload, Kind
from uploads.storage.gdrive import circuits, troubles
from uploads.storage.gdrive.sealed import client_of
from uploads.tests.drive_rig import (
    CLIENT,
    drive,
    module_emulator,
    oauth_account,
    secrets_of,
    service_account,
    service_key,
    shared_drive,
)

__all__ = ["drive", "module_emulator"]
pytestmark = pytest.mark.django_db(transaction=True)

LIST, ADD = "admin:uploads_driveaccount_changelist", "admin:uploads_driveaccount_add"
BACK = "http://localhost/admin/uploads/driveaccount/connected/"


@pytest.fixture(autouse=True)
def on_drive(settings: Any) -> None:
    settings.STORAGE = "gdrive"


@pytest.fixture
def admin(db: None) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("root"))
    return client


def text_of(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def page(account: DriveAccount) -> str:
    return reverse("admin:uploads_driveaccount_change", args=[account.pk])


def values(**changed: Any) -> dict[str, Any]:
    usual = {"name": "films", "enabled": "on", "priority": "1", "reserve_bytes": "1 GiB", "daily_bytes": "750 GB"}
    return usual | {"folder_id": "", "client_id": "", "client_secret": ""} | changed


def errors_of(response: Any) -> dict[str, list[str]]:
    return dict(response.context["adminform"].form.errors)


# --- who sees it ---


def test_there_are_no_drive_accounts_while_files_go_elsewhere(admin: Client, settings: Any) -> None:
    one = oauth_account()
    assert "Drive accounts" in text_of(admin.get(reverse("admin:index")))
    settings.STORAGE = "local"
    assert "Drive accounts" not in text_of(admin.get(reverse("admin:index")))
    assert admin.get(reverse(LIST)).status_code == 403
    assert admin.get(page(one)).status_code in (302, 403)
    assert admin.post(reverse("admin:uploads_driveaccount_connect", args=[one.pk])).status_code == 403


def test_staff_need_the_permission(settings: Any) -> None:
    one = oauth_account()
    clerk = User.objects.create_user("clerk", is_staff=True)
    client = Client(SERVER_NAME="localhost")
    client.force_login(clerk)
    for name in ("connect", "check"):
        assert client.post(reverse(f"admin:uploads_driveaccount_{name}", args=[one.pk])).status_code == 403
    assert client.get(reverse("admin:uploads_driveaccount_connected")).status_code == 403
    clerk.user_permissions.set(Permission.objects.filter(codename="view_driveaccount"))
    assert "Connect with Google" not in text_of(client.get(page(one)))
    assert client.post(reverse("admin:uploads_driveaccount_check", args=[one.pk])).status_code == 403


def test_buttons_take_no_link_and_want_the_secret_of_the_page(admin: Client) -> None:
    one = oauth_account()
    for name in ("connect", "check"):
        assert admin.get(reverse(f"admin:uploads_driveaccount_{name}", args=[one.pk])).status_code == 405
        assert admin.post(reverse(f"admin:uploads_driveaccount_{name}", args=[one.pk + 1])).status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get())
    assert strict.post(reverse("admin:uploads_driveaccount_connect", args=[one.pk])).status_code == 403


# --- the form ---


def test_a_new_persons_account_is_sealed_and_leads_to_the_next_step(admin: Client) -> None:
    answer = admin.post(reverse(ADD), values(kind="oauth", **CLIENT), follow=True)
    account = DriveAccount.objects.get()
    assert answer.redirect_chain == [(page(account), 302)]
    assert client_of(account.sealed_credentials) == CLIENT
    text = answer.content.decode()
    assert "Now connect it" in text
    assert CLIENT["client_id"] in text
    assert BACK in text
    for secret in secrets_of(account):
        assert secret not in text


def test_a_new_service_account_is_asked_at_once(admin: Client, drive: EmulatorProcess) -> None:
    import json

    key = SimpleUploadedFile("key.json", json.dumps(service_key()).encode())
    address = f"https://drive.google.com/drive/u/0/folders/{shared_drive(drive)}?usp=sharing"
    answer = admin.post(reverse(ADD), values(kind="service", key_file=key, folder_id=address), follow=True)
    account = DriveAccount.objects.get()
    assert "The account “films” works." in text_of(answer)
    assert (account.folder_id, account.drive_id) == (address.split("/")[-1].split("?")[0],) * 2
    for secret in secrets_of(account):
        assert secret not in answer.content.decode()


@pytest.mark.parametrize(
    ("changed", "field", "sentence"),
    [
        ({"kind": "oauth"}, "client_id", "A person's account needs an OAuth client."),
        ({"kind": "oauth", "client_id": "x"}, "client_secret", "Another client has another secret."),
        ({"kind": "service"}, "folder_id", "A service account owns no storage."),
        ({"kind": "service", "folder_id": "f"}, "key_file", "A service account needs its key file."),
        ({"kind": "oauth", **CLIENT, "folder_id": "https://example.org/x y"}, "folder_id", "neither the address"),
        ({"kind": "oauth", **CLIENT, "daily_bytes": "0"}, "daily_bytes", ""),
        ({"kind": "oauth", **CLIENT, "priority": "0"}, "priority", ""),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    admin: Client, changed: dict[str, str], field: str, sentence: str
) -> None:
    errors = errors_of(admin.post(reverse(ADD), values(**changed)))
    assert any(sentence in error for error in errors[field])
    assert not DriveAccount.objects.exists()


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"type": "authorized_user"}', b"x" * 70_000])
def test_a_file_that_is_no_key_is_refused(admin: Client, content: bytes) -> None:
    key = SimpleUploadedFile("key.json", content)
    errors = errors_of(admin.post(reverse(ADD), values(kind="service", key_file=key, folder_id="f")))
    assert "This is no" in errors["key_file"][0]


def test_a_form_that_is_saved_as_it_is_keeps_every_secret_and_what_workers_counted(admin: Client) -> None:
    one = oauth_account("films", "the token")
    before = one.sealed_credentials
    form = admin.get(page(one)).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    DriveAccount.objects.update(room_bytes=123, failures=2, checked_at="2026-11-26T12:00Z")
    admin.post(page(one), shown | {"enabled": "on", "client_secret": "", "priority": "7"})
    one.refresh_from_db()
    assert (one.priority, one.room_bytes, one.failures) == (7, 123, 2)
    assert one.sealed_credentials == before


def test_a_new_secret_keeps_the_token_and_a_new_client_drops_it(admin: Client, drive: EmulatorProcess) -> None:
    one = oauth_account("films", "the token")
    admin.post(page(one), values(client_id=CLIENT["client_id"], client_secret="a newer one"))
    one.refresh_from_db()
    stored = client_of(one.sealed_credentials)
    assert (stored["client_secret"], stored["refresh_token"]) == ("a newer one", "the token")
    admin.post(page(one), values(client_id="another", client_secret="secret of that"))
    one.refresh_from_db()
    assert client_of(one.sealed_credentials) == {"client_id": "another", "client_secret": "secret of that"}
    assert one.error_code == troubles.NO_CREDENTIALS


def test_credentials_that_cannot_be_read_any_longer_are_entered_again(admin: Client, settings: Any) -> None:
    one = oauth_account("films")
    settings.SECRETS_KEYS = ["another key"]
    assert admin.get(page(one)).status_code == 200
    assert "client_secret" in errors_of(admin.post(page(one), values(client_id="x")))
    admin.post(page(one), values(**CLIENT))
    one.refresh_from_db()
    assert client_of(one.sealed_credentials) == CLIENT


def test_an_account_with_files_cannot_be_deleted(admin: Client) -> None:
    one, other = oauth_account("with files"), oauth_account("without")
    upload = DriveUpload.objects.create(key=uuid.uuid4(), account_id=one.pk, file_id="f", saved_at=timezone.now())
    delete = {account: reverse("admin:uploads_driveaccount_delete", args=[account.pk]) for account in (one, other)}
    assert "Delete" not in text_of(admin.get(page(one))).split("Health")[1]
    assert admin.post(delete[one], {"post": "yes"}).status_code == 403
    assert admin.post(delete[other], {"post": "yes"}).status_code == 302
    upload.delete()
    assert admin.post(delete[one], {"post": "yes"}).status_code == 302
    assert not DriveAccount.objects.exists()


# --- what is shown ---


def test_the_list_tells_how_each_account_stands(admin: Client, drive: EmulatorProcess) -> None:
    now = timezone.now()
    known = {"checked_at": now, "room_bytes": 5 * 1024**3}
    oauth_account("is well", **known)
    oauth_account("is off", enabled=False, **known)
    failing = oauth_account("is failing", **known)
    full = oauth_account("is full", **known)
    spent = oauth_account("is spent", **known)
    lately = oauth_account("has failed before", daily_bytes=1, **known)
    oauth_account("is new")
    circuits.failed(lately.pk, now, troubles.FAILING, "503 backendError")
    DriveHour.objects.create(account=lately, hour=now, length=1)
    for _ in range(3):
        circuits.failed(failing.pk, now, troubles.FAILING, "503 backendError")
    circuits.refused(full.pk, now, troubles.FULL, "storageQuotaExceeded")
    circuits.refused(spent.pk, now, troubles.DAY_SPENT, "dailyLimitExceeded")
    rows = {row.name: text_of_row for row, text_of_row in rows_of(admin.get(reverse(LIST)))}
    assert "works" in rows["is well"]
    assert "5 GiB" in rows["is well"]
    assert "switched off" in rows["is off"]
    assert re.search(r"failing tried again at .* UTC · Calls to Drive fail", rows["is failing"])
    assert re.search(r"full until .* UTC · Drive says that it has no room left", rows["is full"])
    assert re.search(r"day spent until .* UTC", rows["is spent"])
    assert re.search(r"day spent until [^·]* UTC5 GiB1 B of", rows["has failed before"]), "no older trouble"
    assert "not asked yet" in rows["is new"]
    shown = text_of(admin.get(page(failing)))
    assert "open: it is left alone for a while" in shown
    assert "True cause: 503 backendError" in shown


def test_who_adds_an_account_reads_the_address_for_the_client_and_nothing_of_stored_secrets(
    admin: Client, settings: Any
) -> None:
    kept = "empty keeps the one that is stored"
    shown = text_of(admin.get(reverse(ADD)))
    assert f"exactly this authorised redirect URI: {BACK}" in shown
    assert kept not in shown
    shown = text_of(admin.get(page(oauth_account())))
    assert f"exactly this authorised redirect URI: {BACK}" in shown
    assert kept in shown
    assert BACK not in text_of(admin.get(page(service_account())))
    unreadable = oauth_account("sealed with another key")
    settings.SECRETS_KEYS = ["another key"]
    assert kept not in text_of(admin.get(page(unreadable)))


def test_the_list_tells_how_drive_as_a_whole_stands(admin: Client) -> None:
    now, account = timezone.now(), oauth_account()

    def told() -> str:
        text = text_of(admin.get(reverse(LIST)))
        return text[text.index("The circuit round Drive as a whole") :]

    assert told().startswith("The circuit round Drive as a whole: closed: Drive is used")
    for _ in range(circuits.WHOLE.failures):
        circuits.failed(account.pk, now, troubles.UNREACHABLE, "no route to host", whole=True)
    shown = r"as a whole: open: Drive is left alone for a while tried again at .* UTC · no route to host"
    assert re.search(shown, told())
    with transaction.atomic():
        circuits.whole_storage_rests(now + timedelta(minutes=2))
    assert "as a whole: half-open: Drive is being tried no route to host" in told()
    circuits.worked(account.pk, now)
    assert "as a whole: closed: Drive is used" in told()


def rows_of(response: Any) -> list[tuple[DriveAccount, str]]:
    bodies = re.findall(r"<tr>(.*?)</tr>", response.content.decode().split("<tbody>")[1], re.DOTALL)
    texts = [" ".join(strip_tags(body).split()) for body in bodies]
    return list(zip(response.context["cl"].result_list, texts, strict=True))


def test_the_button_asks_drive_now(admin: Client, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="asked", email="asked@example.org")
    one, robot = oauth_account("films", "asked"), service_account("robot")
    answer = admin.post(reverse("admin:uploads_driveaccount_check", args=[one.pk]), follow=True)
    assert "The account “films” works." in text_of(answer)
    assert "asked@example.org" in text_of(answer)
    answer = admin.post(reverse("admin:uploads_driveaccount_check", args=[robot.pk]), follow=True)
    assert "The account “robot” is in trouble: A service account owns no storage." in text_of(answer)


# --- the walk through Google's consent ---


@pytest.fixture
def account(drive: EmulatorProcess) -> DriveAccount:
    one = oauth_account("films")
    one.sealed_credentials = ""
    from uploads import drive_accounts

    drive_accounts.keep_credentials(one, CLIENT)
    one.save()
    return one


def out(admin: Client, account: DriveAccount) -> dict[str, str]:
    """The parameters with which a person comes to Google."""
    answer = admin.post(reverse("admin:uploads_driveaccount_connect", args=[account.pk]))
    assert answer.status_code == 200, answer
    assert "no-store" in answer["Cache-Control"]
    address = urllib.parse.urlsplit(answer.context["address"])
    assert f"{address.scheme}://{address.netloc}" == account_host(answer)
    return dict(urllib.parse.parse_qsl(address.query))


def account_host(answer: Any) -> str:
    return f"http://{answer.context['host']}"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def at_google(
    drive: EmulatorProcess, asked: dict[str, str], answer: str = "allow", email: str = "films@example.org"
) -> dict[str, str]:
    """What a person comes back with who answers the page."""
    form = {**asked, "email": email, "answer": answer}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
    try:
        opener.open(f"{drive.url}/o/oauth2/v2/auth", urllib.parse.urlencode(form).encode(), timeout=10)
    except urllib.error.HTTPError as redirect:
        address = urllib.parse.urlsplit(redirect.headers["Location"])
        assert f"{address.scheme}://{address.netloc}{address.path}" == BACK
        return dict(urllib.parse.parse_qsl(address.query))
    raise AssertionError("nobody was sent back")


def back(admin: Client, parameters: dict[str, str]) -> Any:
    return admin.get(reverse("admin:uploads_driveaccount_connected"), parameters, follow=True)


def test_who_allows_it_comes_back_with_an_account_that_works(
    admin: Client, account: DriveAccount, drive: EmulatorProcess
) -> None:
    asked = out(admin, account)
    assert asked["redirect_uri"] == BACK
    assert (asked["access_type"], asked["prompt"], asked["code_challenge_method"]) == ("offline", "consent", "S256")
    assert asked["scope"] == "https://www.googleapis.com/auth/drive.file"
    came = at_google(drive, asked)
    answer = back(admin, came)
    assert answer.redirect_chain == [(page(account), 302)]
    assert "The account “films” works." in text_of(answer)
    account.refresh_from_db()
    assert account.identity == "films@example.org"
    stored = client_of(account.sealed_credentials)
    assert {name: stored[name] for name in CLIENT} == CLIENT
    for secret in [*secrets_of(account), came["code"]]:
        assert secret not in answer.content.decode()
    assert KEPT not in admin.session
    again = back(admin, came)
    assert "belongs to no walk that you began here" in text_of(again), "an answer is good once"


def test_an_account_that_has_files_is_not_connected_with_the_drive_of_somebody_else(
    admin: Client, account: DriveAccount, drive: EmulatorProcess
) -> None:
    back(admin, at_google(drive, out(admin, account)))
    account.refresh_from_db()
    before = account.sealed_credentials
    DriveUpload.objects.create(key=uuid.uuid4(), account_id=account.pk, file_id="there", saved_at=timezone.now())
    answer = back(admin, at_google(drive, out(admin, account), email="other@example.org"))
    assert "lie with films@example.org, and this is the Drive of other@example.org" in text_of(answer)
    account.refresh_from_db()
    assert (account.sealed_credentials, account.identity) == (before, "films@example.org")
    answer = back(admin, at_google(drive, out(admin, account)))
    assert "The account “films” works." in text_of(answer)
    account.refresh_from_db()
    assert account.sealed_credentials != before


def test_a_folder_of_others_needs_all_of_drive(admin: Client, account: DriveAccount) -> None:
    DriveAccount.objects.update(folder_id="somewhere")
    assert out(admin, account)["scope"] == "https://www.googleapis.com/auth/drive"


def test_who_says_no_is_told_that_nothing_changed(admin: Client, account: DriveAccount, drive: EmulatorProcess) -> None:
    answer = back(admin, at_google(drive, out(admin, account), "deny"))
    assert "Google was told no: nothing was changed." in text_of(answer)
    account.refresh_from_db()
    assert client_of(account.sealed_credentials) == CLIENT


def stranger(admin: Client, came: dict[str, str]) -> Client:
    other = Client(SERVER_NAME="localhost")
    other.force_login(User.objects.create_superuser("other"))
    return other


def later(admin: Client, came: dict[str, str]) -> Client:
    session = admin.session
    session[KEPT] |= {"until": time.time() - 1}
    session.save()
    return admin


def forged(admin: Client, came: dict[str, str]) -> Client:
    came["state"] = "x" * len(came["state"])
    return admin


def stateless(admin: Client, came: dict[str, str]) -> Client:
    del came["state"]
    return admin


def renamed(admin: Client, came: dict[str, str]) -> Client:
    from uploads import drive_accounts

    one = DriveAccount.objects.get()
    drive_accounts.keep_credentials(one, {"client_id": "another", "client_secret": "x"})
    one.save()
    return admin


def removed(admin: Client, came: dict[str, str]) -> Client:
    DriveAccount.objects.all().delete()
    return admin


@pytest.mark.parametrize("how", [stranger, later, forged, stateless, renamed, removed])
def test_an_answer_that_belongs_to_no_walk_of_this_admin_changes_nothing(
    admin: Client, account: DriveAccount, drive: EmulatorProcess, how: Callable[..., Client]
) -> None:
    came = at_google(drive, out(admin, account))
    answer = back(how(admin, came), came)
    assert "belongs to no walk that you began here" in text_of(answer)
    for row in DriveAccount.objects.all():
        assert "refresh_token" not in client_of(row.sealed_credentials)


def test_a_second_walk_takes_the_place_of_the_first(
    admin: Client, account: DriveAccount, drive: EmulatorProcess
) -> None:
    first = at_google(drive, out(admin, account))
    second = at_google(drive, out(admin, account))
    assert "belongs to no walk" in text_of(back(admin, first))
    assert "belongs to no walk" in text_of(back(admin, second)), "whoever tries has one try"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"code": "made up"}, "The code that Google gave has expired or was used before."),
        ({"code": ""}, "The code that Google gave has expired or was used before."),
        ({"error": "server_error"}, "Google refused: server_error"),
        ({"error": "redirect_uri_mismatch"}, f"lacks this address among its authorised redirect URIs: {BACK}"),
    ],
)
def test_google_saying_no_is_told_in_words(
    admin: Client, account: DriveAccount, drive: EmulatorProcess, change: dict[str, str], sentence: str
) -> None:
    came = at_google(drive, out(admin, account))
    assert sentence in text_of(back(admin, came | change))


def test_a_verifier_of_another_walk_is_refused_by_google(
    admin: Client, account: DriveAccount, drive: EmulatorProcess
) -> None:
    came = at_google(drive, out(admin, account))
    session = admin.session
    session[KEPT] |= {"verifier": "v" * 64}
    session.save()
    assert "has expired or was used before" in text_of(back(admin, came))


def test_a_client_with_a_wrong_secret_is_named(admin: Client, account: DriveAccount, drive: EmulatorProcess) -> None:
    drive.set_tokens(clients={CLIENT["client_id"]: "another secret"})
    assert "the client secret is wrong" in text_of(back(admin, at_google(drive, out(admin, account))))


def test_without_a_refresh_token_it_says_how_to_get_one(
    admin: Client, account: DriveAccount, drive: EmulatorProcess
) -> None:
    asked = out(admin, account)
    came = at_google(drive, {name: value for name, value in asked.items() if name != "access_type"})
    assert "Google gave no refresh token. Remove this program" in text_of(back(admin, came))


def test_without_the_box_for_drive_ticked_nothing_changes(
    admin: Client, account: DriveAccount, drive: EmulatorProcess
) -> None:
    came = at_google(drive, out(admin, account) | {"scope": "openid"})
    assert "The box for Google Drive was not ticked" in text_of(back(admin, came))


def test_google_that_cannot_be_reached_is_told(
    admin: Client, account: DriveAccount, drive: EmulatorProcess, settings: Any
) -> None:
    came = at_google(drive, out(admin, account))
    settings.GDRIVE_TOKEN_URL = "http://127.0.0.1:9/token"
    assert "Google cannot be reached from this server" in text_of(back(admin, came))


def test_an_account_without_a_client_is_told_to_name_one_first(admin: Client) -> None:
    empty = DriveAccount.objects.create(name="empty", kind=Kind.OAUTH)
    answer = admin.post(reverse("admin:uploads_driveaccount_connect", args=[empty.pk]), follow=True)
    assert "Enter the client id and the client secret first" in text_of(answer)


def test_the_way_back_is_the_public_address_where_there_is_one(
    admin: Client, account: DriveAccount, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://files.example.org"
    assert out(admin, account)["redirect_uri"] == "https://files.example.org/admin/uploads/driveaccount/connected/"


def test_whoever_is_not_signed_in_has_to_first(drive: EmulatorProcess) -> None:
    answer = Client().get(reverse("admin:uploads_driveaccount_connected"), {"code": "x", "state": "y"})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")
