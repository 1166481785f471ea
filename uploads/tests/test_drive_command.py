"""`manage.py drive_accounts`, and the account that the environment makes."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from devtools.emulator_process import EmulatorProcess
from uploads.drive_models import DriveAccount, DriveUpload, Kind
from uploads.secrets import UnsealError, seal, unseal
from uploads.storage.gdrive import circuits, troubles
from uploads.storage.gdrive.sealed import client_of
from uploads.tests.drive_rig import drive, module_emulator, oauth_account, service_account, service_key, shared_drive

__all__ = ["drive", "module_emulator"]
pytestmark = pytest.mark.django_db(transaction=True)

GIB = 1024**3


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("drive_accounts", *words)
    return capsys.readouterr().out


# --- show and check ---


def test_it_shows_what_is_known_without_asking_anybody(capsys: Any, settings: Any) -> None:
    settings.GDRIVE_TOKEN_URL = "http://127.0.0.1:9/token"
    oauth_account("films", room_bytes=3 * GIB)
    assert "films (oauth): unknown, 3 GiB free, 0 B of 750 GB used in 24 h" in said(capsys)


def test_a_check_tells_the_health_and_the_room_of_each(capsys: Any, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="films", email="films@example.org", limit=7 * GIB)
    oauth_account("films", "films")
    service_account("team", shared_drive(drive))
    text = said(capsys, "--check")
    assert "films (films@example.org): well, 7 GiB free" in text
    assert "team (robot@project.iam.gserviceaccount.com): well, room unknown" in text


def test_it_tells_how_drive_as_a_whole_stands(capsys: Any) -> None:
    account = oauth_account()
    assert "Drive as a whole: circuit closed\n" in said(capsys)
    for _ in range(circuits.WHOLE.failures):
        circuits.failed(account.pk, timezone.now(), troubles.UNREACHABLE, "no route to host", whole=True)
    assert re.search(r"Drive as a whole: circuit open until \d.* UTC \(no route to host\)\n", said(capsys))


def test_a_trouble_is_told_with_its_true_cause_and_an_exit_code(capsys: Any, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="gone", revoked=True)
    oauth_account("gone", "gone")
    oauth_account("sound")
    service_account("robot")
    with pytest.raises(CommandError, match=r"In trouble: gone, robot\."):
        call_command("drive_accounts", "--check")
    text = capsys.readouterr().out
    assert "gone (oauth): failing until" in text
    assert "they have expired or were revoked. Connect it again. (invalid_grant:" in text
    assert "A service account owns no storage. Name a shared drive" in text
    assert "sound (user-" in text


def test_the_trouble_of_an_account_that_is_off_is_no_failure(capsys: Any, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="away", revoked=True)
    oauth_account("away", "away", enabled=False)
    oauth_account("sound")
    assert "away (oauth): off" in said(capsys, "--check")


def test_without_any_account_it_says_what_to_do(capsys: Any) -> None:
    assert "docs/google-drive.md" in said(capsys)
    with pytest.raises(CommandError, match="No Drive account is switched on"):
        call_command("drive_accounts", "--check")


# --- changing the key ---


def test_a_new_key_seals_everything_anew_and_the_old_one_can_go(capsys: Any, settings: Any) -> None:
    settings.SECRETS_KEYS = ["old"]
    one, robot = oauth_account("one", "the refresh token"), service_account()
    before = one.sealed_credentials
    session = DriveUpload.objects.create(key=uuid.uuid4(), sealed_url=seal("the session"), saved_at=timezone.now())
    settings.SECRETS_KEYS = ["new", "old"]
    assert "Sealed with the newest key: 3." in said(capsys, "--reseal")
    settings.SECRETS_KEYS = ["new"]
    session.refresh_from_db()
    assert unseal(session.sealed_url) == "the session"
    for account in (one, robot):
        account.refresh_from_db()
    assert client_of(one.sealed_credentials)["refresh_token"] == "the refresh token"
    assert client_of(robot.sealed_credentials)["private_key"].startswith("-----BEGIN")
    with pytest.raises(UnsealError):
        unseal(before)


def test_without_the_old_key_nothing_is_lost_and_the_command_says_so(settings: Any) -> None:
    settings.SECRETS_KEYS = ["old"]
    one = oauth_account()
    settings.SECRETS_KEYS = ["new"]
    with pytest.raises(CommandError, match="SECRETS_KEY lacks the key"):
        call_command("drive_accounts", "--reseal")
    settings.SECRETS_KEYS = ["old"]
    one.refresh_from_db()
    assert client_of(one.sealed_credentials)


def test_what_nobody_can_read_any_longer_keeps_nothing_else_from_the_new_key(capsys: Any, settings: Any) -> None:
    settings.SECRETS_KEYS = ["lost"]
    oauth_account("forgotten")
    settings.SECRETS_KEYS = ["old"]
    one = oauth_account("one")
    settings.SECRETS_KEYS = ["new", "old"]
    with pytest.raises(CommandError, match="SECRETS_KEY lacks the key of: Drive account forgotten"):
        call_command("drive_accounts", "--reseal")
    settings.SECRETS_KEYS = ["new"]
    one.refresh_from_db()
    assert client_of(one.sealed_credentials)


# --- the account of the environment ---


def prepare(capsys: pytest.CaptureFixture[str], settings: Any, **named: str | None) -> str:
    settings.STORAGE = "gdrive"
    settings.GDRIVE_FOLDER_ID = named.pop("folder", None)
    settings.GDRIVE_ENV = dict.fromkeys(settings.GDRIVE_ENV) | named
    settings.GDRIVE_TRIAL = False
    call_command("prepare")
    return capsys.readouterr().out


OAUTH = {"client_id": "the client", "client_secret": "the secret", "refresh_token": "the token"}


def test_a_missing_account_of_the_environment_is_made_and_an_existing_one_stays(capsys: Any, settings: Any) -> None:
    assert "The Drive account env was created" in prepare(capsys, settings, folder="folder-1", **OAUTH)
    account = DriveAccount.objects.get()
    assert (account.name, account.kind, account.folder_id) == ("env", Kind.OAUTH, "folder-1")
    assert client_of(account.sealed_credentials) == OAUTH
    assert "env was created" not in prepare(capsys, settings, client_id="x", client_secret="y")
    assert client_of(DriveAccount.objects.get().sealed_credentials) == OAUTH


def test_a_client_alone_makes_an_account_to_be_connected_in_the_admin(capsys: Any, settings: Any) -> None:
    prepare(capsys, settings, client_id="the client", client_secret="the secret")
    assert "refresh_token" not in client_of(DriveAccount.objects.get().sealed_credentials)


def test_a_service_account_is_read_from_its_file(capsys: Any, settings: Any, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(service_key()))
    prepare(capsys, settings, service_account_file=str(key), folder="shared-drive")
    account = DriveAccount.objects.get()
    assert (account.kind, account.folder_id) == (Kind.SERVICE, "shared-drive")
    assert client_of(account.sealed_credentials)["client_email"] == "robot@project.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "cannot be used: it is no JSON"),
        ('{"type": "authorized_user"}', "cannot be used: it is no key of a service account"),
        ('{"type": "service_account", "client_email": "x"}', "cannot be used: it lacks private_key"),
    ],
)
def test_a_file_that_is_no_key_stops_the_start_with_a_sentence(
    capsys: Any, settings: Any, tmp_path: Path, content: str | None, sentence: str
) -> None:
    key = tmp_path / "key.json"
    if content is not None:
        key.write_text(content)
    with pytest.raises(CommandError, match=sentence):
        prepare(capsys, settings, service_account_file=str(key), folder="f")
    assert not DriveAccount.objects.exists()


@pytest.mark.parametrize("named", [{"client_id": "x"}, {"refresh_token": "x"}, {"client_secret": "x"}])
def test_half_of_a_client_stops_the_start(capsys: Any, settings: Any, named: dict[str, str]) -> None:
    with pytest.raises(CommandError, match="GDRIVE_CLIENT_ID and GDRIVE_CLIENT_SECRET belong together"):
        prepare(capsys, settings, **named)


def test_a_service_account_without_a_folder_stops_the_start(capsys: Any, settings: Any, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(service_key()))
    with pytest.raises(CommandError, match="a service account owns no storage"):
        prepare(capsys, settings, service_account_file=str(key))


def test_a_trial_has_an_account_that_the_emulator_accepts(capsys: Any, settings: Any, drive: EmulatorProcess) -> None:
    settings.GDRIVE_ENV = dict.fromkeys(settings.GDRIVE_ENV)
    settings.GDRIVE_TRIAL = True
    call_command("prepare")
    assert f"Drive is the emulator at {drive.url}" in capsys.readouterr().out
    assert "env (user-" in said(capsys, "--check")


def test_without_drive_nothing_is_made(capsys: Any, settings: Any) -> None:
    settings.STORAGE = "local"
    call_command("prepare")
    assert not DriveAccount.objects.exists()
