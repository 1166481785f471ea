"""Sessions in the database: one row for each upload, held by one writer at a time.

A hold is a lease, renewed beside the writing. One whose process is gone from this very machine is void at once, so that
an upload goes on as soon as a killed server is up again; that of a machine that does not answer lapses.
"""

import os
import uuid
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from django.db import IntegrityError
from django.utils import timezone

from uploads.drive_models import DriveUpload
from uploads.storage.base import StorageUnavailableError
from uploads.storage.gdrive.ports import RENEW_SECONDS, Checkpoint, DriveSession, TakenOverError

LEASE = timedelta(seconds=3 * RENEW_SECONDS)


class RowHold:
    """A row held under the name `holder`."""

    def __init__(self, key: str, holder: str, session: DriveSession | None) -> None:
        self._key, self._holder, self.session = key, holder, session

    async def save(self, session: DriveSession) -> None:
        await _in_thread(self._write, **_columns(session), saved_at=timezone.now())

    async def renew(self) -> None:
        await _in_thread(self._write)

    async def let_go(self) -> None:
        with suppress(StorageUnavailableError):  # then it lapses
            await _in_thread(self._end)

    def _write(self, **columns: Any) -> None:
        mine = DriveUpload.objects.filter(pk=self._key, holder=self._holder)
        if not mine.update(held_until=timezone.now() + LEASE, **columns):
            raise TakenOverError("another writer has taken this upload over, or it was removed")

    def _end(self) -> None:
        mine = DriveUpload.objects.filter(pk=self._key, holder=self._holder)
        mine.filter(file_id="").delete()  # nothing came of it
        mine.update(holder="", held_until=None)


class RowSessions:
    """The `Sessions` of the Drive store, over `DriveUpload`."""

    async def hold(self, key: str, *, take: bool = False) -> RowHold:
        return await _in_thread(_hold, key, take)

    async def load(self, key: str) -> DriveSession | None:
        return await _in_thread(_load, key)

    async def delete(self, key: str) -> None:
        await _in_thread(DriveUpload.objects.filter(pk=key).delete)

    async def ages(self) -> list[tuple[str, float]]:
        return await _in_thread(_ages)


async def _in_thread(function: Any, *args: Any, **columns: Any) -> Any:
    """Run database work in Django's thread. Raises `StorageUnavailableError` where the database does not answer."""
    try:
        return await database_sync_to_async(function)(*args, **columns)
    except DatabaseError as error:
        raise StorageUnavailableError(f"the database: {error}") from error


def _hold(key: str, take: bool) -> RowHold:
    now = timezone.now()
    row = DriveUpload.objects.filter(pk=key).first()
    if row is None:
        try:
            row = DriveUpload.objects.create(pk=key, saved_at=now)
        except IntegrityError:
            raise StorageUnavailableError("another writer has just taken this upload") from None
    held = row.holder and row.held_until is not None and row.held_until > now
    if held and not take and not _is_dead(row.holder):
        raise StorageUnavailableError("another writer holds this upload")
    holder = f"{_process(os.getpid())}/{uuid.uuid4().hex}"
    seen = DriveUpload.objects.filter(pk=key, holder=row.holder)
    if not seen.update(holder=holder, held_until=now + LEASE):
        raise StorageUnavailableError("another writer has just taken this upload")
    return RowHold(key, holder, _session(row))


def _load(key: str) -> DriveSession | None:
    row = DriveUpload.objects.filter(pk=key).first()
    return _session(row) if row is not None else None


def _ages() -> list[tuple[str, float]]:
    now = timezone.now()
    rows = DriveUpload.objects.exclude(file_id="").values_list("pk", "saved_at")
    return [(str(key), max(0.0, (now - saved_at).total_seconds())) for key, saved_at in rows.iterator()]


def _session(row: DriveUpload) -> DriveSession | None:
    if row.account_id is None or not row.file_id:
        return None
    state = bytes(row.sha256_state) if row.sha256_state is not None else None
    return DriveSession(
        account_id=row.account_id,
        file_id=row.file_id,
        size=row.size,
        sealed_url=row.sealed_url,
        offset=row.offset,
        checkpoint=Checkpoint(row.hashed_bytes, row.crc32, state),
        finished=row.finished,
    )


def _columns(session: DriveSession) -> dict[str, Any]:
    checkpoint = session.checkpoint or Checkpoint(0, 0, None)
    return {
        "account_id": session.account_id,
        "file_id": session.file_id,
        "size": session.size,
        "sealed_url": session.sealed_url,
        "offset": session.offset,
        "finished": session.finished,
        "hashed_bytes": checkpoint.offset,
        "crc32": checkpoint.crc32,
        "sha256_state": checkpoint.sha256_state,
    }


# --- who holds it ---


@cache
def _machine() -> str:
    """This machine as long as it runs, and this container of it: a process id means nothing elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""  # where nobody says, leases have to lapse


def _life(pid: int) -> str:
    """Which process has this id: its start, in ticks since the machine's. Raises `OSError` where there is none."""
    state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if state == "Z":
        raise ProcessLookupError(pid)  # killed, and nobody has asked how it ended
    return f"{pid}:{fields[18]}"


@cache
def _process(pid: int) -> str:
    return f"{_machine()}/{_life(pid)}" if _machine() else f"/{pid}"


def _is_dead(holder: str) -> bool:
    """Did this holder's process end on this machine? False for what cannot be known from here."""
    machine, _, rest = holder.partition("/")
    life = rest.partition("/")[0]
    if not machine or machine != _machine():
        return False
    try:
        return _life(int(life.partition(":")[0])) != life
    except OSError:
        return True
