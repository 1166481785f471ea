"""The units of `deploy/systemd`: systemd itself reads them, and the program does what they count on."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT
from devtools.machine import systemd_analyze
from devtools.server_process import ServerProcess
from directdrivex.serving import GRACEFUL_SECONDS
from uploads.intake.registry import DRAIN_SECONDS

UNITS = ROOT / "deploy" / "systemd"
EXPOSURE = 2.0  # of 10, as `systemd-analyze security` counts


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as installed, but with programs and folders that this machine has."""
    folder = tmp_path / "units"
    folder.mkdir()
    for path in UNITS.iterdir():
        text = path.read_text().replace("/opt/directdrivex/.venv/bin/python", sys.executable)
        text = text.replace("/opt/directdrivex", str(ROOT))
        (folder / path.name.replace("@", "@8001")).write_text(text.replace("%i", "8001"))
    return folder


def test_systemd_understands_every_line(units: Path) -> None:
    named = [str(path) for path in sorted(units.iterdir()) if path.suffix in (".service", ".timer")]
    assert len(named) == 3
    done = subprocess.run(
        [systemd_analyze(), "verify", "--man=no", "--recursive-errors=no", *named], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["directdrivex@8001.service", "directdrivex-cleanup.service"])
def test_what_the_program_does_not_need_is_shut(units: Path, name: str) -> None:
    done = subprocess.run(
        [systemd_analyze(), "security", "--offline=true", "--no-pager", str(units / name)],
        capture_output=True,
        text=True,
    )
    assert float(re.search(r"exposure level.*: (\d+\.\d+)", done.stdout)[1]) <= EXPOSURE, done.stdout + done.stderr


def test_an_instance_is_ended_no_sooner_than_its_uploads_and_downloads_are_let_go(units: Path) -> None:
    text = (units / "directdrivex@8001.service").read_text()
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) > DRAIN_SECONDS + GRACEFUL_SECONDS + 10


def test_the_example_of_the_environment_has_settings_of_the_program_alone() -> None:
    def names(path: Path) -> set[str]:
        return set(re.findall(r"^#? ?([A-Z_]+)=", path.read_text(), re.MULTILINE))

    assert names(UNITS / "environment") <= names(ROOT / ".env.example")


def test_a_command_of_the_operator_runs_as_the_instances_do() -> None:
    unit, command = (UNITS / "directdrivex@.service").read_text(), (UNITS / "manage").read_text().split()
    for line, option in {
        "User": "--uid",
        "Group": "--gid",
        "WorkingDirectory": "--working-directory",
        "EnvironmentFile": "--property=EnvironmentFile",
        "UMask": "--property=UMask",
    }.items():
        assert f"{option}={re.search(rf'^{line}=(.*)$', unit, re.MULTILINE)[1]}" in command
    python = re.search(r"^ExecStartPre=(\S+) manage.py", unit, re.MULTILINE)[1]
    assert command[-3:] == [python, "manage.py", '"$@"']


def test_the_program_tells_when_it_serves(start_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        server = start_server(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert manager.recv(100) == b"READY=1"
        with socket.create_connection(("127.0.0.1", server.port)):
            pass
