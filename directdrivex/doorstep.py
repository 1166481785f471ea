"""New connections, before anything is read from them: who opens too many while others upload waits there.

A connection costs time before anybody knows what it is for, and one whose client has left already costs nearly as much
as any other. So each address has a share of that time as well, which the addresses of trusted proxies need not keep to:
behind one is everybody. Needs no Django.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from quotas.rules import IPNetwork, address_person, is_in
from uploads.time_shares import Share

CONNECTION_SECONDS = 0.0025  # about what one takes with its request and an answer that says no; 40 of them are ahead
LONGEST_SECONDS = 10.0  # a thousand connections of one address wait; one more is closed


class Doorstep:
    """Tells how long each new connection waits before it is read."""

    def __init__(self, share: Share, trusted: Iterable[IPNetwork]) -> None:
        self._share, self._trusted = share, list(trusted)

    def wait(self, address: str) -> float | None:
        """Seconds that one more connection from this address waits; None where it is to be closed at once."""
        if not address or is_in(address, self._trusted):
            return 0.0
        person = address_person(address).key
        if (wait := self._share.wait(person)) > LONGEST_SECONDS:
            return None
        self._share.take(person, CONNECTION_SECONDS)
        return wait


class OnTheDoorstep(asyncio.Protocol):
    """Has a connection wait as long as `doorstep` says, and gives it then to the protocol that `come_in` makes."""

    def __init__(self, doorstep: Doorstep, come_in: Callable[[], asyncio.Protocol]) -> None:
        self._doorstep, self._come_in = doorstep, come_in
        self._transport: Any = None
        self._waiting: asyncio.TimerHandle | None = None
        self._read = b""  # before the transport took notice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        wait = self._doorstep.wait(peer[0] if isinstance(peer, tuple) else "")
        if wait is None:
            self._transport.abort()
        elif wait:
            self._transport.pause_reading()
            self._waiting = asyncio.get_running_loop().call_later(wait, self._go_on)
        else:
            self._pass()

    def data_received(self, data: bytes) -> None:
        self._read += data
        self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _go_on(self) -> None:
        if not self._transport.is_closing():
            self._pass()
            self._transport.resume_reading()

    def _pass(self) -> None:
        protocol = self._come_in()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._read:
            protocol.data_received(self._read)
