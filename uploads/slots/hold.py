"""An upload's slot or place as its connection sees it. Needs no Django."""

import asyncio
import weakref
from collections.abc import Callable

import structlog

from uploads.slots.manager import Absent, Granted, SlotManager, Standing

log = structlog.get_logger(__name__)
DEADLINE_MARGIN_SECONDS = 5.0  # slots.md 8: a holder stops this long before its lease could be another's


class Hold:
    """One upload's slot or place under one owner token.

    `standing` is the last known; `lost` is set while the upload has no slot that it once had, or nothing at all:
    taken away, paused, taken over, lapsed, or not renewed for so long that it may have lapsed.
    """

    def __init__(
        self, manager: SlotManager, upload_id: str, owner: str, *, lease_seconds: float, grace_seconds: float
    ) -> None:
        self._manager, self.upload_id, self.owner = manager, upload_id, owner
        self.standing: Standing = Absent()
        self.lost = asyncio.Event()
        self.over = False  # given back, left behind, or gone: nobody renews it any longer
        self._patience = max(lease_seconds - DEADLINE_MARGIN_SECONDS, lease_seconds / 2)
        self._grace_seconds = grace_seconds
        self._noted: int | None = None  # the fence of the slot that the log has as held
        self._waits: set[asyncio.Timeout] = set()
        self._deadline: asyncio.TimerHandle | None = None

    async def changed(self, timeout: float) -> None:
        """Return when the standing has changed, or after `timeout` seconds; `standing` is a poll old at most."""
        if self.over:
            await asyncio.sleep(0)  # who asks again and again must not hold up the loop
            return
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                may_differ = await self._manager.changed(self.upload_id, self.owner, timeout)
        except TimeoutError:
            return  # ended by `take` or `let_lapse`: it is known already
        finally:
            self._waits.discard(wait)
        if may_differ:
            await self.refresh()

    async def refresh(self) -> None:
        """Ask anew where the upload stands; this claims a grant."""
        if not self.over:
            standing = await self._manager.standing(self.upload_id, self.owner)
            if not self.over:
                self.take(standing)

    async def postpone(self, seconds: float) -> None:
        """Wait with the ticket until the storage takes the upload, in `seconds`; 0: it may be tried again."""
        if not self.over:
            await self._manager.postpone(self.upload_id, self.owner, seconds)
            await self.refresh()

    async def release(self) -> None:
        """Give slot or place back at once."""
        self._end()
        await self._manager.release(self.upload_id, self.owner)

    async def detach(self) -> None:
        """The connection was lost: slot or place stay a while, for the upload's return."""
        self._end()
        await self._manager.detach(self.upload_id, self.owner, self._grace_seconds)

    # --- for the keeper ---

    def take(self, standing: Standing) -> None:
        """The store says so. A slot that is heard of after its own deadline may be another's by now, and is none."""
        if isinstance(standing, Granted) and self._is_late():
            self.let_lapse()
            return
        had_a_slot, self.standing = isinstance(self.standing, Granted), standing
        self._note(standing.fence if isinstance(standing, Granted) else None)
        if had_a_slot != isinstance(standing, Granted):
            self._end_waits()
        if isinstance(standing, Absent):
            self.let_lapse()
        elif isinstance(standing, Granted):
            self.lost.clear()
        elif had_a_slot:
            self.lost.set()

    def renewed(self, asked_at: float) -> None:
        """The store has renewed this; the request left at `asked_at` on the loop's clock, and counts from then."""
        if self._deadline is not None:
            self._deadline.cancel()
        # Neither the timer nor the keeper keeps a hold alive: one that its connection forgot must lapse.
        self._deadline = asyncio.get_running_loop().call_at(
            asked_at + self._patience, _let_lapse, weakref.WeakMethod(self.let_lapse)
        )

    def _is_late(self) -> bool:
        return self._deadline is not None and self._deadline.when() <= asyncio.get_running_loop().time()

    def let_lapse(self) -> None:
        """What was held is gone, or must be taken for gone: whoever relies on it stops."""
        self._end()
        self.standing = Absent()
        self.lost.set()
        self._end_waits()

    def _end_waits(self) -> None:
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    def _note(self, fence: int | None) -> None:
        """The log has when each slot was held, from after it was given until before it is given back."""
        before, self._noted = self._noted, fence
        if before != fence and before is not None:
            log.info("slot_let_go", upload=self.upload_id, fence=before)
        if before != fence and fence is not None:
            log.info("slot_held", upload=self.upload_id, fence=fence)

    def _end(self) -> None:
        self.over = True
        self._note(None)
        if self._deadline is not None:
            self._deadline.cancel()


def _let_lapse(method: Callable[[], Callable[[], None] | None]) -> None:
    if (let_lapse := method()) is not None:
        let_lapse()
