"""The bytes of one upload on one connection: window, buffer, writer, rewind, idle clock. Needs no Django.

`take` is called for every frame and only counts and appends; one task (`run`) hands the frames to the storage in
batches and reports. So a slow storage never keeps a `cancel` waiting, and a client that oversteps is found at once.
A second batch waits in the storage's hand while it writes the first: it need not wait for us in between.
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
BATCHES_IN_HAND = 2
REWINDS_IN_VAIN = 2  # a storage far away may well be busy, and then have forgotten the upload


@dataclass(frozen=True)
class IdleMark:
    """Since `since` (monotonic seconds) less than 64 KiB have come beyond `offset`."""

    offset: int
    since: float


@dataclass(frozen=True)
class Batch:
    """`length` bytes that the storage is at work on, or will be next."""

    writing: asyncio.Task[None]
    length: int


class Transfer:
    """Moves frames into `partial`. `report(received, stored, rate)` sends progress; `rewound(offset, reason)` a rewind.

    All counts are bytes. `arrived` has come in, `_handed` was given to the storage, `received` has left our buffers for
    it, `told` is the last `received` that the client was told and by which its window is judged.
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
        self._go_on_from(partial.offset)
        self._blocks: deque[Buffer] = deque()
        self._queued = self._in_hand = 0
        self._batches: deque[Batch] = deque()
        self._dropping = self._waiting = False
        self._dropped = self._repeated = 0
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._reported_at = 0.0
        self._moved: deque[tuple[float, int]] = deque()
        self._moved_bytes = 0
        self._rewound_to: int | None = None
        self._in_vain = 0
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
        if self._repeated:
            repeated = min(self._repeated, length)
            self._repeated -= repeated
            frame, length = frame[repeated:], length - repeated
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
        self._go_on_from(self.partial.offset)

    def resume(self, offset: int) -> bool:
        """The client goes on from `offset`; False, and no change, where that is not the offset it was told last."""
        if not self._dropping or self._waiting or offset != self.told:
            return False
        self._dropping = False
        self._go_on_from(offset)
        return True

    def resume_again(self, offset: int) -> None:
        """The client begins at `offset` once more: what has come of it since then is not taken twice.

        The answer to an older `ready` came late, and was taken for that to a newer one with the same offset.
        """
        self._repeated = max(0, self.arrived - offset)

    def _go_on_from(self, offset: int) -> None:
        self._repeated = 0
        self.arrived = self._handed = self.received = self.stored = self.told = offset

    async def drained(self) -> None:
        """Return when all that arrived has been handed to the storage, or a rewind made that void."""
        await self._drained.wait()

    # --- the writer ---

    async def run(self) -> None:
        """Write and report until cancelled. Raises the storage's errors; the client is told rewinds, and goes on.

        The third rewind in a row to no farther than the one before is told and raised: a storage that fails again and
        again must not make the client send the same bytes again and again.
        """
        try:
            while True:
                await self._wait_for_work()
                await self._settle()
                self._hand_over()
                if self.received != self.told and not self._dropping and self._due():
                    await self._send_report()
                if not self._blocks and not self._batches:
                    self._drained.set()
        finally:
            await self._give_up()

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

    def _hand_over(self) -> None:
        """Give the storage what it has a hand free for; a second batch only if it is a full one."""
        while self._blocks and (
            not self._batches or (len(self._batches) < BATCHES_IN_HAND and self._queued >= self.window // 4)
        ):
            blocks, length = self._next_batch()
            writing = asyncio.create_task(self.partial.append(blocks, self._handed))
            writing.add_done_callback(lambda _: self._wake.set())
            self._batches.append(Batch(writing, length))
            self._in_hand += length
            self._handed += length

    async def _settle(self) -> None:
        """Count the batches that are stored. Raises why one is not, but for a rewind, which is told."""
        while self._batches and self._batches[0].writing.done():
            batch = self._batches.popleft()
            self._in_hand -= batch.length
            try:
                batch.writing.result()
            except RewindError as rewind:
                await self._rewind(rewind)
                return
            if self._dropping:
                continue  # halted while it was written: the client is told the offset with the next `ready`
            self.received += batch.length
            self.stored = max(self.stored, min(self.received, self.partial.offset))
            self._moved.append((time.monotonic(), batch.length))
            self._moved_bytes += batch.length

    async def _rewind(self, rewind: RewindError) -> None:
        await self._give_up()  # what was handed over behind it is lost as well
        again = self._rewound_to is not None and rewind.offset <= self._rewound_to
        self._rewound_to, self._in_vain = rewind.offset, self._in_vain + 1 if again else 0
        if not self._dropping:
            self.halt()
            self._go_on_from(rewind.offset)
            await self._rewound(rewind.offset, rewind.reason)
        if self._in_vain == REWINDS_IN_VAIN:
            raise rewind

    async def _give_up(self) -> None:
        """Cancel what the storage has not begun, and wait for the rest."""
        batches = [batch.writing for batch in self._batches]
        self._batches.clear()
        self._in_hand = 0
        for writing in batches:
            writing.cancel()
        await asyncio.gather(*batches, return_exceptions=True)

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
        await self._report(self.received, self.stored, self.rate)

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
