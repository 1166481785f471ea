"""Everything that happens to a connection, in one line: messages, hints, faults of the work that runs beside it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from django.utils.translation import gettext_lazy as _

from uploads.errors import InvalidRequest, UploadError
from uploads.intake import protocol
from uploads.intake.events import ConnectionLost, Event, Fault, RowChanged

MAILBOX_MESSAGES = 64


class Mailbox:
    """The events of one connection, and the tasks whose failures are among them."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.deaf = False

    # --- what the socket calls ---

    def text(self, text: str) -> None:
        """A text frame arrived."""
        if self.deaf:
            return
        try:
            if self._events.qsize() >= MAILBOX_MESSAGES:
                raise InvalidRequest("message", _("These were too many messages at once."))
            self.put(protocol.parse(text))
        except UploadError as error:
            self.deaf = True
            self.fault(error)

    def frame(self, data: bytes) -> None:
        """A binary frame arrived; it goes past the other events, into the transfer."""
        if self.deaf:
            return
        try:
            self.take(data)
        except UploadError as error:
            self.deaf = True
            self.fault(error)

    def take(self, data: bytes) -> None:
        """What to do with a binary frame. Raises the `UploadError` that it deserves."""
        raise NotImplementedError

    def lost(self, code: int) -> None:
        """The connection is gone, or was closed by the client with `code`."""
        self.deaf = True
        self.fault(ConnectionLost(code))

    # --- what others call ---

    def row_changed(self) -> None:
        """Somebody changed the file's state elsewhere."""
        self.put(RowChanged())

    def fault(self, error: Exception) -> None:
        """End the conversation with `error`, after what stands in the mailbox already."""
        self.put(Fault(error))

    def put(self, event: Event) -> None:
        self._events.put_nowait(event)

    # --- what the conversation calls ---

    async def next(self) -> Event:
        """The next event; a fault is raised."""
        return _opened(await self._events.get())

    async def next_within(self, seconds: float | None) -> Event | None:
        """The next event, or None when none came in this time (None: wait for ever)."""
        try:
            async with asyncio.timeout(seconds):
                event = await self._events.get()
        except TimeoutError:
            return None
        return _opened(event)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the conversation; if it fails, the conversation ends with its error."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.fault(error)

    async def stop_tasks(self) -> None:
        """Cancel what was spawned, and return when it is over."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _opened(event: Event) -> Event:
    if isinstance(event, Fault):
        raise event.error
    return event
