"""The emulator as a program: `make emulator`, its CONNECT side, its folder, its end."""

import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import ROOT
from devtools.emulator_process import EmulatorProcess
from devtools.server_process import program_environment
from tests.emulator.rig import Drive

MIB = 1024 * 1024


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devtools.emulator"],
        cwd=ROOT,
        env=program_environment(environment),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_says_its_address_listens_on_loopback_and_ends_when_asked(
    start_emulator: Callable[[], EmulatorProcess], by: signal.Signals
) -> None:
    emulator = start_emulator()
    assert emulator.text() == (
        f"The Drive emulator listens on http://127.0.0.1:{emulator.port}, and keeps its files in {emulator.folder}.\n"
    )
    idle = socket.create_connection(("127.0.0.1", emulator.port))
    with idle, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", emulator.port))
    assert emulator.stop(by=by) == 0
    assert "Traceback" not in emulator.text()


def test_a_port_that_is_taken_or_makes_no_sense_is_told_in_one_sentence(drive: Drive, tmp_path: Path) -> None:
    taken = run(EMULATOR_PORT=str(drive.emulator.port), DATA_DIR=str(tmp_path))
    assert taken.returncode == 1
    expected = f"The emulator cannot start on 127.0.0.1 port {drive.emulator.port}: Address already in use.\n"
    assert taken.stderr == expected
    assert run(EMULATOR_PORT="http", DATA_DIR=str(tmp_path)).stderr == (
        "The emulator cannot start: EMULATOR_PORT is 'http'; it must be a whole number.\n"
    )


def test_make_emulator_starts_it() -> None:
    done = subprocess.run(
        ["make", "-n", "--no-print-directory", "emulator"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "exec .venv/bin/python -m devtools.emulator"


# --- CONNECT ---


def tunnel(emulator: EmulatorProcess, target: str) -> tuple[socket.socket, str]:
    connection = socket.create_connection(("127.0.0.1", emulator.port), timeout=30)
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\n".encode())
    connection.sendall(f"Host: {target}\r\n\r\n".encode())
    return connection, connection.recv(1024).decode()


@pytest.mark.parametrize("name", ["www.googleapis.com", "oauth2.googleapis.com", "accounts.google.com"])
def test_connect_leads_to_google_for_who_trusts_the_authority(drive: Drive, name: str) -> None:
    connection, said = tunnel(drive.emulator, f"{name}:443")
    assert said.startswith("HTTP/1.1 200 ")
    context = ssl.create_default_context(cafile=drive.emulator.authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with context.wrap_socket(connection, server_hostname=name) as secure:
        secure.sendall(
            f"POST /upload/drive/v3/files?uploadType=resumable HTTP/1.1\r\nHost: {name}\r\n"
            f"Authorization: Bearer {drive.token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while block := secure.recv(65536):
            answer += block
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Location: https://{name}/upload/drive/v3/files?".encode() in answer


def test_who_does_not_trust_the_authority_is_not_served(drive: Drive) -> None:
    connection, _ = tunnel(drive.emulator, "www.googleapis.com:443")
    with connection, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(connection, server_hostname="www.googleapis.com")


def test_connect_leads_nowhere_else(drive: Drive) -> None:
    connection, said = tunnel(drive.emulator, "example.org:443")
    with connection:
        assert said.startswith("HTTP/1.1 403 ")


def test_a_request_may_come_byte_by_byte(drive: Drive) -> None:
    with socket.create_connection(("127.0.0.1", drive.emulator.port), timeout=30) as connection:
        for byte in b"CO":
            connection.sendall(bytes([byte]))
    with socket.create_connection(("127.0.0.1", drive.emulator.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /_faults HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        answer = b""
        while block := connection.recv(65536):
            answer += block
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


# --- what it keeps ---


def test_the_authority_is_kept_and_its_key_is_nobody_elses(start_emulator: Callable[[], EmulatorProcess]) -> None:
    emulator = start_emulator()
    before = emulator.authority.read_bytes()
    emulator.stop()
    emulator.restart()
    assert emulator.authority.read_bytes() == before
    assert emulator.authority.with_suffix(".key").stat().st_mode & 0o077 == 0


def test_no_bytes_stay_of_what_was_cancelled_refused_or_removed(start_emulator: Callable[[], EmulatorProcess]) -> None:
    emulator = start_emulator()
    drive = Drive(emulator)
    kept = drive.upload(b"kept")
    removed = drive.upload(b"removed")
    drive.call("DELETE", f"files/{removed['id']}")
    session = drive.start(2**20)
    drive.put(session, bytes(2**18), 0, 2**20)
    drive.send("DELETE", session)
    [id] = drive.call("GET", "files/generateIds", count=1).json["ids"]
    one, two = drive.start(1, id=id), drive.start(1, id=id)
    drive.put(one, b"1", 0, 1)
    assert drive.put(two, b"2", 0, 1).status == 409
    assert drive.send("DELETE", two).status == 499
    emulator.add_fault("gone")
    session = drive.start(2**20)
    assert drive.put(session, bytes(2**18), 0, 2**20).status == 503
    assert len(os.listdir(emulator.folder / "blobs")) == 2
    assert emulator.stop() == 0
    emulator.restart()
    drive = Drive(emulator)
    assert {file["id"] for file in emulator.files()} == {kept["id"], id}
    assert len(os.listdir(emulator.folder / "blobs")) == 2
    assert emulator.accounts()[0]["usage"] == 5


def test_a_large_body_costs_no_memory(start_emulator: Callable[[], EmulatorProcess]) -> None:
    emulator = start_emulator()
    drive = Drive(emulator)
    drive.upload(bytes(MIB))
    before = emulator.memory()
    drive.send("PUT", drive.start(128 * MIB), (bytes(MIB) for _ in range(128)), Content_Length=128 * MIB)
    assert emulator.files("name='file'")[0]["size"] == str(128 * MIB)
    assert emulator.memory() < before + 16 * MIB


def test_a_full_disk_is_drives_trouble_and_loses_nothing(start_emulator: Callable[[], EmulatorProcess]) -> None:
    emulator = start_emulator()
    drive = Drive(emulator)
    content = os.urandom(3 * MIB)
    session = drive.start(3 * MIB)
    resource.prlimit(emulator.pid, resource.RLIMIT_FSIZE, (MIB + 1000, resource.RLIM_INFINITY))
    refused = drive.put(session, content, 0, 3 * MIB)
    assert (refused.status, refused.reason) == (500, "backendError")
    stored = drive.ask(session, 3 * MIB).stored
    assert stored == MIB
    resource.prlimit(emulator.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    final = drive.put(session, content[stored:], stored, 3 * MIB)
    assert emulator.content(final.json["id"]) == content
    assert "Traceback" not in emulator.text()
