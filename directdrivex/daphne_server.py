"""daphne, made to keep the same promises as uvicorn: its server with requests and sockets of our own.

Importing this installs Twisted's reactor for good.

As it comes, daphne closes without a reason, answers a broken frame by dropping the connection, gives a client one
second to take leave, reads a body to its end however long, parses forms itself, reads from a client whether or not the
program keeps up, takes a download into memory as fast as the program makes it, and leaves open for ever the connection
of one that breaks off.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from websockets.frames import apply_mask
from zope.interface import implementer

from directdrivex.doorstep import Doorstep
from directdrivex.frame_budget import FrameBudgets
from directdrivex.outgoing import BrokenOffError
from directdrivex.unread import unacknowledged
from uploads.delivery.lasting import UNREAD, UNSENT

CLOSE_SECONDS = 10  # wire.md: after its close the server reads and drops this long
DEAD_PEER_MILLISECONDS = 40_000
WAITING_BYTES = 2 * 1024 * 1024
MESSAGE_COST = 256  # bytes that a message takes beside its payload, about
DROP_BYTES = 16 * 1024 * 1024
READ_BYTES = 256 * 1024  # at once from an open socket; Twisted takes a quarter of that


class Inbox(asyncio.Queue[dict[str, Any]]):
    """What came in and was not taken yet; calls `hold` when it is too much, and `go_on` when it no longer is."""

    def __init__(self, hold: Callable[[], None], go_on: Callable[[], None]) -> None:
        super().__init__()
        self._hold, self._go_on, self._waiting_bytes, self._held = hold, go_on, 0, False

    @staticmethod
    def _cost(message: dict[str, Any]) -> int:
        return MESSAGE_COST + len(message.get("bytes") or message.get("text") or b"")

    def _put(self, item: dict[str, Any]) -> None:
        super()._put(item)
        self._waiting_bytes += self._cost(item)
        if not self._held and self._waiting_bytes > WAITING_BYTES:
            self._held = True
            self._hold()

    def _get(self) -> dict[str, Any]:
        item = super()._get()
        self._waiting_bytes -= self._cost(item)
        if self._held and self._waiting_bytes <= WAITING_BYTES // 2:
            self._held = False
            self._go_on()
        return item


@implementer(IPushProducer)
class Outlet:
    """Whether the peer takes what is sent to it. Whoever sends waits for `open`."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    def pauseProducing(self) -> None:
        self.open.clear()

    def resumeProducing(self) -> None:
        self.open.set()

    def stopProducing(self) -> None:
        self.open.set()  # the peer is gone, as whoever waits will find out


