"""The fleet as one of its workers sees it: its own uploads as they are, those of others as they were a second ago."""

import asyncio
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

import psutil
import structlog
from django.conf import settings

from uploads.delivery.line import line
from uploads.fleet.board import Board, BoardError
from uploads.fleet.report import Process, Report
from uploads.intake import registry
from uploads.intake.registry import TransferView
from uploads.intake.transfer import IdleMark
from uploads.slots.backing import redis_host
from uploads.slots.keeper import get_keeper
from uploads.storage import get_store
from uploads.storage.base import Folder

POST_SECONDS = 1.0
READ_SECONDS = 0.5
AWAY_SECONDS = 5.0  # after a failure the others are not asked for so long

log = structlog.get_logger(__name__)


class MismatchError(Exception):
    """Another worker that is alive has other stores or secrets; the message says what to set."""


def _folder() -> Folder | None:
    store = get_store()
    return store if isinstance(store, Folder) else None


def _secret() -> str:
    """The same for two processes with the same key, and no help in finding it."""
    return hashlib.sha256(b"directdrivex.fleet" + str(settings.SECRET_KEY).encode()).hexdigest()[:16]


class Fleet:
    """`board` is None where this process is alone."""

    def __init__(self, board: Board | None) -> None:
        self._board = board
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._own = psutil.Process()
        self.problem = ""  # why another worker cannot be of the same program, while there is such a one
        self._looked_at: set[str] = set()
        self._others: list[Report] = []
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._posting: asyncio.Task[None] | None = None

    # --- what others ask for ---

    async def reports(self) -> list[Report]:
        """That of this worker first; then those of the others, at most half a second older than they say."""
        return [self.report(), *await self.others()]

    async def others(self) -> list[Report]:
        """What is not known is left out: without its store nothing new is granted anyway."""
        if self._board is not None and time.monotonic() - self._read_at >= READ_SECONDS:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read(self._board))
            await asyncio.shield(self._reading)
        return self._others

    async def transfers(self) -> dict[str, TransferView]:
        """Every upload of all workers that moves bytes, is paused, or is being verified; by its id."""
        elsewhere = {view.upload_id: view for report in await self.others() for view in report.transfers}
        return elsewhere | {view.upload_id: view for view in registry.views()}

    def report(self) -> Report:
        admission = get_keeper().admission
        return Report(
            worker=self.name,
            node=get_keeper().node,
            folder=folder.name_here() if (folder := _folder()) else "",
            secret=_secret(),
            process=self._process(),
            memory=admission.reading(),
            buffer_limit=admission.ceiling,
            buffered_bytes=registry.buffered_bytes(),
            connections=len(registry.connections()),
            downloads=line().running,
            downloads_waiting=line().waiting,
            transfers=tuple(registry.views()),
        )

    def _process(self) -> Process:
        with self._own.oneshot():
            times = self._own.cpu_times()
            return Process(
                host=socket.gethostname(),
                pid=self._own.pid,
                started_at=self._own.create_time(),
                resident_bytes=self._own.memory_info().rss,
                cpu_seconds=round(times.user + times.system, 2),
                open_files=self._own.num_fds(),
            )

    async def difference(self) -> str:
        """Why a worker that is alive, and was not looked at before, cannot be one of the same program; or ""."""
        own = self.report()
        for report in await self.others():
            if report.worker not in self._looked_at:
                if problem := await asyncio.to_thread(difference, own, report, _folder()):
                    return problem
                self._looked_at.add(report.worker)
        return ""

    # --- the idle clock of an upload, from one connection to the next ---

    async def keep_idle(self, upload_id: str, mark: IdleMark | None) -> None:
        registry.keep_idle(upload_id, mark)
        if self._board is not None and mark is not None:
            since = time.time() - (time.monotonic() - mark.since)
            with suppress(BoardError):
                await self._board.keep_idle(upload_id, mark.offset, since, registry.IDLE_KEPT_SECONDS)

    async def idle_mark(self, upload_id: str) -> IdleMark | None:
        own = registry.idle_mark(upload_id)
        if self._board is None:
            return own
        with suppress(BoardError):
            if found := await self._board.take_idle(upload_id):
                offset, since = found
                return IdleMark(offset, time.monotonic() - max(0.0, time.time() - since))
        return own

    async def close(self) -> None:
        """Let go of the board."""
        if self._board is not None:
            await self._board.close()

    # --- saying so ---

    def begin(self) -> None:
        """Say every second what this worker runs, until `end`."""
        if self._board is not None and (self._posting is None or self._posting.done()):
            self.sign()
            self._posting = asyncio.create_task(self._post(self._board))

    def sign(self) -> None:
        """Leave a sign in the folder of the files, by which another machine sees that it has the same one."""
        if folder := _folder():
            folder.sign(get_keeper().node)

    async def end(self) -> None:
        if self._posting is None or self._board is None:
            return
        self._posting.cancel()
        await asyncio.wait({self._posting})
        with suppress(BoardError):
            await self._board.withdraw(self.name)

    async def _post(self, board: Board) -> None:
        while True:
            try:
                await board.post(self.report())
                problem = await self.difference()
                if problem and problem != self.problem:
                    log.error("stranger_in_the_fleet", cause=problem)
                self.problem = problem
            except BoardError as error:
                log.warning("report_not_posted", cause=str(error))
            except OSError as error:  # no descriptor is left to look by
                log.warning("report_not_made", cause=str(error))
            await asyncio.sleep(POST_SECONDS)

    async def _read(self, board: Board) -> None:
        try:
            self._others = [report for report in await board.reports() if report.worker != self.name]
        except BoardError as error:
            self._others = []
            self._read_at = time.monotonic() + AWAY_SECONDS
            log.warning("reports_unread", cause=str(error))
            return
        self._read_at = time.monotonic()


def difference(own: Report, other: Report, folder: Folder | None) -> str:
    """Why `other` cannot be a worker of the same program, in one sentence, or ""; to be called from a thread.

    On one machine a folder has one name; on several, who shares it finds there what the other machine has left.
    """
    whom = f"process {other.process.pid} on {other.process.host}, which is on the same Redis"
    if other.node == own.node:
        shared = other.folder == own.folder
    else:
        shared = folder.is_signed_by(other.node) if folder and other.folder else own.folder == other.folder
    if not shared:
        return (
            f"DATA_DIR is not the folder of {whom}: mount the same folder as DATA_DIR on each machine, "
            "or keep the files elsewhere (STORAGE=gdrive), or give each server a Redis database of its own."
        )
    if other.secret != own.secret:
        return (
            f"SECRET_KEY is not that of {whom}: set the same on each machine, "
            "or give each server a Redis database of its own."
        )
    return ""


async def refuse_strangers() -> None:
    """Raise `MismatchError` where a worker that is alive cannot be one of the same program as this."""
    fleet = get_fleet()
    problem = await fleet.difference()
    await fleet.close()
    await get_keeper().stop()
    if problem:
        raise MismatchError(problem)


_fleets: dict[asyncio.AbstractEventLoop, Fleet] = {}


def get_fleet() -> Fleet:
    """The fleet as the running event loop knows it, made on first use."""
    loop = asyncio.get_running_loop()
    fleet = _fleets.get(loop)
    if fleet is None:
        for other in [known for known in _fleets if known.is_closed()]:
            del _fleets[other]
        host: Mapping[str, object] | None = redis_host()
        fleet = _fleets[loop] = Fleet(Board(host) if host else None)
    return fleet
