"""How daphne's connections keep pace: what comes in and is not taken yet, and whether the peer takes what goes out."""

import asyncio
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

WAITING_BYTES = 2 * 1024 * 1024
MESSAGE_COST = 256  # bytes that a message takes beside its payload, about


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