class Request(WebRequest):
    """A request whose body is the program's to parse and to judge, and whose answer waits for its reader."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._parsePOSTFormSubmission = False
        self._kept = self._dropped = 0
        self.outlet: Outlet | None = None

    def handleContentChunk(self, data: bytes) -> None:
        """Keep of a body what shows the program that it is too long; a client that goes on for long is left."""
        kept = data[: max(0, self.server.most_body_bytes + 1 - self._kept)]
        self._kept += len(kept)
        self._dropped += len(data) - len(kept)
        super().handleContentChunk(kept)
        if self._dropped > DROP_BYTES:
            self.channel.loseConnection()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if self.outlet is None and not self.finished and self.channel is not None:
            self.outlet = Outlet()
            self.registerProducer(self.outlet, True)
        super().handle_reply(message)

    def handle_exception(self, exception: Exception) -> None:
        if not self._response_started:  # else it was cut off: an error page would become a part of the answer
            super().handle_exception(exception)

    def cut_off(self) -> None:
        """Let nobody take what was sent so far for the whole answer."""
        if self._response_started and not self.finished and self.channel is not None:
            self.channel.transport.abortConnection()

    def unread(self) -> int:
        """How many bytes of the answer the peer has not taken yet."""
        if self.finished or self.channel is None:
            return 0
        return self.unsent() + unacknowledged(self.channel.transport.getHandle())

    def unsent(self) -> int:
        """Those of them that the system has not been given."""
        if self.finished or self.channel is None:
            return 0
        transport = self.channel.transport
        return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)

    def finish(self) -> None:
        self._close_outlet()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        self._close_outlet()
        super().connectionLost(reason)

    def _close_outlet(self) -> None:
        if self.outlet is not None:
            self.outlet.stopProducing()
            if self.channel is not None:
                self.unregisterProducer()


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
        connection = self.transport.getHandle()
        if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MILLISECONDS)

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


class OnTheDoorstep(Protocol):
    """Has a connection wait so many seconds, and gives it then to the protocol that `come_in` makes."""

    transport: Any

    def __init__(self, seconds: float, come_in: Callable[[], Any]) -> None:
        self._seconds, self._come_in = seconds, come_in

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        asyncio.get_running_loop().call_later(self._seconds, self._go_on)

    def _go_on(self) -> None:
        transport = self.transport
        transport.protocol = self._come_in()
        transport.protocol.makeConnection(transport)
        transport.resumeProducing()


class RequestFactory(HTTPFactory):
    def buildProtocol(self, address: Any) -> Any:
        wait = self.server.doorstep.wait(getattr(address, "host", ""))
        if wait is None:
            return None  # closed
        return OnTheDoorstep(wait, partial(self._channel, address)) if wait else self._channel(address)

    def _channel(self, address: Any) -> Any:
        channel = super().buildProtocol(address)
        channel.requestFactory = Request
        return channel


class SocketFactory(WebSocketFactory):
    protocol = Socket

    def setProtocolOptions(self, **options: Any) -> None:
        super().setProtocolOptions(**{**options, "failByDrop": False, "closeHandshakeTimeout": CLOSE_SECONDS})


class DaphneServer(Server):
    """`drain` is awaited at shutdown, before the connections that are left are cut."""

    def __init__(
        self,
        *arguments: Any,
        most_body_bytes: int,
        drain: Callable[[], Awaitable[None]],
        doorstep: Doorstep,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self.most_body_bytes, self._drain_uploads, self.doorstep = most_body_bytes, drain, doorstep

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Inbox | None:
        """As the parent's, with an inbox that holds the peer back."""
        if protocol not in self.connections:
            return None
        is_socket = isinstance(protocol, Socket)
        inbox = Inbox(protocol.hold, protocol.go_on) if is_socket else Inbox(lambda: None, lambda: None)
        scope.setdefault("asgi", {"version": "3.0"})
        scope["root_path"] = ""  # daphne believes a header of the client's
        if not is_socket:
            scope[UNREAD], scope[UNSENT] = protocol.unread, protocol.unsent
        running = self.application(scope=scope, receive=inbox.get, send=partial(self.handle_reply, protocol))
        running = running if is_socket else self._served(running, protocol)
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(running)
        return inbox

    async def _served(self, running: Awaitable[None], request: Request) -> None:
        try:
            await running
        except BaseException as error:
            request.cut_off()
            if not isinstance(error, BrokenOffError):
                raise

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Pass one message of the program on, when the peer has taken enough of those before."""
        outlet = protocol.outlet
        if outlet is not None:
            await outlet.open.wait()
        await super().handle_reply(protocol, message)

    def kill_all_applications(self) -> Any:
        for port in self.listeners:
            port.addCallback(lambda port: port.stopListening())
        draining = Deferred.fromFuture(asyncio.ensure_future(self._drain()))
        return draining.addCallback(lambda _: super(DaphneServer, self).kill_all_applications())

    async def _drain(self) -> None:
        await self._drain_uploads()
        for protocol, details in list(self.connections.items()):
            if "application_instance" not in details:  # the parent's loop expects one
                del self.connections[protocol]

    def run(self) -> None:
        # The parent makes its factories in here, by the names that its module gave them.
        import daphne.server as module

        module.HTTPFactory, module.WebSocketFactory = RequestFactory, SocketFactory
        super().run()
