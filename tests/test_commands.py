"""The commands of the Makefile and of manage.py, as an operator meets them."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from conftest import ROOT
from devtools.client import Client, PatternSource, sha256_of
from devtools.server_process import ServerProcess, program_environment

MIB = 1024 * 1024
GOOD_KEY = "a key that is long enough, and only known to the tests"
BOTH_SERVERS = pytest.mark.parametrize("program", ["uvicorn", "daphne"])
StartServer = Callable[..., ServerProcess]


def manage(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=program_environment({"SECRET_KEY": "tests", **environment}),
        capture_output=True,
        text=True,
        timeout=60,
    )


# --- prepare ---


def printed_by_prepare(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("prepare")
    return capsys.readouterr().out


@pytest.mark.django_db
@pytest.mark.every_database
class TestPrepare:
    def test_the_first_start_in_development_prints_an_admin_and_the_second_does_not(self, capsys: Any) -> None:
        match = re.search(r"Admin name: (\S+)  password: (\S+)", printed_by_prepare(capsys))
        assert match
        admin = get_user_model().objects.get(username=match[1])
        assert admin.is_superuser
        assert admin.check_password(match[2])
        assert printed_by_prepare(capsys) == ""

    @override_settings(ADMIN_EMAIL="root@example.org", ADMIN_PASSWORD="first password")
    def test_a_missing_admin_of_the_environment_is_created_without_showing_the_password(self, capsys: Any) -> None:
        assert "first password" not in printed_by_prepare(capsys)
        admin = get_user_model().objects.get(email="root@example.org")
        assert admin.is_superuser
        assert admin.check_password("first password")

    def test_an_existing_admin_is_never_changed(self, capsys: Any) -> None:
        get_user_model().objects.create_superuser("root@example.org", "root@example.org", "first password")
        with override_settings(ADMIN_EMAIL="Root@example.org", ADMIN_PASSWORD="second password"):
            assert printed_by_prepare(capsys) == ""
        assert get_user_model().objects.get().check_password("first password")

    def test_an_ordinary_account_of_that_name_is_not_made_an_admin(self, capsys: Any) -> None:
        get_user_model().objects.create_user("somebody", "root@example.org", "password")
        with override_settings(ADMIN_EMAIL="root@example.org", ADMIN_PASSWORD="second password"):
            assert "no admin's" in printed_by_prepare(capsys)
        assert not get_user_model().objects.get().is_superuser

    @override_settings(ADMIN_EMAIL="root@example.org", ADMIN_PASSWORD=None, DEVELOPMENT=False)
    def test_outside_development_no_password_is_made_up(self) -> None:
        with pytest.raises(CommandError, match="ADMIN_PASSWORD is missing"):
            call_command("prepare")

    @override_settings(ADMIN_EMAIL=None, DEVELOPMENT=False)
    def test_outside_development_no_admin_is_made_up(self, capsys: Any) -> None:
        assert printed_by_prepare(capsys) == ""
        assert not get_user_model().objects.exists()


# --- serve ---


@BOTH_SERVERS
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_the_program_says_its_address_and_ends_cleanly_when_asked(
    start_server: StartServer, program: str, by: signal.Signals
) -> None:
    server = start_server(SERVER=program)
    assert f"DirectDriveX listens on http://127.0.0.1:{server.port}" in server.text()
    assert server.stop(by=by) == 0
    assert "Traceback" not in server.text()


ASKED_TO_END_AT_ONCE = """
import fcntl, os, signal, socket, django
django.setup()
from directdrivex import serving

NUMBER = 500  # taken by nobody who takes the first that is free
listener = socket.socket(fileno=fcntl.fcntl(serving.listen("127.0.0.1", 0).detach(), fcntl.F_DUPFD, NUMBER))
opened = []

def ready():
    opened.append(fcntl.fcntl(0, fcntl.F_DUPFD, NUMBER))
    os.kill(os.getpid(), signal.SIGTERM)

