"""New connections, before anything is read from them: who opens too many while others upload waits there.

A connection costs time before anybody knows what it is for, and one whose client has left already costs nearly as much
as any other. So that time is taken from its person's share as well. Trusted proxies come in at once: behind one is
everybody. Needs no Django.
"""

import asyncio
import errno
import heapq
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from quotas.rules import IPNetwork, address_person, is_in
from uploads.time_shares import Share

CONNECTION_SECONDS = 0.0025  # about what one takes with its request and an answer that says no; 80 of them are ahead
LONGEST_SECONDS = 5.0  # five hundred connections of one address wait; one more is closed
MOST_WAITING = 1000  # of all addresses together: each is a descriptor
OUT_OF_MEANS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Doorstep:
    """Tells how long each new connection waits before it is read."""

    def __init__(
        self,
        share: Share,
        trusted: Iterable[IPNetwork],
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share, self._trusted, self._most_waiting, self._clock = share, list(trusted), most_waiting, clock
        self._until: list[float] = []  # a heap: when each of those who wait has waited long enough

    def wait(self, address: str) -> float | None:
        """Seconds that one more connection from this address waits; None where it is to be closed at once."""
        person = self.person_of(address)
        if person is None:
            return 0.0
        wait = self._share.wait(person)
        if wait and (wait > LONGEST_SECONDS or not self._has_room(wait)):
            return None
        self._share.take(person, CONNECTION_SECONDS)
        return wait

    def person_of(self, address: str) -> str | None:
        """Who is behind the address of a connection; None where that is everybody."""
        return None if not address or is_in(address, self._trusted) else address_person(address).key

    def _has_room(self, wait: float) -> bool:
        """Is there room for one more who waits so long? It is taken then."""
        now = self._clock()
        while self._until and self._until[0] <= now:
            heapq.heappop(self._until)
        if len(self._until) >= self._most_waiting:
            return False
        heapq.heappush(self._until, now + wait)
        return True


class Acceptor:
    """Accepts the connections of `listener`, and gives each to the protocol that `come_in` makes when it may come in.

    An event loop's own server accepts until nobody is left in the system's line: who connects as fast as it accepts
    keeps it at that, and all others waiting. This one goes on with everybody else after a few. Whoever waits is a
    bare socket, from which nothing is read.
    """

    def __init__(
        self, listener: socket.socket, doorstep: Doorstep, come_in: Callable[[], asyncio.Protocol], at_once: int = 16
    ) -> None:
        self._listener, self._doorstep, self._come_in, self._at_once = listener, doorstep, come_in, at_once
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._coming: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._listen()

    async def close(self) -> None:
        """Accept nobody any more, and return when all who wait have come in: whoever was accepted is answered."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        for connection, timer in list(self._waiting.items()):
            timer.cancel()
            self._waited(connection)
        if self._coming:
            await asyncio.wait(self._coming)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # another process was faster, or the client has left
            except OSError as error:
                if error.errno not in OUT_OF_MEANS:
                    raise
                log.warning("cannot_accept", cause=str(error), pause=PAUSE_SECONDS)
                self._loop.remove_reader(self._listener)  # or the loop would do nothing but try
                self._pause = self._loop.call_later(PAUSE_SECONDS, self._listen)
                return
            self._receive(connection, address)

    def _receive(self, connection: socket.socket, address: Any) -> None:
        wait = self._doorstep.wait(address[0] if isinstance(address, tuple) else "")
        if wait is None:
            connection.close()
        elif wait:
            self._waiting[connection] = self._loop.call_later(wait, self._waited, connection)
        else:
            self._begin(connection)

    def _waited(self, connection: socket.socket) -> None:
        del self._waiting[connection]
        self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as loops' own servers do
        coming = self._loop.create_task(self._hand_over(connection))
        self._coming.add(coming)
        coming.add_done_callback(self._coming.discard)

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._come_in, connection)
        except OSError as error:
            log.debug("connection_lost_at_the_door", cause=str(error))
            connection.close()
