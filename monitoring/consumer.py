"""The socket of the live page: whole snapshots to staff, at most two a second, never deltas (wire.md)."""

import asyncio
import contextlib
import json
import time
from typing import Any

import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError
from django.utils import translation

from monitoring.beside import beside
from monitoring.live import Names, message, shown_uploads
from monitoring.snapshot import current
from uploads import hints
from uploads.intake.handshake import comes_from_a_foreign_page
from uploads.intake.origin import origin_of
from uploads.language import language_of
from uploads.people import session_key_of, user_of_session

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0
# How long somebody who logged out, or is staff no longer, may go on looking.
RECHECK_SECONDS = 20.0
# A browser that does not take a message for so long is gone.
SEND_SECONDS = 30.0
NO_LONGER_STAFF = 4403
MOST_MESSAGES = 100
MOST_MESSAGE_BYTES = 4096

log = structlog.get_logger(__name__)


def staff_of(session_key: str | None) -> str | None:
    """The name of the staff member whose session this is, read anew from the store; None for anybody else."""
    user = user_of_session(session_key)
    return user.get_username() if user.is_active and user.is_staff else None


_staff_beside = beside(staff_of)


class LiveConsumer(AsyncWebsocketConsumer):
    """One staff member who looks on. What the page sends is dropped, and too much of it ends the connection."""

    channel_layer_alias = hints.NO_CHANNEL_LAYER  # whoever looks on when it goes away sees that it does

    async def connect(self) -> None:
        """Refused with 403 but for a staff session on a page of our own; a browser always names its page."""
        self.session_key = session_key_of(self.scope)
        self.pushing: asyncio.Task[None] | None = None
        self.messages = 0
        self.over = False
        if origin_of(self.scope) is None or comes_from_a_foreign_page(self.scope):
            await self.close()
            return
        if await _staff_beside(self.session_key) is None:
            await self.close()
            return
        self.language = language_of(self.scope)
        await self.accept()
        self.pushing = asyncio.create_task(self._serve())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.messages += 1
        if self.messages > MOST_MESSAGES or len(text_data or bytes_data or "") > MOST_MESSAGE_BYTES:
            await self._end(1008)

    async def disconnect(self, code: int) -> None:
        self.over = True
        if self.pushing is not None:
            self.pushing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.pushing

    async def _end(self, code: int) -> None:
        if not self.over:
            self.over = True
            await self.close(code)

    async def _serve(self) -> None:
        code = 1011
        try:
            code = await self._push()
        finally:
            # A page must not take old numbers for live ones: whatever ended the pushing ends the connection.
            await self._end(code)

    async def _still_staff(self) -> bool:
        """Whoever looks on when the database goes away sees that it does; the next time that it answers counts."""
        try:
            return await _staff_beside(self.session_key) is not None
        except DatabaseError as error:
            log.warning("live_reader_unchecked", cause=str(error))
            return True

    async def _push(self) -> int:
        """Send a snapshot whenever it differs from the last one sent, and as a heartbeat; returns a close code.

        The next one is made only when the last was taken, so that a slow reader gets fewer and piles up none.
        """
        names = Names()
        sent: dict[str, Any] = {}
        sent_at = checked_at = time.monotonic()
        sequence = 0
        while not self.over:
            now = time.monotonic()
            if now - checked_at >= RECHECK_SECONDS:
                checked_at = now
                if not await self._still_staff():
                    return NO_LONGER_STAFF
            state = await current()
            facts = await names.of(shown_uploads(state))
            with translation.override(self.language):
                latest = message(state, facts)
            if latest != sent or now - sent_at >= HEARTBEAT_SECONDS:
                sequence += 1
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await self.send(json.dumps(latest | {"at": state.at.isoformat(), "sequence": sequence}))
                except TimeoutError:
                    log.warning("live_reader_is_stuck")
                    return 1008
                sent, sent_at = latest, time.monotonic()
            await asyncio.sleep(POLL_SECONDS)
        return 1000
