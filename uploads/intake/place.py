"""What an upload connection has of slots: its hold, entered again where it was taken away, and watched for change."""

from collections.abc import Callable

from django.conf import settings

from uploads.errors import Superseded
from uploads.intake import registry
from uploads.slots.keeper import Hold, get_keeper
from uploads.slots.manager import Absent, Granted, Standing, Waiting

QUEUE_REPORT_SECONDS = 2.0
SLOT_WATCH_SECONDS = 60.0


class Place:
    """The slot or place of one upload, for as long as its connection has it."""

    def __init__(self, upload_id: str, person: str) -> None:
        self._upload_id, self._person = upload_id, person
        self._hold: Hold | None = None

    async def enter(self, *, paused: bool) -> None:
        """Take a slot, a place, or what an older connection of the same upload has. Raises the slots' errors.

        What an admin had `paused` waits for the admin, though its sender gave up the place that it had then.
        """
        keeper = get_keeper()
        keeper.held_bytes = registry.buffered_bytes
        self._hold = await keeper.enter(self._upload_id, self._person, settings.UPLOAD_WINDOW_BYTES)
        if paused:
            await keeper.pause(self._upload_id)
            await self._hold.refresh()

    async def enter_again(self, is_current: bool, *, paused: bool) -> None:
        """It lapsed, or an admin took it away: to the end of the line, unless a newer connection has the upload."""
        if not is_current:
            raise Superseded()
        await self.enter(paused=paused)

    @property
    def taken(self) -> bool:
        return self._hold is not None

    @property
    def standing(self) -> Standing:
        return self._hold.standing if self._hold is not None else Absent()

    @property
    def granted(self) -> bool:
        return isinstance(self.standing, Granted)

    async def postpone(self, seconds: float) -> None:
        """The storage takes the upload in `seconds` at the earliest; 0: it may be tried. Raises the slots' errors."""
        if self._hold is not None:
            await self._hold.postpone(seconds)

    def hand_over(self) -> Hold:
        """Give the hold to somebody else, who releases it."""
        assert self._hold is not None
        hold, self._hold = self._hold, None
        return hold

    async def give_up(self, *, keep: bool) -> None:
        """Release it, or keep it a while for the upload's return; once. Raises the slots' errors."""
        hold, self._hold = self._hold, None
        if hold is not None:
            await (hold.detach() if keep else hold.release())

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the standing is another, until it is gone or this hold is no longer ours."""
        hold = self._hold
        while hold is not None and hold is self._hold and not isinstance(before := hold.standing, Absent):
            # Places move up without anybody being woken: the line is read again as often as it may be told.
            await hold.changed(QUEUE_REPORT_SECONDS if isinstance(before, Waiting) else SLOT_WATCH_SECONDS)
            if hold.standing != before:
                changed()
