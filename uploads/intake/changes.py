"""How connections learn that somebody else changed their file: by a hint at once, and in any case by a slow poll."""

import asyncio
from contextlib import suppress

import structlog
from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError

from uploads import hints
from uploads.intake import registry
from uploads.models import StoredFile
from uploads.states import TERMINAL

POLL_SECONDS = 5.0
ROWS_A_QUERY = 500
LISTENING_SECONDS = 1.0  # a connection waits no longer than this for a channel layer that does not answer
PAUSE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Watch:
    """The listener and the poll of one worker, for all its connections; both end with the last of these."""

    def __init__(self) -> None:
        self.listening = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]

    @property
    def runs(self) -> bool:
        return not any(task.done() for task in self._tasks)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _listen(self) -> None:
        while True:
            try:
                await hints.listen(_heard, self.listening.set)
            except hints.LAYER_ERRORS as error:
                log.warning("hints_unheard", cause=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                changed = await database_sync_to_async(_changed)(registry.epochs())
            except (DatabaseError, InterfaceError) as error:
                log.warning("rows_unreadable", cause=str(error))
                continue
            for upload_id, epoch in changed:
                _heard(upload_id, epoch)


def _heard(upload_id: str, epoch: int | None) -> None:
    for session in registry.connections_of(upload_id):
        if epoch is None or session.epoch != epoch:
            session.row_changed()


def _changed(epochs: dict[str, int]) -> list[tuple[str, int | None]]:
    """Those of these uploads that are over, with None, or were opened for writing since, with their epoch now."""
    changed: list[tuple[str, int | None]] = []
    keys = list(epochs)
    for start in range(0, len(keys), ROWS_A_QUERY):
        rows = StoredFile.objects.filter(pk__in=keys[start : start + ROWS_A_QUERY])
        for pk, status, epoch in rows.values_list("pk", "status", "epoch"):
            if status in TERMINAL:
                changed.append((str(pk), None))
            elif epoch != epochs[str(pk)]:
                changed.append((str(pk), epoch))
    return changed


_watch: Watch | None = None


async def keep_watch() -> None:
    """Watch for as long as there are connections; returns when hints are heard, or after a second without the layer."""
    global _watch
    if _watch is None or not _watch.runs:
        _watch = Watch()
    with suppress(TimeoutError):  # the poll will find what is not heard
        async with asyncio.timeout(LISTENING_SECONDS):
            await _watch.listening.wait()


async def rest() -> None:
    """Stop where no connection is left."""
    global _watch
    if _watch is not None and not registry.connections():
        watch, _watch = _watch, None
        await watch.stop()