serving.serve(listener, ready)
os.fstat(opened[0])  # raises where somebody else closed it
"""


@BOTH_SERVERS
def test_a_program_asked_to_end_as_soon_as_it_serves_ends_cleanly_and_closes_nothing_twice(
    tmp_path: Path, program: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKED_TO_END_AT_ONCE],
        cwd=ROOT,
        env=program_environment({"SERVER": program, "DATA_DIR": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@BOTH_SERVERS
def test_a_port_that_is_taken_is_told_in_one_sentence(server: ServerProcess, tmp_path: Path, program: str) -> None:
    done = manage("serve", SERVER=program, PORT=str(server.port), DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"CommandError: Cannot listen on 127.0.0.1 port {server.port}: Address already in use.\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("ENVIRONMENT", "prod"),
        ("SERVER", "gunicorn"),
        ("DATABASE_URL", "mysql://somewhere/else"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("REDIS_URL", "redis://127.0.0.1:port"),
        ("TRUSTED_PROXIES", "proxy.example.org"),
        ("UPLOAD_WINDOW_BYTES", "1_000"),
        ("PUBLIC_URL", "files.example.org"),
    ],
)
def test_a_bad_value_stops_the_start_with_one_sentence(tmp_path: Path, name: str, value: str) -> None:
    done = manage("serve", **{"DATA_DIR": str(tmp_path), name: value})
    assert done.returncode == 1
    assert done.stderr.startswith("DirectDriveX cannot start: ")
    assert name in done.stderr
    assert done.stderr.count("\n") == 1


def test_several_workers_with_slots_in_the_memory_of_one_are_refused_at_start(tmp_path: Path) -> None:
    done = manage("serve", DATA_DIR=str(tmp_path), WORKERS="2")
    assert done.returncode == 1
    assert "WORKERS" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ALLOWED_HOSTS"])
def test_production_refuses_to_start_without_its_secrets(tmp_path: Path, missing: str) -> None:
    values = {"ENVIRONMENT": "production", "SECRET_KEY": GOOD_KEY, "ALLOWED_HOSTS": "example.org", missing: ""}
    done = manage("prepare", DATA_DIR=str(tmp_path), **values)
    assert done.returncode == 1
    assert missing in done.stderr


@pytest.mark.parametrize("key", ["secret", GOOD_KEY[:49], "x" * 80, f"django-insecure-{GOOD_KEY}"])
def test_production_warns_of_a_secret_that_can_be_guessed(tmp_path: Path, key: str) -> None:
    values = {"ENVIRONMENT": "production", "SECRET_KEY": key, "ALLOWED_HOSTS": "example.org"}
    done = manage("prepare", DATA_DIR=str(tmp_path), **values)
    assert done.returncode == 0
    assert "SECRET_KEY is easily guessed" in done.stderr


@BOTH_SERVERS
async def test_a_graceful_shutdown_tells_uploads_and_they_go_on_after_it(
    start_server: StartServer, program: str
) -> None:
    server = start_server(SERVER=program)
    source = PatternSource(256 * MIB, seed=1)
    stopped: list[int] = []

    def stop_in_the_middle(message: dict[str, Any]) -> None:
        if message["type"] == "progress" and message["stored"] > 8 * MIB and not stopped:
            stopped.append(message["stored"])
            server.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
        if message["type"] == "error":
            assert server.process.wait(30) == 0  # type: ignore[union-attr]
            server.restart()

    async with Client(server.url) as client:
        upload = await client.initiate("file.bin", source.size)
        success = await client.send(upload, source, on_message=stop_in_the_middle)
    assert [message["code"] for message in upload.of_type("error")] == ["server_restart"]
    assert upload.of_type("ready")[1]["offset"] >= stopped[0]
    assert success["sha256"] == sha256_of(source)


@BOTH_SERVERS
async def test_the_server_compresses_nothing_and_does_not_say_what_it_is(
    start_server: StartServer, program: str
) -> None:
    server = start_server(SERVER=program)
    url = f"{server.ws_url}/ws_api/upload_parallel/00000000-0000-4000-8000-000000000000"
    async with websockets.connect(url, compression="deflate", proxy=None) as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers  # type: ignore[union-attr]
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/healthz") as response:
        assert program not in response.headers.get("Server", "").lower()


# --- the environment and the Makefile ---


def test_every_setting_is_listed_in_the_example() -> None:
    settings = (ROOT / "directdrivex" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings))
    listed = set(re.findall(r"^# ([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert read <= listed
    assert len(read) > 20


def checkout_in(folder: Path) -> Path:
    """A checkout with no requirements, in a folder with a space in its name."""
    folder = folder / "a checkout"
    (folder / "devtools").mkdir(parents=True)
    shutil.copy(ROOT / "devtools" / "bootstrap.py", folder / "devtools")
    (folder / "requirements.txt").write_text("# nothing\n")
    (folder / "requirements-dev.txt").write_text("# nothing\n")
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests that can go on from what another left: to make a virtual environment takes seconds."""
    return checkout_in(tmp_path_factory.mktemp("commands"))


def bootstrap(checkout: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = program_environment({} if path is None else {"PATH": path})
    command = [sys.executable, str(checkout / "devtools" / "bootstrap.py"), "run"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def is_made_once(checkout: Path, path: str | None = None) -> None:
    first = bootstrap(checkout, path)
    assert first.returncode == 0, first.stderr
    made = (checkout / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    again = bootstrap(checkout, path)
    assert (again.returncode, again.stdout) == (0, "")
    assert (checkout / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made


def test_the_virtual_environment_is_made_once(checkout: Path) -> None:
    is_made_once(checkout)


def test_the_virtual_environment_is_made_with_nothing_on_the_path(tmp_path: Path) -> None:
    is_made_once(checkout_in(tmp_path), "/nowhere")


def test_changed_requirements_are_installed_again_and_a_lost_environment_is_made_again(checkout: Path) -> None:
    bootstrap(checkout)
    (checkout / "requirements.txt").write_text("# nothing more\n")
    assert "Installing requirements.txt" in bootstrap(checkout).stdout
    (checkout / ".venv" / "bin" / "python").unlink()
    assert "Making the virtual environment" in bootstrap(checkout).stdout
    assert (checkout / ".venv" / "bin" / "python").exists()


def test_requirements_that_cannot_be_had_stop_the_start_with_one_sentence(checkout: Path) -> None:
    (checkout / "requirements.txt").write_text("./no-such-folder\n")
    done = bootstrap(checkout)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("DirectDriveX cannot be set up: ")
    assert bootstrap(checkout).returncode == 1
