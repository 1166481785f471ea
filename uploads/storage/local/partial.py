"""A partial file on local disk, open for one writer: written, hashed, synced, given its final name. Needs no Django.

How much is stored is what the disk says: the length of the partial file, which a killed process leaves true.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from uploads.storage.base import (
    Buffer,
    Digests,
    OwnDigest,
    PartialObject,
    RewindError,
    StorageFullError,
    StorageUnavailableError,
)
from uploads.storage.digest import RunningDigest
from uploads.storage.lane import Lane
from uploads.storage.local.layout import Layout, sync_folder
from uploads.storage.local.threads import SYNCERS, WRITERS, translate

MIB = 1024 * 1024
HASH_BLOCK_BYTES = 4 * MIB
SYNC_BYTES = 64 * MIB  # a checkpoint comes after this much and
SYNC_SECONDS = 5.0  # this long, whichever is later: syncing more often halves the rate
FLOOR_CHECK_BYTES = 64 * MIB

# Some shared folders know no second names, some systems no /proc.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOENT, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})

T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """A file that is open for this writer, its lengths in bytes, and the digest of its first `digest.offset` bytes."""

    descriptor: int
    offset: int
    synced: int
    finished: bool
    digest: RunningDigest


class LocalPartial(PartialObject):
    """A partial file, locked for this writer (`flock`), or a finished one that only waits to be told so."""

    def __init__(self, layout: Layout, key: str, opened: Opened) -> None:
        self._layout, self._key, self._descriptor, self._finished = layout, key, opened.descriptor, opened.finished
        self.offset = opened.offset
        self._digest = opened.digest
        self._lane = Lane(WRITERS)
        self._sync: asyncio.Task[None] | None = None
        self._synced = opened.synced
        self._synced_at = time.monotonic()
        self._floor_checked = -FLOOR_CHECK_BYTES
        self._closed = False

    async def append(self, blocks: Sequence[Buffer], at: int | None = None) -> None:
        await self._raise_failed_sync()
        await self._work(self._append, blocks, at)
        due = self.offset - self._synced >= SYNC_BYTES and time.monotonic() - self._synced_at >= SYNC_SECONDS
        if due and self._sync is None:
            self._sync = asyncio.create_task(self._checkpoint(self.offset))

    async def settle(self) -> None:
        await self._lane.drained()

    async def digests(self) -> Digests:
        while self._digest.offset < self.offset:
            await self._work(self._catch_up)
        return self._digest.result()

    async def finish(self) -> OwnDigest:
        if self._sync is not None:
            await asyncio.wait({self._sync})
            await self._raise_failed_sync()
        if not self._finished:
            await self._work(self._publish)
            self._finished = True
        return OwnDigest(None, "the local disk makes no digest of its own")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # A thread may still be writing for a task that was cancelled: the descriptor must outlive it.
        if self._sync is not None:
            await asyncio.wait({self._sync})
        await self._lane.drained()
        if not self._finished:
            self._layout.keep_digest(self._key, self._digest, self._descriptor)
        os.close(self._descriptor)  # and with it the lock

    # The functions below run in a thread.

    def _append(self, blocks: Sequence[Buffer], at: int | None) -> None:
        if at not in (None, self.offset):
            raise RewindError(self.offset, "storage_unavailable")  # an append before this one failed
        state = self._state()
        if state.st_size < self.offset:
            self._go_back(state.st_size)
        if self.offset - self._floor_checked >= FLOOR_CHECK_BYTES:
            if self._layout.free_bytes() < sum(map(len, blocks)):
                raise StorageFullError("the disk is down to the free space that is kept")
            self._floor_checked = self.offset
        start = self.offset
        pending = [memoryview(block) for block in blocks]
        while pending:
            written = os.pwritev(self._descriptor, pending[:512], self.offset)
            self.offset += written
            while pending and written >= len(pending[0]):
                written -= len(pending.pop(0))
            if written:
                pending[0] = pending[0][written:]
        self._state()  # nothing is told as stored that another writer may have missed
        if self._digest.offset == start:
            self._digest.update(blocks)
        else:
            # The prefix from before a restart is hashed beside the new bytes, so that little is left at the end.
            self._catch_up()

    def _state(self) -> os.stat_result:
        state = os.fstat(self._descriptor)
        if state.st_nlink == 0:
            raise StorageUnavailableError("the partial file was removed from the disk, or taken by another writer")
        return state

    def _go_back(self, offset: int) -> NoReturn:
        """Somebody cut the file: what is left counts, and is hashed anew."""
        self.offset, self._digest = offset, RunningDigest()
        self._synced = min(self._synced, offset)
        raise RewindError(offset, "storage_unavailable")

    def _catch_up(self) -> None:
        block = os.pread(
            self._descriptor, min(HASH_BLOCK_BYTES, self.offset - self._digest.offset), self._digest.offset
        )
        if not block and self._digest.offset < self.offset:
            raise StorageUnavailableError("the partial file is shorter than what was stored")
        self._digest.update([block])

    def _publish(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._distrust(error)
        if (length := os.fstat(self._descriptor).st_size) != self.offset:
            self._go_back(min(length, self.offset))
        part, target = self._layout.partial_path(self._key), self._layout.final_path(self._key)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        self._move(part, target)
        sync_folder(target.parent)
        sync_folder(part.parent)
        self._layout.sync_path(self._key).unlink(missing_ok=True)

    def _move(self, part: Path, target: Path) -> None:
        """Give our own file the name `target`; by `part` alone it could be that of a writer who has taken it."""
        own, whole = self._state(), self._layout.whole_path(self._key)
        whole.unlink(missing_ok=True)
        try:
            # Python follows the link in /proc only where a folder is given, which an absolute path makes no use of.
            os.link(f"/proc/self/fd/{self._descriptor}", whole, src_dir_fd=self._descriptor)
        except OSError as error:
            self._state()
            if error.errno not in _NO_LINKS:
                raise
            os.replace(part, target)
            return
        os.replace(whole, target)
        with suppress(FileNotFoundError):
            if part.stat().st_ino == own.st_ino:
                part.unlink()

    def _distrust(self, error: OSError) -> NoReturn:
        """A sync failed: the system may have dropped what it could not write, and tells so once. Back to safe ground.

        Where the file cannot be cut now, it is when the upload is opened again.
        """
        self._layout.suspect(self._key, self._synced)
        os.ftruncate(self._descriptor, self._synced)
        self._layout.cleared(self._key)
        self.offset, self._digest = self._synced, RunningDigest()
        full = isinstance(translate(error), StorageFullError)
        raise RewindError(self.offset, "storage_full" if full else "storage_unavailable") from error

    def _write_checkpoint(self, offset: int) -> OSError | None:
        """Sync, and then keep that it was done. Returns why it could not be kept; raises why it could not be done."""
        os.fdatasync(self._descriptor)
        try:
            self._layout.write_sync_mark(self._key, offset)
        except OSError as error:
            return error  # every byte is safe until the machine restarts
        return None

    # And these do not.

    async def _work(self, function: Callable[..., T], *args: Any) -> T:
        """Run `function` in a thread, after all before it; `close` waits for one whose caller was cancelled."""
        try:
            return await self._lane.run(function, *args)
        except OSError as error:
            raise translate(error) from error

    async def _checkpoint(self, offset: int) -> None:
        unkept = await asyncio.get_running_loop().run_in_executor(SYNCERS, self._write_checkpoint, offset)
        if unkept is not None:
            raise translate(unkept) from unkept
        self._synced, self._synced_at = offset, time.monotonic()

    async def _raise_failed_sync(self) -> None:
        if self._sync is None or not self._sync.done():
            return
        finished, self._sync = self._sync, None
        error = finished.exception()
        if isinstance(error, OSError):
            await self._work(self._distrust, error)
        if error is not None:
            raise error
