"""Debian's rclone, unmodified, through the emulator's CONNECT side: it takes it for www.googleapis.com."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools import machine
from devtools.rclone import environment as environment_of
from tests.emulator.rig import Drive

MIB = 1024 * 1024
LARGE = os.urandom(9 * MIB + 77)  # beyond 8 MiB it uploads by chunks
SMALL = b"a few words"
Rclone = Callable[..., str]


@pytest.fixture
def rclone(drive: Drive, tmp_path: Path) -> Rclone:
    """Runs rclone, and returns what it prints; another exit code than 0 fails the test."""
    program = machine.rclone()
    environment = environment_of(drive.emulator, tmp_path)

    def run(*words: str) -> str:
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "small.txt").write_bytes(SMALL)
    (folder / "नमस्ते it's.txt").write_bytes(b"")
    return folder


def test_files_go_up_and_come_back_and_compare(rclone: Rclone, source: Path, tmp_path: Path) -> None:
    rclone("copyto", str(source / "large.bin"), "drive:up/large.bin")
    rclone("copy", str(source), "drive:up")
    rclone("check", "--checksum", str(source), "drive:up")
    assert hashlib.md5(LARGE).hexdigest() in rclone("md5sum", "drive:up")
    assert sorted(rclone("lsf", "drive:up").splitlines()) == ["large.bin", "small.txt", "नमस्ते it's.txt"]
    rclone("copyto", "drive:up/large.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == LARGE
    assert rclone("cat", "--offset", "2", "--count", "3", "drive:up/small.txt") == "few"


def test_what_another_client_stored_comes_down_by_rclone(drive: Drive, rclone: Rclone, tmp_path: Path) -> None:
    drive.upload(LARGE, name="theirs.bin")
    rclone("copyto", "drive:theirs.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == LARGE


def test_what_rclone_stored_is_there_for_others(drive: Drive, rclone: Rclone, source: Path) -> None:
    rclone("copyto", str(source / "large.bin"), "drive:for others.bin")
    [file] = drive.emulator.files("name='for others.bin'")
    assert file["sha256Checksum"] == hashlib.sha256(LARGE).hexdigest()


def test_folders_moves_copies_and_removal(drive: Drive, rclone: Rclone, source: Path) -> None:
    rclone("mkdir", "drive:work/deep")
    rclone("copyto", str(source / "small.txt"), "drive:work/deep/one.txt")
    rclone("copyto", "drive:work/deep/one.txt", "drive:work/two.txt")
    rclone("moveto", "drive:work/deep/one.txt", "drive:work/three.txt")
    assert sorted(rclone("lsf", "-R", "drive:work").splitlines()) == ["deep/", "three.txt", "two.txt"]
    rclone("delete", "drive:work")
    rclone("rmdirs", "drive:work")
    assert "work/" not in rclone("lsf", "drive:").splitlines()
    assert drive.emulator.files("name='two.txt' and trashed=true")
    rclone("cleanup", "drive:")
    assert not drive.emulator.files("name='two.txt' and trashed=true")


def test_it_fills_a_shared_drive(drive: Drive, rclone: Rclone, source: Path) -> None:
    where = ("--drive-team-drive", "shared0", "--drive-root-folder-id", "")
    rclone("copyto", str(source / "large.bin"), "drive:films/shared.bin", *where)
    assert "films/shared.bin" in rclone("lsf", "-R", "drive:", *where).splitlines()
    assert drive.emulator.files("name='shared.bin'")[0]["driveId"] == "shared0"


def test_it_sees_room_and_shared_drives(rclone: Rclone) -> None:
    assert json.loads(rclone("about", "--json", "drive:"))["free"] > 0
    assert json.loads(rclone("backend", "drives", "drive:"))[0]["id"] == "shared0"


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "status", "status": 503, "reason": "backendError"},
        {"fault": "status", "status": 403, "reason": "userRateLimitExceeded"},
        {"fault": "reset"},
        {"fault": "lost"},
    ],
    ids=lambda fault: fault.get("reason", fault["fault"]),
)
def test_it_carries_on_after_a_fault(drive: Drive, rclone: Rclone, source: Path, fault: dict[str, object]) -> None:
    id = drive.emulator.add_fault(**fault)  # type: ignore[arg-type]
    rclone("copyto", str(source / "large.bin"), f"drive:{id}.bin")
    assert drive.emulator.fired(id) == 1
    [file] = drive.emulator.files(f"name='{id}.bin' and trashed=false")
    assert file["sha256Checksum"] == hashlib.sha256(LARGE).hexdigest()
