"""HTTP connections that do not wait for ever: for a request that never comes, or for a peer that never reads.

uvicorn ends a connection that is idle after an answer, and no other; whoever sends a byte a minute, or none, would
keep it. And it ends an answer that breaks off in good order, when all before has been taken: some clients then take it
for the whole.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from directdrivex.dead_peers import end_without_acknowledgement
from directdrivex.outgoing import BrokenOffError
from directdrivex.unread import unacknowledged
from uploads.delivery.lasting import UNREAD, UNSENT

HEADER_SECONDS = 20.0  # from the connection, or the first byte of a further request, to the end of its headers
BODY_SECONDS = 120.0  # from there to the end of its body, which is 2 MiB at most
# A download that is paused may stand still this long; its client goes on with `Range`.
STUCK_PEER_SECONDS = 300.0


class PatientHTTP(H11Protocol):
    """Closes a connection whose request does not come to its end in time, and leaves stuck peers to the kernel."""

    _deadline: asyncio.TimerHandle | None = None
    _awaits: object = None

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._application, self.app = self.app, self._serve

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        cycle = self.cycle
        scope[UNREAD], scope[UNSENT] = self._unread, self._unsent
        try:
            await self._application(scope, receive, send)
        except BaseException as error:
            if cycle.response_started and not cycle.response_complete:
                self.transport.abort()
                cycle.disconnected = True  # as it is noted a moment later anyway
            if not isinstance(error, BrokenOffError):
                raise

    def _unread(self) -> int:
        if self.transport.is_closing():
            return 0
        return self._unsent() + unacknowledged(self.transport.get_extra_info("socket"))

    def _unsent(self) -> int:
        """What the system has it sends, also when the connection is cut."""
        return 0 if self.transport.is_closing() else int(self.transport.get_write_buffer_size())

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        end_without_acknowledgement(transport.get_extra_info("socket"), STUCK_PEER_SECONDS)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._unwatch()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start the clock of what is waited for now, unless it runs already."""
        ours = not self.transport.is_closing() and self.transport.get_protocol() is self
        awaited: object = self.conn.their_state if ours else None
        if awaited is self._awaits:
            return
        self._unwatch()
        if awaited in (h11.IDLE, h11.SEND_BODY):
            self._awaits = awaited
            seconds = HEADER_SECONDS if awaited is h11.IDLE else BODY_SECONDS
            self._deadline = self.loop.call_later(seconds, self._give_up)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._awaits = None

    def _give_up(self) -> None:
        self.transport.abort()  # a peer that sends so slowly would take an answer as slowly
