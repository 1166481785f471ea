"""uvicorn's sockets, made to keep the promises of wire.md; for `serving.py`."""

from asyncio.transports import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from directdrivex.dead_peers import end_without_acknowledgement
from directdrivex.frame_budget import FrameBudgets
from directdrivex.frames import Inlet, read_large_frames


class PatientWebSocket(WebSocketsSansIOProtocol):
    """Leaves it to the kernel to notice a dead peer, and takes frames no faster than one client should send them.

    A pong waits behind all that the client has queued: a window of 8 MiB on a slow line takes minutes, so that a
    deadline for pongs would end healthy uploads. The kernel's own acknowledgements do not wait.
    """

    _frames, _throttled = 0, False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._reader = read_large_frames(self.conn)
        self._budgets = FrameBudgets(self.loop.time)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        # uvicorn makes this the transport's protocol only after the first bytes were read.
        self.loop.call_soon(self._receive_in_place)

    def _receive_in_place(self) -> None:
        if self.transport.is_closing():
            return
        was_reading = self.transport.is_reading()
        self.transport.pause_reading()
        self.transport.set_protocol(Inlet(self, self._reader))
        if was_reading:
            self.transport.resume_reading()  # uvloop asks only now for the protocol's own buffers

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        frames, self._frames = self._frames, 0
        pause = self._budgets.pause_after(frames)
        if pause and not self.transport.is_closing():
            self.transport.pause_reading()
            if not self._throttled:
                self._throttled = True
                self.loop.call_later(pause, self._go_on)

    def _go_on(self) -> None:
        self._throttled = False
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await super().receive()
        if self._throttled and not self.transport.is_closing():
            self.transport.pause_reading()  # an empty queue made it go on
        return message

    def handle_text(self, event: Frame) -> None:
        self._frames += 1
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._frames += 1
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        self._frames += 1
        super().handle_cont(event)

    def handle_pong(self, event: Frame) -> None:
        self._count_control()
        super().handle_pong(event)

    def handle_ping(self) -> None:
        self._count_control()
        if self.transport.is_closing():
            return
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # pongs for a peer that does not read would pile up: dropped

    def _count_control(self) -> None:
        self._frames += 1
        if self._budgets.too_many_controls():
            self.transport.abort()

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        end_without_acknowledgement(transport.get_extra_info("socket"))
