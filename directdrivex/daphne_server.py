"""daphne, made to keep the same promises as uvicorn: its server, with requests and sockets of our own.

Importing this installs Twisted's reactor for good.

As it comes, daphne closes without a reason, answers a broken frame by dropping the connection, gives a client one
second to take leave, reads a body to its end however long, parses forms itself, reads from a client whether or not the
program keeps up, takes a download into memory as fast as the program makes it, and leaves open for ever the connection
of one that breaks off.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from directdrivex.daphne_pace import Inbox, Outlet
from directdrivex.daphne_socket import Socket, SocketFactory
from directdrivex.doorstep import Doorstep
from directdrivex.outgoing import BrokenOffError
from directdrivex.reading import Pieces, Readers
from directdrivex.unread import unacknowledged
from uploads.delivery.lasting import UNREAD, UNSENT

DROP_BYTES = 16 * 1024 * 1024


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
        protocol = super().buildProtocol(address)
        protocol.requestFactory = Request
        person = self.server.doorstep.person_of(getattr(address, "host", ""))
        if person is not None:
            self._read_in_pieces(protocol, person)
        return protocol

    def _read_in_pieces(self, protocol: Any, person: str) -> None:
        channel = protocol._channel  # what Twisted makes of a connection, behind which HTTP/2 might be

        def is_over() -> bool:
            return getattr(channel.transport, "protocol", None) is not protocol

        def let_go() -> None:
            is_busy = channel._waitingForTransport or channel._dataBuffer  # then it goes on by itself
            if not is_busy and not is_over():
                channel.transport.resumeProducing()

        pieces = Pieces(
            self.server.readers,
            person,
            read=channel.dataReceived,
            is_over=is_over,
            hold=lambda: channel.transport.pauseProducing(),
            let_go=let_go,
        )
        channel.dataReceived = pieces.take


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
        self.readers = Readers()

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
