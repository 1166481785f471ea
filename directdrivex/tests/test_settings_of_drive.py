"""What the environment says of Google Drive, and what of it stops a start."""

import json
import subprocess
import sys

import pytest

from conftest import ROOT
from devtools.server_process import program_environment

GOOGLE = "https://www.googleapis.com"
KEY = "a key that is long enough, and only known to the tests"
SHOW = """
import json
from directdrivex import settings as s
print(json.dumps([s.GDRIVE_API_ROOT, s.GDRIVE_TOKEN_URL, s.GDRIVE_CONSENT_URL, s.GDRIVE_TRIAL]))
"""


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=program_environment({"SECRET_KEY": KEY, "STORAGE": "gdrive", **environment}),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("environment", "root", "trial"),
    [
        ({}, "http://127.0.0.1:8090", True),
        ({"EMULATOR_PORT": "9001"}, "http://127.0.0.1:9001", True),
        ({"GDRIVE_CLIENT_ID": "x"}, GOOGLE, False),
        ({"GDRIVE_SERVICE_ACCOUNT_FILE": "key.json"}, GOOGLE, False),
        ({"GDRIVE_API_ROOT": GOOGLE}, GOOGLE, False),
        ({"ENVIRONMENT": "production", "ALLOWED_HOSTS": "x"}, GOOGLE, False),
    ],
)
def test_drive_is_the_emulator_only_in_development_and_while_nothing_of_googles_is_named(
    environment: dict[str, str], root: str, trial: bool
) -> None:
    done = python("-c", SHOW, **environment)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown[0], shown[3]) == (root, trial)
    hosts = ("oauth2.googleapis.com", "accounts.google.com") if root == GOOGLE else (root, root)
    assert hosts[0] in shown[1]
    assert hosts[1] in shown[2]


@pytest.mark.parametrize("name", ["GDRIVE_API_ROOT", "GDRIVE_TOKEN_URL", "GDRIVE_CONSENT_URL"])
def test_secrets_are_not_sent_over_plain_http_to_another_machine(name: str) -> None:
    done = python("-c", SHOW, **{name: "http://drive.example.org"})
    assert done.returncode != 0
    assert f"{name} is 'http://drive.example.org'; it must begin with https://" in done.stderr


def test_a_service_that_keeps_secrets_does_not_start_without_a_key_of_its_own_for_them() -> None:
    production = {"ENVIRONMENT": "production", "ALLOWED_HOSTS": "x"}
    refused = python("manage.py", "check", **production)
    assert "directdrivex.E004" in refused.stderr
    assert "SECRETS_KEY is missing" in refused.stderr
    assert "directdrivex.E004" not in python("manage.py", "check", SECRETS_KEY="k", **production).stderr
    assert "directdrivex.E004" not in python("manage.py", "check").stderr
