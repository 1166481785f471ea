"""SQLite's log beside a server: closing a connection does not empty it, and what is in it is safe soon."""

import contextlib
import os
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools.server_process import ServerProcess
from directdrivex.databases.sqlite3 import log as database_log
from directdrivex.databases.sqlite3.log import kept_log


def write(database: Path, rows: int = 1) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS rows (data)")
            connection.executemany("INSERT INTO rows VALUES (?)", [(b"x" * 4000,)] * rows)


def count(database: Path) -> int:
    """The rows that are in the database itself; 0 while they are being put there."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])
        except sqlite3.DatabaseError:
            return 0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    write(tmp_path / "rows.sqlite3")
    return tmp_path / "rows.sqlite3"


def test_whoever_closes_the_last_connection_of_a_server_does_not_empty_the_log(database: Path) -> None:
    path = Path(f"{database}-wal")
    assert not path.exists()
    with kept_log(database):
        until(path.exists)
        for _ in range(3):
            write(database)
            assert path.stat().st_size > 0
        assert count(database) == 1, "the rows are in the log alone"
    assert not path.exists()
    assert count(database) == 4


def test_the_log_is_emptied_beside_the_writers(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_log, "SYNC_SECONDS", 0.01)
    monkeypatch.setattr(database_log, "EMPTY_SECONDS", 0.05)
    with kept_log(database):
        until(Path(f"{database}-wal").exists)
        write(database, 100)
        until(lambda: count(database) == 101)
        size = Path(f"{database}-wal").stat().st_size
        for rows in range(150, 1100, 50):
            write(database, 50)
            until(lambda expected=rows + 1: count(database) == expected)
        assert Path(f"{database}-wal").stat().st_size < 4 * size, "it was used again from its beginning"


def test_what_was_written_is_synced_within_a_moment_and_once(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fdatasync

    def note(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr("directdrivex.databases.sqlite3.log.os.fdatasync", note)
    monkeypatch.setattr(database_log, "SYNC_SECONDS", 0.01)
    with kept_log(database):
        until(Path(f"{database}-wal").exists)
        write(database)
        until(lambda: bool(synced))
        time.sleep(0.1)
        before = len(synced)
        time.sleep(0.1)
        assert len(synced) == before, "nothing new, nothing to sync"
    assert set(synced) == {f"{database}-wal"}


def test_a_database_that_cannot_be_read_for_a_while_is_looked_after_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_log, "SYNC_SECONDS", 0.01)
    database = tmp_path / "later.sqlite3"
    database.write_bytes(b"this is no database" * 100)
    with kept_log(database):
        time.sleep(0.05)
        database.write_bytes(b"")
        write(database)
        until(Path(f"{database}-wal").exists)
        write(database)
        assert Path(f"{database}-wal").exists()
    assert not [thread for thread in threading.enumerate() if thread.name == "database-log"]


def test_a_server_keeps_the_log_of_its_database(server: ServerProcess) -> None:
    log = server.data_dir / "directdrivex.sqlite3-wal"
    until(log.exists)
    before = log.stat()
    for _ in range(3):
        with urllib.request.urlopen(f"{server.url}/api/v1/upload/quota-info") as answer:
            answer.read()
    assert log.stat().st_ino == before.st_ino
    server.stop()
    assert not log.exists()
