"""The bytes of one upload on one connection: window, buffer, writer, rewind, idle clock. Needs no Django.

`take` is called for every frame and only counts and appends; one task (`run`) hands the frames to the storage in
batches and reports. So a slow storage never keeps a `cancel` waiting, and a client that oversteps is found at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from uploads.errors import FlowViolation, FrameTooLarge, IdleTimeout, SizeExceeded
from uploads.storage.base import Buffer, PartialObject, RewindError

# Frames below this are gathered into one running buffer: a million one-byte frames must not cost a million objects.
GATHER_BELOW_BYTES = 64 * 1024
GATHERED_BYTES = 1024 * 1024
REPORT_SECONDS = 0.25
IDLE_BYTES = 64 * 1024
RATE_SECONDS = 5.0


@dataclass(frozen=True)
class IdleMark:
    """Since `since` (monotonic seconds) less than 64 KiB have come beyond `offset`."""

    offset: int
    since: float


class Transfer:
    """Moves frames into `partial`. `report(received, stored, rate)` sends progress; `rewound(offset, reason)` a rewind.

    All counts are bytes. `arrived` has come in, `received` has left our buffers for the storage, `told` is the last
    `received` that the client was told and by which its window is judged.
    """

    def __init__(
        self,
        partial: PartialObject,
        *,
        size: int,
        chunk_size: int,
        window: int,
        report: Callable[[int, int, float], Awaitable[None]],
        rewound: Callable[[int, str], Awaitable[None]],
    ) -> None:
        self.partial, self.size, self.chunk_size, self.window = partial, size, chunk_size, window
        self._report, self._rewound = report, rewound
        self.arrived = self.received = self.told = partial.offset
        self._blocks: deque[Buffer] = deque()
        self._queued = self._in_hand = 0
        self._dropping = self._waiting = False
        self._dropped = 0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._reported_at = 0.0
        self._moved: deque[tuple[float, int]] = deque()
        self._moved_bytes = 0
        self._rewound_to: int | None = None
        self.idle: IdleMark | None = None

    # --- what the connection calls ---

    def take(self, frame: bytes) -> None:
        """Count one binary frame and keep it for the writer. Raises what a client that oversteps gets."""
        length = len(frame)
        if length > self.chunk_size:
            raise FrameTooLarge()
        if self._dropping:
            # On their way when the rewind or pause was sent. More than one window cannot have been.
            self._dropped += length
            if self._dropped > self.window:
                raise FlowViolation()
            return
        if self.arrived + length > self.size:
            raise SizeExceeded()
        if self.arrived + length > self.told + self.window:
            raise FlowViolation()
        if not length:
            return
        self.arrived += length
        self._queued += length
        self._keep(frame)
        self._drained.clear()
        self._wake.set()

    def _keep(self, frame: bytes) -> None:
        if len(frame) >= GATHER_BELOW_BYTES:
            self._blocks.append(frame)
            return
        last = self._blocks[-1] if self._blocks else None
        if isinstance(last, bytearray) and len(last) + len(frame) <= GATHERED_BYTES:
            last += frame
        else:
            self._blocks.append(bytearray(frame))

    @property
    def buffered(self) -> int:
        """Bytes held in memory: waiting for the writer, or in its hand."""
        return self._queued + self._in_hand

    @property
    def dropping(self) -> bool:
        """True from a rewind or a pause until the client's `resume`: frames and `finish` are dropped."""
        return self._dropping

    @property
    def complete(self) -> bool:
        return not self._dropping and self.arrived == self.size

    def halt(self, *, waiting: bool = False) -> None:
        """Drop what was not yet handed to the storage and all that comes, until `resume`.

        `waiting`: the client cannot go on before `restart`, so that the idle clock stands still.
        """
        self._blocks.clear()
        self._queued = 0
        self._dropping, self._dropped, self._waiting = True, 0, waiting
        self._wake.set()

    def restart(self) -> None:
        """`ready` is about to be sent: from now on the offset that counts is the storage's."""
        self._waiting, self._dropped = False, 0
        self.arrived = self.received = self.told = self.partial.offset

    def resume(self, offset: int) -> bool:
        """The client goes on from `offset`; False, and no change, where that is not the offset it was told last."""
        if not self._dropping or self._waiting or offset != self.partial.offset:
            return False
        self._dropping = False
        self.arrived = self.received = self.told = offset
        return True

    async def drained(self) -> None:
        """Return when all that arrived has been handed to the storage, or a rewind made that void."""
        await self._drained.wait()

    # --- the writer ---

    async def run(self) -> None:
        """Write and report until cancelled. Raises the storage's errors; the client is told rewinds, and goes on.

        A second rewind to no farther than the first is told and raised: a storage that fails again and again must not
        make the client send the same bytes again and again.
        """
        while True:
            await self._wait_for_work()
            while self._blocks:
                await self._write_batch()
            self._drained.set()
            if self.received != self.told and not self._dropping and self._due():
                await self._send_report()

    async def _wait_for_work(self) -> None:
        if self.received != self.told and not self._dropping:
            # Something is unreported: no longer than 250 ms.
            try:
                async with asyncio.timeout(max(0.0, self._reported_at + REPORT_SECONDS - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                pass
        else:
            await self._wake.wait()
        self._wake.clear()

    async def _write_batch(self) -> None:
        batch, length = self._next_batch()
        self._in_hand = length
        try:
            await self._append(batch)
        except RewindError as rewind:
            again = self._rewound_to is not None and rewind.offset <= self._rewound_to
            self._rewound_to = rewind.offset
            if not self._dropping:
                self.halt()
                self.arrived = self.received = self.told = rewind.offset
                await self._rewound(rewind.offset, rewind.reason)
            if again:
                raise
            return
        finally:
            self._in_hand = 0
        if self._dropping:
            return  # halted while the batch was written: the client is told the offset with the next `ready`
        self.received = self.partial.offset
        self._moved.append((time.monotonic(), length))
        self._moved_bytes += length
        if self._due():
            await self._send_report()

    async def _append(self, batch: list[Buffer]) -> None:
        """Append, and report meanwhile what earlier batches left unreported: a slow storage takes its time."""
        writing = asyncio.ensure_future(self.partial.append(batch))
        try:
            while not writing.done() and self.received != self.told and not self._dropping:
                rest = max(0.0, self._reported_at + REPORT_SECONDS - time.monotonic())
                if not (await asyncio.wait({writing}, timeout=rest))[0]:
                    await self._send_report()
            await writing
        finally:
            if not writing.done():
                writing.cancel()
                await asyncio.wait({writing})

    def _next_batch(self) -> tuple[list[Buffer], int]:
        """A quarter of a window at most: the client gets room again while the rest is written."""
        batch: list[Buffer] = []
        length = 0
        while self._blocks and (not batch or length + len(self._blocks[0]) <= self.window // 4):
            block = self._blocks.popleft()
            batch.append(block)
            length += len(block)
        self._queued -= length
        return batch, length

    def _due(self) -> bool:
        return (
            self.received - self.told >= self.window // 4
            or self.received == self.size
            or time.monotonic() - self._reported_at >= REPORT_SECONDS
        )

    async def _send_report(self) -> None:
        self._reported_at = time.monotonic()
        self.told = self.received
        await self._report(self.received, self.partial.offset, self.rate)

    @property
    def rate(self) -> float:
        """Bytes a second over the last few seconds."""
        now = time.monotonic()
        while self._moved and self._moved[0][0] < now - RATE_SECONDS:
            self._moved_bytes -= self._moved.popleft()[1]
        if not self._moved:
            return 0.0
        return self._moved_bytes / max(0.1, now - self._moved[0][0])

    # --- the idle clock ---

    async def watch(self, idle_seconds: float, idle: IdleMark | None = None) -> None:
        """Raise `IdleTimeout` when less than 64 KiB came in `idle_seconds` while the client had window left.

        `idle` goes on with the clock of the connection before: coming back alone moves no byte.
        """
        self.idle = IdleMark(min(idle.offset, self.arrived), idle.since) if idle else None
        self.idle = self.idle or IdleMark(self.arrived, time.monotonic())
        while True:
            if not self._has_the_turn() or not 0 <= self.arrived - self.idle.offset < IDLE_BYTES:
                self.idle = IdleMark(self.arrived, time.monotonic())
            elif time.monotonic() - self.idle.since >= idle_seconds:
                raise IdleTimeout()
            nap, lay_down = min(1.0, idle_seconds / 4), time.monotonic()
            await asyncio.sleep(nap)
            overslept = time.monotonic() - lay_down - nap
            if overslept > nap:
                # It was this program that stood still, and what came meanwhile is not even read yet.
                self.idle = IdleMark(self.idle.offset, self.idle.since + overslept)

    def _has_the_turn(self) -> bool:
        """Is it the client that something is waited for?"""
        if self._waiting or (self.arrived == self.size and self.buffered):
            return False  # it waits for us: for a slot, or for the last bytes to be stored
        # Frames need not divide the window: the clock runs while there is room for any that the client may send.
        next_frame = min(self.chunk_size, self.size - self.arrived)
        return self._dropping or self.arrived + next_frame <= self.told + self.window
