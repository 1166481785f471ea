"""What one worker process has of slots: the manager, and one task that renews and polls for all its uploads."""

import asyncio
import contextlib
import secrets
import weakref
from collections.abc import Callable, Sequence

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError

from quotas import rules
from quotas import services as quotas
from quotas.rules import SlotLimits
from quotas.seeds import SEEDS
from uploads.slots.admission import Admission
from uploads.slots.backing import Backing, InMemory, InRedis, redis_host
from uploads.slots.hold import Hold
from uploads.slots.manager import (
    POLL_SECONDS,
    Claim,
    Granted,
    LeaseView,
    SlotSnapshot,
    SlotsUnavailableError,
    TicketView,
)

LINE_SECONDS = 2.0  # places in the line are read again this often
RENEWALS_A_LEASE = 3  # slots.md 3: renewed every 10 of 30 seconds

log = structlog.get_logger(__name__)


class SlotKeeper:
    """The slots of this process. `held_bytes` tells what its uploads really hold in memory; the intake sets it."""

    def __init__(self, limits: SlotLimits, *, looks_on: bool = False) -> None:
        self.limits = limits
        self.held_bytes: Callable[[], int] = lambda: 0
        self.admission = Admission(
            lambda: self.limits, lambda: self.held_bytes(), override=settings.UPLOAD_BUFFER_BYTES
        )
        self.lease_seconds = float(settings.SLOT_LEASE_SECONDS)
        host, given = redis_host(), (lambda: self.limits, self.admission, self.lease_seconds)
        self._backing: Backing = InRedis(host, *given, looks_on=looks_on) if host else InMemory(*given, self)
        self.manager = self._backing.manager
        self._poll_seconds = min(POLL_SECONDS, self.lease_seconds / RENEWALS_A_LEASE / 2)
        # Weak: a hold that its connection forgot, however that came about, is not renewed and lapses.
        self._holds: weakref.WeakSet[Hold] = weakref.WeakSet()
        self._entering = 0
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._revival: asyncio.Task[None] | None = None
        self._readings = self._newest_reading = 0
        self._renewed_at = self._looked_at = 0.0

    @property
    def node(self) -> str:
        """The node whose memory this process uses; "" where there is only one."""
        return self._backing.node

    async def enter(self, upload_id: str, person: str, window: int) -> Hold:
        """Take a slot or a place for an upload, or take over what it has under an older connection.

        Raises `QueueFullError` and `SlotsUnavailableError`.
        """
        self._entering += 1
        try:
            await self._be_current()
            await self._keep_going()
            hold = Hold(
                self.manager,
                upload_id,
                secrets.token_urlsafe(16),
                lease_seconds=self.lease_seconds,
                grace_seconds=settings.DISCONNECT_GRACE_SECONDS,
            )
            asked_at = asyncio.get_running_loop().time()
            try:
                standing = await self.manager.acquire(Claim(upload_id, hold.owner, person, window))
            except asyncio.CancelledError:
                with contextlib.suppress(SlotsUnavailableError):  # then it lapses
                    await hold.release()  # the store may have granted before it was heard
                raise
            hold.renewed(asked_at)
            hold.take(standing)
            self._holds.add(hold)
            return hold
        finally:
            self._entering -= 1

    async def limits_changed(self) -> None:
        """Read the limits anew and grant what they allow, at once."""
        await self._read_limits()
        await self.manager.tick()

    # --- for those who look on or steer ---

    async def find(self, upload_id: str) -> LeaseView | TicketView | None:
        """What this upload has, if anything."""
        return await self.manager.find(upload_id)

    async def find_all(self, upload_ids: Sequence[str]) -> dict[str, LeaseView | TicketView]:
        """What those of these uploads have that have anything."""
        return await self.manager.find_all(upload_ids)

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
        if not self._works():
            await self.limits_changed()

    def _works(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _keep_going(self) -> None:
        async with self._starting:
            if not self._works():
                await self._backing.open()
                self._task = asyncio.create_task(self._work())
                self._task.add_done_callback(self._after_fault)

    def _after_fault(self, task: asyncio.Task[None]) -> None:
        """Nobody awaits the task: a fault is logged, and the work begins anew for those who rely on it."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("slot_keeper_failed", exc_info=fault)
            if self._living():
                self._revival = asyncio.create_task(self._begin_anew())

    async def _begin_anew(self) -> None:
        await asyncio.sleep(self._poll_seconds)
        # Where another server has the folder by now, it was logged, and holders stop at their own deadlines.
        with contextlib.suppress(SlotsUnavailableError):
            await self._keep_going()

    async def _work(self) -> None:
        """Renew, poll and answer commands for as long as anybody has or waits for anything."""
        try:
            while self._entering or self._living() or await self._backing.anything_left():
                await asyncio.sleep(self._poll_seconds)
                # A database that is slow to answer must not hold up a renewal.
                if self._reading is None or self._reading.done():
                    self._reading = asyncio.create_task(self._read_limits())
                try:
                    await self._renew_when_due()
                    await self.manager.tick()
                    await self._look()
                except SlotsUnavailableError as error:
                    log.warning("slot_store_unreachable", cause=str(error))
        finally:
            self._backing.rest()
            if self._reading is not None:
                self._reading.cancel()

    def _living(self) -> list[Hold]:
        return [hold for hold in self._holds if not hold.over]

    async def _renew_when_due(self) -> None:
        """One call for all. It counts from before it: nobody knows when within it the store heard us."""
        asked_at = asyncio.get_running_loop().time()
        if asked_at - self._renewed_at < self.lease_seconds / RENEWALS_A_LEASE:
            return
        holds = self._living()
        gone = await self.manager.renew([(hold.upload_id, hold.owner) for hold in holds])
        self._renewed_at = asked_at
        for hold in holds:
            if hold.over:
                continue
            if hold.upload_id in gone:
                hold.let_lapse()
            else:
                hold.renewed(asked_at)

    async def _look(self) -> None:
        """Where all stand, by one call: holders may have lost their slots, the line moves up without a message."""
        now = asyncio.get_running_loop().time()
        everybody = now - self._looked_at >= LINE_SECONDS
        holds = [hold for hold in self._living() if everybody or isinstance(hold.standing, Granted)]
        if everybody:
            self._looked_at = now
        if not holds:
            return
        standings = await self.manager.standings([(hold.upload_id, hold.owner) for hold in holds])
        for hold, standing in zip(holds, standings, strict=True):
            if not hold.over:
                hold.take(standing)

    async def _read_limits(self) -> None:
        self._readings = number = self._readings + 1
        try:
            limits = await database_sync_to_async(quotas.slot_limits)()
        except DatabaseError as error:
            log.warning("limits_unreadable", cause=str(error))  # those known last stay in force
            return
        if number > self._newest_reading:  # a slow reading must not bring old limits back
            self._newest_reading, self.limits = number, limits

    async def stop(self) -> None:
        """End the task, and let go of the store."""
        for task in (self._revival, self._task):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self._backing.stop()


_keepers: dict[asyncio.AbstractEventLoop, SlotKeeper] = {}


def get_keeper() -> SlotKeeper:
    """The keeper of the running event loop, made on first use; until the database is read it goes by the seeds.

    Synchronous code of the server reaches it by `async_to_sync`, which runs on the server's loop. Raises
    `RuntimeError` on a second loop beside a running one: its slots would be others, and nobody would notice.
    """
    loop = asyncio.get_running_loop()
    keeper = _keepers.get(loop)
    if keeper is None:
        if any(known.is_running() for known in _keepers):
            raise RuntimeError("the slots of this process belong to another event loop")
        _keepers.clear()
        seeded = rules.slot_limits(SEEDS[settings.ENVIRONMENT], settings.LIMIT_OVERRIDES)
        keeper = _keepers[loop] = SlotKeeper(seeded)
    return keeper
