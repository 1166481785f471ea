"""daphne's sockets, made to keep the promises of wire.md; for `daphne_server.py`."""

import asyncio
from typing import Any

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from websockets.frames import apply_mask

from directdrivex.daphne_pace import Outlet
from directdrivex.dead_peers import end_without_acknowledgement
from directdrivex.frame_budget import FrameBudgets

CLOSE_SECONDS = 10  # wire.md: after its close the server reads and drops this long
READ_BYTES = 256 * 1024  # at once from an open socket; Twisted takes a quarter of that


class Masker:
    """Takes the mask off the parts of one frame; autobahn's own copies each of them three times."""

    def __init__(self, mask: bytes) -> None:
        self._mask, self._done = 2 * mask, 0

    def pointer(self) -> int:
        return self._done

    def process(self, data: bytes) -> bytes:
        turn = self._done % 4
        self._done += len(data)
        return apply_mask(data, self._mask[turn : turn + 4])


class Socket(WebSocketProtocol):
    """A socket that is read no faster than the program takes its messages, and that closes with code and reason."""

    held = throttled = False
    frames = 0
    outlet: Outlet | None = None
    budgets: FrameBudgets | None = None

    def onOpen(self) -> None:
        super().onOpen()
        self.budgets = FrameBudgets(asyncio.get_running_loop().time)
        self.outlet = Outlet()
        self.transport.unregisterProducer()  # that was the HTTP channel before the upgrade
        self.transport.registerProducer(self.outlet, True)
        self.transport.bufferSize = READ_BYTES
        end_without_acknowledgement(self.transport.getHandle())

    def connectionLost(self, reason: Any) -> None:
        if self.outlet is not None:
            self.outlet.stopProducing()
        super().connectionLost(reason)

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state != self.STATE_CONNECTING:
            # `sendClose` knows 1000 and 3000 upwards only.
            self.sendCloseFrame(message.get("code") or 1000, (message.get("reason") or "").encode())
        else:
            super().handle_reply(message)

    # --- reading no faster than messages are taken, and no more frames than one client should send ---

    def hold(self) -> None:
        self.held = True
        self.transport.pauseProducing()

    def go_on(self) -> None:
        self.held = False
        self._read_again()

    def _read_again(self) -> None:
        if not self.held and not self.throttled and self.state != self.STATE_CLOSED:
            self.transport.resumeProducing()

    def onFrameBegin(self) -> None:
        self.frames += 1
        if self.current_frame.mask:
            self.current_frame_masker = Masker(self.current_frame.mask)
        super().onFrameBegin()

    def dataReceived(self, data: bytes) -> None:
        self._dataReceived(data)  # the parent's only colours a line for the log first, whether or not there is one
        frames, self.frames = self.frames, 0
        pause = self.budgets.pause_after(frames) if self.budgets else 0.0
        if pause and not self.throttled and self.state != self.STATE_CLOSED:
            self.throttled = True
            self.transport.pauseProducing()
            asyncio.get_running_loop().call_later(pause, self._frames_earned)

    def _frames_earned(self) -> None:
        self.throttled = False
        self._read_again()

    def onPong(self, payload: bytes) -> None:
        self._count_control()

    def onPing(self, payload: bytes) -> None:
        self._count_control()
        if self.outlet is None or self.outlet.open.is_set():
            super().onPing(payload)  # pongs for a peer that does not read would pile up: dropped

    def _count_control(self) -> None:
        if self.budgets and self.budgets.too_many_controls():
            self.dropConnection(abort=True)


class SocketFactory(WebSocketFactory):
    protocol = Socket

    def setProtocolOptions(self, **options: Any) -> None:
        super().setProtocolOptions(**{**options, "failByDrop": False, "closeHandshakeTimeout": CLOSE_SECONDS})
