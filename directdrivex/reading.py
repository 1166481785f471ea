"""Requests that are read no longer than their senders' share of the time lasts.

A body in chunks of one byte takes a third of a second of the event loop for each quarter of a MiB, and is worked on by
nobody yet: no turn of a request (`turns.py`) has begun. Who sends what everybody sends never comes near their share.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

from directdrivex.deadlines import PatientHTTP
from uploads.time_shares import Share

PIECE_BYTES = 8 * 1024  # read in one go: some 10 ms at the worst
LEAST_WAIT_SECONDS = 0.001  # a loop's clock may know no less


class Readers:
    """Has the connections of each person read one after the other where their share is used up."""

    def __init__(self, share: Share | None = None) -> None:
        # Also where nobody uploads: whoever would, could not even begin.
        self._share = Share(lambda person: True) if share is None else share
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def may_read(self, person: str) -> bool:
        return not self._share.wait(person)

    def have_read(self, person: str, seconds: float) -> None:
        self._share.take(person, seconds)

    def wait(self, person: str, read: Callable[[], None]) -> None:
        """Have `read` called when this person may read again, after those who wait already."""
        if person not in self._waiting:
            self._waiting[person] = deque()
            self._call_later(person)
        self._waiting[person].append(read)

    def _call_later(self, person: str) -> None:
        asyncio.get_running_loop().call_later(max(LEAST_WAIT_SECONDS, self._share.wait(person)), self._next, person)

    def _next(self, person: str) -> None:
        waiting = self._waiting[person]
        while waiting and self.may_read(person):
            waiting.popleft()()
        if waiting:
            self._call_later(person)
        else:
            del self._waiting[person]


class Held(FlowControl):
    """Reads nothing while it is held, whatever the request that is read wants meanwhile."""

    _is_held = False

    def resume_reading(self) -> None:
        if self._is_held:
            self.read_paused = False
        else:
            super().resume_reading()

    def hold(self) -> None:
        self._is_held = True
        self._transport.pause_reading()

    def let_go(self) -> None:
        if self._is_held:
            self._is_held = False
            if not self.read_paused:
                self._transport.resume_reading()


class MeasuredHTTP(PatientHTTP):
    """Reads piece by piece, and waits where its person's share is used up; `person` is None for everybody."""

    def __init__(self, readers: Readers, person_of: Callable[[str], str | None], **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._readers, self._person_of = readers, person_of
        self._person: str | None = None
        self._to_read = bytearray()
        self._waits = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._person = self._person_of(self.client[0] if self.client else "")
        self.flow = self._held = Held(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._to_read.clear()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Whoever used their share up does not keep the program from its end until they have it again."""
        if self._waits:
            self.transport.abort()
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._person is None:
            super().data_received(data)
            return
        self._to_read += data
        if not self._waits:
            self._read(self._person)

    def _read(self, person: str) -> None:
        self._waits = False
        while self._to_read and not self.transport.is_closing() and self.transport.get_protocol() is self:
            if not self._readers.may_read(person):
                self._waits = True
                self._held.hold()
                self._readers.wait(person, lambda: self._read(person))
                return
            piece = bytes(self._to_read[:PIECE_BYTES])
            del self._to_read[:PIECE_BYTES]
            began = time.perf_counter()
            super().data_received(piece)
            self._readers.have_read(person, time.perf_counter() - began)
        if not self.transport.is_closing():
            self._held.let_go()
