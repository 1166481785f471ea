"""The upload connections of this process: who has which upload, what they hold, and how to end them all.

Dashboards read `views`; admission reads `buffered_bytes`; a graceful shutdown calls `drain`. Needs no Django.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uploads.errors import ServerRestart, StorageUnavailable, Superseded

if TYPE_CHECKING:
    from uploads.intake.session import UploadSession
    from uploads.intake.transfer import IdleMark
    from uploads.intake.verification import Verification

TAKE_OVER_SECONDS = 20.0
DRAIN_SECONDS = 8.0

IDLE_KEPT_SECONDS = 3600.0

_idle: dict[str, "IdleMark"] = {}
_sessions: dict[str, "UploadSession"] = {}
_everyone: set["UploadSession"] = set()
_by_upload: dict[str, set["UploadSession"]] = {}
_verifications: dict[str, "Verification"] = {}


@dataclass(frozen=True)
class TransferView:
    """One running upload as dashboards see it; all sizes in bytes, `rate` in bytes a second.

    `stage` is `receiving`, `paused` or `verifying`.
    """

    upload_id: str
    stage: str
    received: int
    stored: int
    size: int
    rate: int
    buffered_bytes: int
    connected_seconds: float


def arrived(session: "UploadSession") -> None:
    _everyone.add(session)


def left(session: "UploadSession") -> None:
    _everyone.discard(session)
    if others := _by_upload.get(session.upload_id):
        others.discard(session)
        if not others:
            del _by_upload[session.upload_id]
    if _sessions.get(session.upload_id) is session:
        del _sessions[session.upload_id]


def connections() -> list["UploadSession"]:
    """Every connection of this process, whether or not it has an upload."""
    return list(_everyone)


def listens(session: "UploadSession") -> None:
    """From now on `session` is among the `connections_of` its upload."""
    _by_upload.setdefault(session.upload_id, set()).add(session)


def connections_of(upload_id: str) -> list["UploadSession"]:
    """Every connection of this upload: the one that has it, an older one on its way out, those that only listen."""
    return list(_by_upload.get(upload_id, ()))


def epochs() -> dict[str, int]:
    """By upload, the lowest epoch with which a connection of this process may have it open for writing."""
    return {
        upload_id: min(known)
        for upload_id, sessions in _by_upload.items()
        if (known := [session.epoch for session in sessions if session.epoch is not None])
    }


def claim(session: "UploadSession") -> "UploadSession | None":
    """Make `session` the one connection of its upload; the older one, if there is one, is to be `displace`d."""
    older = _sessions.get(session.upload_id)
    _sessions[session.upload_id] = session
    return older if older is not session else None


async def displace(older: "UploadSession | None") -> None:
    """Tell an older connection that it is superseded, and return when it has let go of the upload.

    Raises `StorageUnavailable` where it, stuck in its storage, does not let go in time.
    """
    if older is None:
        return
    older.fault(Superseded())
    try:
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            await older.let_go.wait()
    except TimeoutError:
        raise StorageUnavailable() from None


def current(upload_id: str) -> "UploadSession | None":
    """The connection that has this upload now."""
    return _sessions.get(upload_id)


def keep_idle(upload_id: str, mark: "IdleMark | None") -> None:
    """The upload may come back: its idle clock goes on then, or mere coming back would hold a slot for ever."""
    forgotten = time.monotonic() - IDLE_KEPT_SECONDS
    for stale in [other for other, known in _idle.items() if known.since < forgotten]:
        del _idle[stale]
    if mark is not None:
        _idle[upload_id] = mark


def idle_mark(upload_id: str) -> "IdleMark | None":
    """The idle clock of the connection before, if it was kept."""
    return _idle.pop(upload_id, None)


def forget_idle(upload_id: str) -> None:
    _idle.pop(upload_id, None)


def verification(upload_id: str) -> "Verification | None":
    return _verifications.get(upload_id)


def verification_began(upload_id: str, verification: "Verification") -> None:
    _verifications[upload_id] = verification


def verification_ended(upload_id: str) -> None:
    _verifications.pop(upload_id, None)


def stored_bytes(upload_id: str) -> int | None:
    """How far the upload is, where this process has it; None where it has not."""
    session = _sessions.get(upload_id)
    if session is not None and session.transfer is not None:
        return session.transfer.partial.offset
    return None


def views() -> list[TransferView]:
    """Every upload of this process that moves bytes, is paused in doing so, or is being verified."""
    now = time.monotonic()
    result = []
    for upload_id, session in _sessions.items():
        transfer = session.transfer
        if transfer is None or upload_id in _verifications:
            continue
        result.append(
            TransferView(
                upload_id=upload_id,
                stage="paused" if session.halted else "receiving",
                received=transfer.received,
                stored=min(transfer.received, transfer.partial.offset),  # a batch is counted once it is stored
                size=transfer.size,
                rate=round(transfer.rate),
                buffered_bytes=transfer.buffered,
                connected_seconds=now - session.connected_at,
            )
        )
    for upload_id, running in _verifications.items():
        result.append(
            TransferView(upload_id, "verifying", running.size, running.size, running.size, 0, 0, now - running.began_at)
        )
    return result


def others_move(person: str) -> bool:
    """Does somebody who is not this person, by address or account, move bytes of an upload at this moment?"""
    return any(
        session.transfer is not None and session.transfer.rate > 0 and person not in session.persons
        for session in _sessions.values()
    )


def buffered_bytes() -> int:
    """What all uploads of this process hold in memory at this moment, in bytes."""
    return sum(session.transfer.buffered for session in _sessions.values() if session.transfer is not None)


async def drain() -> None:
    """Before a shutdown: tell every connection `server_restart`, and wait until each has let its upload go.

    What the storage was given stays stored; verifications that run get the same time to come to their end.
    """
    waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(session.ended.wait()) for session in _everyone]
    waiting += [running.task for running in _verifications.values()]
    for session in list(_everyone):
        session.fault(ServerRestart())
    if waiting:
        await asyncio.wait(waiting, timeout=DRAIN_SECONDS)
