"""An upload on its way to Drive, open for one writer: frames in, chunks out, digests beside. Needs no Django."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import structlog

from uploads.storage.base import Buffer, Digests, OwnDigest, PartialObject, RewindError, StorageError
from uploads.storage.digest import RunningDigest
from uploads.storage.gdrive.chunk import Chunk
from uploads.storage.gdrive.pace import QUANTUM_BYTES, Pace, chunk_bytes
from uploads.storage.gdrive.patience import Patience
from uploads.storage.gdrive.ports import RENEW_SECONDS, Checkpoint, SessionHold, TakenOverError
from uploads.storage.gdrive.session import RemoteUpload
from uploads.storage.lane import Lane

# The connection still holds one piece when it takes the next: what an upload costs beyond its window.
PIECE_BYTES = 256 * 1024
READ_BACK = "Google Drive gave no SHA-256; this one was made of the bytes that it gave back"

log = structlog.get_logger(__name__)
_threads = ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 2) + 2), thread_name_prefix="drive-digest")

Read = Callable[[int, int], Awaitable[AsyncIterator[bytes]]]


class DrivePartial(PartialObject):
    """`remote`, held by `hold`. `read(start, length)` reads what is whole; `closed` gets the running digest.

    `_given` is how far the sender is, `remote.accepted` what Drive has, `_digest.offset` what is hashed. Bytes that
    Drive has already are hashed and not sent; bytes that are hashed already are sent and not hashed again.
    """

    def __init__(
        self,
        remote: RemoteUpload,
        hold: SessionHold,
        digest: RunningDigest,
        patience: Patience,
        read: Read,
        closed: Callable[[RunningDigest], None],
    ) -> None:
        self._remote, self._hold, self._digest, self._patience = remote, hold, digest, patience
        self._read, self._when_closed = read, closed
        self._lane, self._pace = Lane(_threads), Pace()
        self._given = self.offset
        self._chunk: Chunk | None = None
        self._gathered = bytearray()
        self._unsure = False  # what Drive has must be asked before anything else
        self._once = True  # no byte was sent now and hashed before, or the other way round
        self._order = asyncio.Lock()
        self._taken_over: TakenOverError | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._breaking: asyncio.Task[None] | None = None
        self._keeping = asyncio.create_task(self._keep())
        self._closed = False

    @property
    def offset(self) -> int:  # type: ignore[override]
        """What Drive has and the digests know of: from here on the sender's bytes are wanted."""
        return self._remote.size if self._remote.finished else min(self._remote.accepted, self._digest.offset)

    async def append(self, blocks: Sequence[Buffer], at: int | None = None) -> None:
        async with self._order:
            self._rest()
            if self._taken_over is not None:
                raise self._taken_over
            if self._unsure or at not in (None, self._given):
                await self._settle()
            on_the_way = self._chunk is not None or bool(self._gathered)
            if at not in (None, self._given) or (self._given > self.offset and not on_the_way):
                self._go_back()
            await self._append(blocks)
            if self._chunk is not None:
                self._idle = asyncio.get_running_loop().call_later(self._patience.idle, self._idled)

    async def settle(self) -> None:
        async with self._order:
            self._rest()
            await self._settle()
            self._given = self.offset

    async def digests(self) -> Digests:
        await self._lane.drained()
        if self._digest.offset < self.offset:
            # Another process sent the last bytes, and kept no checkpoint behind them.
            rest = await self._read(self._digest.offset, self.offset - self._digest.offset)
            async for block in rest:
                await self._lane.run(self._digest.update, [block])
        return replace(self._digest.result(), once=self._once)

    async def finish(self) -> OwnDigest:
        async with self._order:
            if not self._remote.finished:
                await (self._remote.ask() if self._remote.size else self._remote.put_empty())
            if not self._remote.finished:
                self._go_back()
            own = await self._remote.own_digest()
        if own.sha256:
            return own
        digest = hashlib.sha256()
        async for block in await self._read(0, self._remote.size):
            digest.update(block)
        return replace(own, sha256=digest.hexdigest(), reason=READ_BACK)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._rest()
        beside = [task for task in (self._keeping, self._breaking) if task is not None]
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        if self._chunk is not None:
            await self._chunk.abort()
        await self._lane.drained()
        try:
            if self._taken_over is None:
                self._remote.checkpoint = Checkpoint(*self._digest.state)
                await self._remote.save()
        except StorageError as failure:
            log.warning("drive_session_not_kept", file=self._remote.key, cause=str(failure))
        await self._remote.close()
        await self._hold.let_go()
        self._when_closed(self._digest)

    # --- bytes on their way ---

    async def _append(self, blocks: Sequence[Buffer]) -> None:
        self._unsure = True  # until this is through: it may be cancelled anywhere
        hashing = self._lane.run(self._hash, blocks, self._given)
        try:
            for block in blocks:
                await self._send(memoryview(block))
        except StorageError as failure:
            # What Drive has is known, or cannot be had: the sender goes on from there.
            await hashing
            self._unsure = self._chunk is not None
            self._given = self.offset
            if isinstance(failure, RewindError):
                # The digests were behind when it was raised, and are not any more.
                raise RewindError(self.offset, failure.reason) from failure
            raise
        await hashing
        self._unsure = False

    async def _send(self, piece: memoryview) -> None:
        self._pace.count(len(piece))
        known = max(0, min(self._remote.accepted - self._given, len(piece)))
        if known:
            self._once = False
        self._given += known
        piece = piece[known:]
        while piece:
            if self._chunk is None and (self._gathered or self._pace.halting):
                part = piece[: QUANTUM_BYTES - len(self._gathered)]
                self._gathered += part
                if len(self._gathered) == QUANTUM_BYTES or self._given + len(part) == self._remote.size:
                    whole = memoryview(bytes(self._gathered))
                    self._gathered.clear()
                    await self._feed(whole)
            else:
                part = piece[: min(PIECE_BYTES, self._chunk.left if self._chunk else self._next_chunk_bytes())]
                await self._feed(part)
            self._given += len(part)
            piece = piece[len(part) :]

    def _next_chunk_bytes(self) -> int:
        return chunk_bytes(self._pace.delivered, self._remote.size - self._remote.accepted)

    async def _feed(self, part: memoryview) -> None:
        """Send what fits into the open chunk, or is the first of the next one, and end the chunk with its last byte."""
        if self._chunk is None:
            length = self._next_chunk_bytes()
            end = self._remote.accepted + length
            self._chunk = Chunk(length, end, lambda body: self._remote.put(body, length), self._patience)
        chunk = self._chunk
        try:
            await chunk.feed(part)
            if chunk.left and not chunk.answered:
                return
            progress = await chunk.outcome()
        except StorageError as failure:
            self._chunk = None
            await chunk.abort()
            log.info("drive_chunk_broke", file=self._remote.key, cause=str(failure))
            await self._remote.mend(failure)
        else:
            self._chunk = None
            await self._remote.believe(progress)
        if self._remote.accepted < chunk.end:
            self._go_back()

    def _go_back(self) -> None:
        """Raise where the sender must go on, with the reason for it."""
        self._given = self.offset
        raise RewindError(self.offset, self._remote.take_reason())

    async def _settle(self) -> None:
        """Break off what is on its way, and ask what came of it."""
        chunk, self._chunk = self._chunk, None
        self._gathered.clear()
        if chunk is not None:
            self._unsure = True
            await chunk.abort()
        await self._lane.drained()
        if self._unsure and not self._remote.finished:
            await self._remote.ask()
        self._unsure = False

    # --- beside ---

    def _hash(self, blocks: Sequence[Buffer], position: int) -> None:
        """In a thread: hash what of these blocks, the first at `position`, is not hashed yet."""
        for block in blocks:
            known = self._digest.offset - position
            if known > 0:
                self._once = False
            position += len(block)
            if known < len(block):
                self._digest.update([memoryview(block)[known:] if known else block])

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _idled(self) -> None:
        """No byte came for so long that Drive may lose patience: better to know what it has."""
        self._pace.pause()
        self._breaking = asyncio.create_task(self._break_off())

    async def _break_off(self) -> None:
        async with self._order:
            with contextlib.suppress(StorageError):  # the next append asks again, and raises it
                await self._settle()

    async def _keep(self) -> None:
        """Keep session and checkpoint while bytes move, and hold and reservation while none do."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                checkpoint = Checkpoint(*await self._lane.run(lambda: self._digest.state))
                if checkpoint != self._remote.checkpoint:
                    self._remote.checkpoint = checkpoint
                    await self._remote.save()
                else:
                    await self._hold.renew()
                await self._remote.stay()
            except TakenOverError as error:
                self._taken_over = error
                return
            except StorageError as failure:
                log.warning("drive_session_not_kept", file=self._remote.key, cause=str(failure))
