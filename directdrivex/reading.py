"""Requests that are read no longer than their senders' share of the time lasts.

A body in chunks of one byte takes a third of a second of the event loop for each quarter of a MiB, and is worked on by
nobody yet: no turn of a request (`turns.py`) has begun. No person comes near their share; a program that asks as fast
as it can, one thing after the other, may.
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


class Pieces:
    """What comes from one person's connection: `read` gets it piece by piece, and nothing between `hold` and `let_go`.

    What is left is dropped where the connection `is_over`: lost, or become a socket.
    """

    def __init__(
        self,
        readers: Readers,
        person: str,
        *,
        read: Callable[[bytes], None],
        is_over: Callable[[], bool],
        hold: Callable[[], None],
        let_go: Callable[[], None],
    ) -> None:
        self._readers, self._person, self._read, self._is_over = readers, person, read, is_over
        self._hold, self._let_go = hold, let_go
        self._left = bytearray()
        self.waits = False

    def take(self, data: bytes) -> None:
        self._left += data
        if self.waits:
            self._hold()
        else:
            self._go_on()

    def drop(self) -> None:
        self._left.clear()

    def _go_on(self) -> None:
        was_held, self.waits = self.waits, False
        while self._left and not self._is_over():
            if not self._readers.may_read(self._person):
                self.waits = True
                self._hold()
                self._readers.wait(self._person, self._go_on)
                return
            piece = bytes(self._left[:PIECE_BYTES])
            del self._left[:PIECE_BYTES]
            # Of the processor: on a machine with much else to do, what passes meanwhile is nobody's share.
            began = time.perf_counter()
            self._read(piece)
            self._readers.have_read(self._person, time.perf_counter() - began)
        if was_held:
            self._let_go()


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
            if not self.read_paused and not self._transport.is_closing():
                self._transport.resume_reading()


class MeasuredHTTP(PatientHTTP):
    """uvicorn's connection, read as `Pieces` are where `person_of` its address is somebody."""

    _pieces: Pieces | None = None

    def __init__(self, readers: Readers, person_of: Callable[[str], str | None], **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._readers, self._person_of = readers, person_of

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = self._held = Held(transport)
        person = self._person_of(self.client[0] if self.client else "")
        if person is not None:
            self._pieces = Pieces(
                self._readers,
                person,
                read=super().data_received,
                is_over=self._is_over,
                hold=self._held.hold,
                let_go=self._held.let_go,
            )

    def _is_over(self) -> bool:
        return self.transport.is_closing() or self.transport.get_protocol() is not self

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pieces is not None:
            self._pieces.drop()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Whoever used their share up does not keep the program from its end until they have it again."""
        if self._pieces is not None and self._pieces.waits:
            self.transport.abort()
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._pieces is None:
            super().data_received(data)
        else:
            self._pieces.take(data)
