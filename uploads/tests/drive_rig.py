"""Drive accounts for tests, and an emulator that they are accounts of."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from devtools.emulator_process import EmulatorProcess
from uploads import drive_accounts
from uploads.drive_models import DriveAccount, Kind

CLIENT = {"client_id": "client.apps.googleusercontent.com", "client_secret": "GOCSPX-very-secret"}


@pytest.fixture(scope="module")
def module_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """One emulator for the tests of a module, each with users of its own."""
    with EmulatorProcess(tmp_path_factory.mktemp("drive")) as emulator:
        yield emulator


@pytest.fixture
def drive(module_emulator: EmulatorProcess, settings: Any) -> Iterator[EmulatorProcess]:
    """The emulator as the Google of this process, without faults."""
    settings.STORAGE = "gdrive"
    settings.GDRIVE_API_ROOT, settings.GDRIVE_TOKEN_URL = module_emulator.url, module_emulator.token_url
    settings.GDRIVE_CONSENT_URL = f"{module_emulator.url}/o/oauth2/v2/auth"
    yield module_emulator
    module_emulator.clear_faults()
    module_emulator.set_tokens(seconds=3599, clients={}, known_only=False)


class Clock:
    """What time it is, for a pool."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 26, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **how: float) -> None:
        self.now += timedelta(**how)


def oauth_account(name: str = "one", refresh_token: str | None = None, **values: Any) -> DriveAccount:
    """An account that is connected; its user on the emulator is its own unless the test names a token."""
    account = DriveAccount(name=name, **values)
    drive_accounts.keep_credentials(account, CLIENT | {"refresh_token": refresh_token or f"1//{uuid.uuid4()}"})
    for field, value in values.items():
        setattr(account, field, value)
    account.save()
    return account


def service_key(email: str = "robot@project.iam.gserviceaccount.com") -> dict[str, str]:
    """A key file as the Google console gives it, with a key that nobody else knows."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": email,
        "token_uri": "https://elsewhere.example/token",
    }


def service_account(name: str = "robot", folder_id: str = "", **values: Any) -> DriveAccount:
    account = DriveAccount(name=name, kind=Kind.SERVICE, folder_id=folder_id, **values)
    drive_accounts.keep_credentials(account, service_key())
    account.save()
    return account


def shared_drive(emulator: EmulatorProcess, name: str = "Team") -> str:
    """A shared drive of the emulator; its id."""
    headers = {"Authorization": f"Bearer {emulator.token()}"}
    return str(emulator.call("POST", f"/drive/v3/drives?requestId={uuid.uuid4()}", {"name": name}, **headers)["id"])


def folder(emulator: EmulatorProcess, refresh_token: str) -> str:
    """A folder in somebody's own Drive; its id."""
    headers = {"Authorization": f"Bearer {emulator.token(refresh_token)}"}
    body = {"name": "files", "mimeType": "application/vnd.google-apps.folder"}
    return str(emulator.call("POST", "/drive/v3/files", body, **headers)["id"])


def secrets_of(account: DriveAccount) -> list[str]:
    """The texts that nobody may ever see."""
    from uploads.storage.gdrive.sealed import client_of

    values = client_of(account.sealed_credentials)
    found = [values[name] for name in ("client_secret", "refresh_token", "private_key") if values.get(name)]
    return [*found, *(json.dumps(value)[1:-1] for value in found), account.sealed_credentials]
