"""What one worker process has of slots: the manager, one task that renews and polls for all, and holds for its uploads.

A `Hold` is an upload's slot or place as its connection sees it. Nothing else knows owner tokens.
"""

import asyncio
import secrets
import time
from collections.abc import Callable

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError

from quotas import rules
from quotas import services as quotas
from quotas.rules import SlotLimits
from quotas.seeds import SEEDS
from uploads.slots import control
from uploads.slots.admission import Admission
from uploads.slots.manager import (
    POLL_SECONDS,
    Absent,
    Claim,
    Granted,
    LeaseView,
    SlotManager,
    SlotSnapshot,
    SlotsUnavailableError,
    Standing,
    TicketView,
)
from uploads.slots.memory import MemorySlotManager

DEADLINE_MARGIN_SECONDS = 5.0  # slots.md 8: a holder stops this long before its lease could be another's

log = structlog.get_logger(__name__)


class Hold:
    """One upload's slot or place under one owner token; `lost` is set when it is neither any longer."""

    def __init__(self, keeper: "SlotKeeper", upload_id: str, owner: str, standing: Standing) -> None:
        self._keeper, self.upload_id, self.owner = keeper, upload_id, owner
        self.standing = standing
        self.lost = asyncio.Event()
        self.renewed_at = time.monotonic()

    async def changed(self, timeout: float) -> None:
        """Return when the standing may have changed, or after `timeout` seconds; `standing` is fresh then."""
        if self.lost.is_set():
            self.standing = Absent()
            await asyncio.sleep(0)
            return
        await self._keeper.manager.changed(self.upload_id, self.owner, timeout)
        await self.refresh()

    async def refresh(self) -> None:
        """Ask anew where the upload stands; this claims a grant."""
        self.standing = await self._keeper.manager.standing(self.upload_id, self.owner)
        if isinstance(self.standing, Absent):
            self.let_lapse()

    async def release(self) -> None:
        """Give slot or place back at once."""
        self._keeper.forget(self)
        await self._keeper.manager.release(self.upload_id, self.owner)

    async def detach(self) -> None:
        """The connection was lost: slot or place stay a while, for the upload's return."""
        self._keeper.forget(self)
        await self._keeper.manager.detach(self.upload_id, self.owner, settings.DISCONNECT_GRACE_SECONDS)

    def let_lapse(self) -> None:
        """What was held is gone: whoever relies on it must stop."""
        self.standing = Absent()
        self.lost.set()
        self._keeper.forget(self)


class SlotKeeper:
    """The slots of this process. `held_bytes` tells what its uploads really hold in memory; the intake sets it."""

    def __init__(self, limits: SlotLimits) -> None:
        self.limits = limits
        self.held_bytes: Callable[[], int] = lambda: 0
        self.admission = Admission(
            lambda: self.limits, lambda: self.held_bytes(), override=settings.UPLOAD_BUFFER_BYTES
        )
        self.lease_seconds = float(settings.SLOT_LEASE_SECONDS)
        self.manager: SlotManager = MemorySlotManager(
            lambda: self.limits, self.admission, lease_seconds=self.lease_seconds
        )
        self._holds: set[Hold] = set()
        self._task: asyncio.Task[None] | None = None
        self._renewed_at = time.monotonic()

    async def enter(self, upload_id: str, person: str, window: int) -> Hold:
        """Take a slot or a place for an upload, or what it has already from an older connection.

        Raises `QueueFullError` and `SlotsUnavailableError`.
        """
        await self._be_current()
        self._keep_going()
        owner = secrets.token_urlsafe(16)
        standing = await self.manager.acquire(Claim(upload_id, owner, person, window))
        hold = Hold(self, upload_id, owner, standing)
        self._holds.add(hold)
        return hold

    def forget(self, hold: Hold) -> None:
        self._holds.discard(hold)

    async def limits_changed(self) -> None:
        """Read the limits anew and grant what they allow, at once."""
        try:
            self.limits = await database_sync_to_async(quotas.slot_limits)()
        except DatabaseError as error:
            log.warning("limits_unreadable", cause=str(error))  # those known last stay in force
        await self.manager.tick()

    # --- for those who look on or steer ---

    async def find(self, upload_id: str) -> LeaseView | TicketView | None:
        """What this upload has, if anything."""
        return await self.manager.find(upload_id)

    async def snapshot(self) -> SlotSnapshot:
        """The whole state, under the limits in force now."""
        await self._be_current()
        return await self.manager.snapshot()

    async def check(self) -> list[str]:
        """The violations of slots.md's invariants, in words."""
        await self._be_current()
        return await self.manager.check()

    async def repair(self) -> list[str]:
        return await self.manager.repair()

    async def take_away(self, upload_id: str) -> bool:
        return await self.manager.take_away(upload_id)

    async def pause(self, upload_id: str) -> bool:
        return await self.manager.pause(upload_id)

    async def unpause(self, upload_id: str) -> bool:
        return await self.manager.unpause(upload_id)

    async def to_front(self, upload_id: str) -> bool:
        return await self.manager.to_front(upload_id)

    # --- the one task ---

    async def _be_current(self) -> None:
        """While nothing runs nobody polls: then the limits are read when somebody asks."""
        if self._task is None or self._task.done():
            await self.limits_changed()

    def _keep_going(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Renew, poll and answer commands for as long as anybody has or waits for anything."""
        async with control.answering(self, settings.DATA_DIR):
            while self._holds or await self._anything_left():
                await asyncio.sleep(POLL_SECONDS)
                try:
                    await self.limits_changed()
                    if time.monotonic() - self._renewed_at >= self.lease_seconds / 3:
                        await self._renew()
                except SlotsUnavailableError as error:
                    log.warning("slot_store_unreachable", cause=str(error))
                self._stop_the_overdue()

    async def _anything_left(self) -> bool:
        state = await self.manager.snapshot()
        return bool(state.leases or state.tickets)

    async def _renew(self) -> None:
        """One call for all. The deadline counts from before it: nobody knows when within it the store heard us."""
        asked_at, holds = time.monotonic(), list(self._holds)
        gone = await self.manager.renew([(hold.upload_id, hold.owner) for hold in holds])
        self._renewed_at = asked_at
        for hold in holds:
            if hold.upload_id in gone:
                hold.let_lapse()
            else:
                hold.renewed_at = asked_at

    def _stop_the_overdue(self) -> None:
        patience = max(self.lease_seconds - DEADLINE_MARGIN_SECONDS, self.lease_seconds / 2)
        for hold in list(self._holds):
            if isinstance(hold.standing, Granted) and time.monotonic() - hold.renewed_at > patience:
                hold.let_lapse()

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


_keepers: dict[asyncio.AbstractEventLoop, SlotKeeper] = {}


def get_keeper() -> SlotKeeper:
    """The keeper of the running event loop, made on first use; until the database is read it goes by the seeds."""
    loop = asyncio.get_running_loop()
    keeper = _keepers.get(loop)
    if keeper is None:
        for gone in [known for known in _keepers if known.is_closed()]:
            del _keepers[gone]
        seeded = rules.slot_limits(SEEDS[settings.ENVIRONMENT], settings.LIMIT_OVERRIDES)
        keeper = _keepers[loop] = SlotKeeper(seeded)
    return keeper
