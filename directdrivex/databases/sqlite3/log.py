"""SQLite's write-ahead log, kept, synced and emptied by a thread beside the requests. Needs no Django.

Left alone, SQLite empties the log into the database whenever the last connection closes, which is after most requests,
and whenever it has a thousand pages. Either takes several syncs; beside uploads that write to the same disk they last
up to a second, for which whoever happened to come waits.
"""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

SYNC_SECONDS = 1.0
EMPTY_SECONDS = 30.0  # the first to write into an emptied log waits for one sync

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def kept_log(database: Path) -> Iterator[None]:
    """Look after the log of `database` for as long as this lasts; at its end the log is emptied."""
    stop = threading.Event()
    keeping = threading.Thread(target=_keep, args=(database, stop), name="database-log", daemon=True)
    keeping.start()
    try:
        yield
    finally:
        stop.set()
        keeping.join()


def _keep(database: Path, stop: threading.Event) -> None:
    path = Path(f"{database}-wal")
    changed = syncs_due = 0
    emptied_at = time.monotonic()
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        while not stop.is_set():
            try:
                # From its first read on this connection counts: whoever closes another is not the last.
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if path.exists() and (now := path.stat().st_mtime_ns) != changed:
                    changed, syncs_due = now, 2  # clocks of files tick slowly: more may be written at the same time
                if syncs_due:
                    _sync(path)
                    syncs_due -= 1
                if time.monotonic() - emptied_at >= EMPTY_SECONDS:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    emptied_at = time.monotonic()
            except (OSError, sqlite3.Error) as error:
                # The next try may do. Until then all is well but for a power cut.
                log.warning("database_log_not_kept", cause=str(error))
            stop.wait(SYNC_SECONDS)


def _sync(path: Path) -> None:
    # SQLite's locks lie on its other files: whoever opened and closed one of those would take them off.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
