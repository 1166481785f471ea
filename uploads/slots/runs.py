"""The last run of Redis that was seen, kept in the database, which outlives Redis (slots.md 9)."""

import asyncio

import structlog
from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError

from uploads.models import SlotStoreRun

DATABASE_SECONDS = 2.0
FAULTS = (DatabaseError, InterfaceError, TimeoutError)

log = structlog.get_logger(__name__)


class DatabaseRuns:
    """The `Runs` of a slot manager."""

    async def last(self) -> str | None:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                return await database_sync_to_async(_last)()
        except FAULTS as error:
            log.warning("slot_store_run_unreadable", cause=str(error))
            return None

    async def keep(self, run: str) -> bool:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await database_sync_to_async(_keep)(run)
        except FAULTS as error:
            log.warning("slot_store_run_not_kept", cause=str(error))
            return False
        log.info("slot_store_run", run=run)
        return True


def _last() -> str:
    return SlotStoreRun.objects.values_list("run", flat=True).first() or ""


def _keep(run: str) -> None:
    SlotStoreRun.objects.update_or_create(pk=1, defaults={"run": run})
