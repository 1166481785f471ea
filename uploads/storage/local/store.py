"""The store on local disk: which files are open for whom, which are finished, which are gone. Needs no Django."""

import asyncio
import fcntl
import io
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from uploads.storage.base import (
    ObjectMissingError,
    StorageFullError,
    StorageUnavailableError,
    Store,
    checked_key,
)
from uploads.storage.digest import RunningDigest
from uploads.storage.local import reading
from uploads.storage.local.layout import Layout, SyncMark, Written, sync_folder, written
from uploads.storage.local.partial import LocalPartial, Opened
from uploads.storage.local.threads import COPIERS, READERS, SHORT, ask, in_thread
from uploads.storage.taking import Copy

LOCK_SECONDS = 5.0


async def _in_hand(function: Callable[..., Any], *args: Any) -> Any:
    """`in_thread` for what opens a file: one that a caller who was cancelled never got is closed."""
    work = asyncio.ensure_future(in_thread(function, *args, threads=SHORT))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        work.add_done_callback(_let_fall)
        raise


def _let_fall(work: asyncio.Future[Any]) -> None:
    opened = None if work.cancelled() or work.exception() else work.result()
    if isinstance(opened, Copy):
        opened.give_up()
    elif opened is not None:
        os.close(opened.descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Does the path name this very file?"""
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


class LocalStore(Layout, Store):
    """A store under `root`, which keeps at least `free_space_floor` bytes of its disk free."""

    name = "local"

    async def open(self, key: str, size: int, *, take: bool = False) -> LocalPartial:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            opened = await _in_hand(self._open, key, size)
            if opened is None and take and time.monotonic() > deadline:
                opened = await self._take(key, size)
            if opened is not None:
                return LocalPartial(self, key, opened)
            if not take and time.monotonic() > deadline:
                raise StorageUnavailableError("another writer holds this upload")
            await asyncio.sleep(0.05)

    async def _take(self, key: str, size: int) -> Opened | None:
        """The upload, taken from the writer that holds its lock; None where it was let go, or is taken by another."""
        begun = await _in_hand(self._begin_copy, key, size)
        if not isinstance(begun, Copy):
            return begun
        try:
            while not await in_thread(self._copy, begun, threads=COPIERS):
                pass
        except BaseException:
            await in_thread(begun.give_up)
            raise
        return await _in_hand(self._end_copy, key, begun)

    def _copy(self, copy: Copy) -> bool:
        return copy.step(self.free_bytes())

    def _begin_copy(self, key: str, size: int) -> Opened | Copy | None:
        with suppress(FileNotFoundError):
            # Nobody writes to what is finished; the rows know whose it is.
            descriptor = os.open(self.final_path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            length = os.fstat(descriptor).st_size
            return Opened(descriptor, length, length, True, RunningDigest())
        part = self.partial_path(key)
        try:
            old = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            for stale in self._copies(key):
                stale.unlink(missing_ok=True)  # whoever is still at it finds no file to give the name to
            fresh = part.with_name(f"{part.name}-{secrets.token_hex(8)}")
            new = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except BaseException:
            os.close(old)
            raise
        fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
        length = os.fstat(old).st_size
        true = self._read_sync_mark(key).true_offset(length, self._boot, max(length, size))
        # By the length that the true offset was judged by: the file may have grown since.
        return Copy(part, fresh, old, new, size, length - min(true, self._suspects.get(key, true)))

    def _end_copy(self, key: str, copy: Copy) -> Opened:
        try:
            copy.take_name()
            self.whole_path(key).unlink(missing_ok=True)  # a name by which the old writer's could still become final
            sync_folder(self._root / "partial")
            self.write_sync_mark(key, copy.offset)
            self.cleared(key)
        except BaseException:
            copy.give_up()
            raise
        copy.close()
        return Opened(copy.descriptor, copy.offset, copy.offset, False, copy.digest)

    def _open(self, key: str, size: int) -> Opened | None:
        """The upload, or None while another writer holds the lock."""
        try:
            # Whoever made it final may not be done with its row: the lock went along with the file.
            descriptor = os.open(self.final_path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if not self._locked(descriptor):
                return None
            state = os.fstat(descriptor)
            self.partial_path(key).unlink(missing_ok=True)  # of one who was killed between two names
            return Opened(descriptor, state.st_size, state.st_size, True, self._take_digest(key, state, state.st_size))
        except FileNotFoundError:
            pass
        part = self.partial_path(key)
        new = not part.exists()
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if not self._locked(descriptor):
            return None
        try:
            if not _is_at(descriptor, part):
                os.close(descriptor)
                return None  # finished, taken or removed between our opening and locking it
            state = os.fstat(descriptor)
            mark = SyncMark(self._boot, 0) if new else self._read_sync_mark(key)
            offset = mark.true_offset(state.st_size, self._boot, size)
            offset = min(offset, self._suspects.get(key, offset))
            os.ftruncate(descriptor, offset)
            self.cleared(key)
            if new or mark.boot != self._boot:
                # What is left from before counts from now on as of this boot, and must be safe for that.
                os.fdatasync(descriptor)
                mark = self.write_sync_mark(key, offset)
            if offset < size and size - offset > self.free_bytes():
                raise StorageFullError(f"{size - offset} bytes are missing, and the disk has no room for them")
        except BaseException:
            os.close(descriptor)
            raise
        digest = self._take_digest(key, state, offset)
        return Opened(descriptor, offset, min(mark.offset, offset), False, digest)

    @staticmethod
    def _locked(descriptor: int) -> bool:
        """Take the lock, or close the descriptor where another writer has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        return True

    async def stored_bytes(self, key: str) -> int:
        return await ask(self._stored_bytes, key)

    def _stored_bytes(self, key: str) -> int:
        try:
            return self.final_path(key).stat().st_size
        except FileNotFoundError:
            pass
        try:
            length = self.partial_path(key).stat().st_size
        except FileNotFoundError:
            return 0
        return self._read_sync_mark(key).true_offset(length, self._boot, length)

    async def room(self) -> int:
        return max(0, await ask(self.free_bytes))

    async def read(self, key: str, start: int, length: int, *, size: int | None = None) -> AsyncGenerator[bytes]:
        if length <= reading.block_bytes():
            return reading.single(await ask(self._read_at_once, key, size, start, length, threads=READERS))
        file, state = await ask(self._open_final, key, size)
        return reading.blocks(file, state, start, length)

    def _read_at_once(self, key: str, size: int | None, start: int, length: int) -> bytes:
        """What is no longer than a block: a ZIP of small files would take twice as long with a thread for each step."""
        file, state = self._open_final(key, size)
        with file:
            block = reading.read_some(file.fileno(), length, start, state) if length else b""
        if len(block) < length:
            raise StorageUnavailableError("the stored file is shorter than it was")
        return block

    async def path_of(self, key: str, size: int) -> Path:
        file, _state = await ask(self._open_final, key, size)
        file.close()
        return self.final_path(key).relative_to(self._root)

    def _open_final(self, key: str, size: int | None) -> tuple[io.FileIO, Written]:
        try:
            file = reading.open_for_reading(self.final_path(key))
        except FileNotFoundError as error:
            raise ObjectMissingError(key) from error
        state = os.fstat(file.fileno())
        if size not in (None, state.st_size):
            file.close()
            raise StorageUnavailableError(f"the stored file has {state.st_size} bytes in place of {size}")
        return file, written(state)

    async def delete(self, key: str) -> None:
        def remove() -> None:
            for path in self._all_paths(key):
                path.unlink(missing_ok=True)

        self._digests.pop(key, None)
        self._suspects.pop(key, None)
        await ask(remove)

    async def check(self) -> None:
        def probe() -> None:
            if self.free_bytes() <= 0:
                raise StorageFullError("the disk is down to the free space that is kept")
            path = self._root / "partial" / f".probe-{os.getpid()}"
            path.write_bytes(b"probe")
            path.unlink(missing_ok=True)

        await ask(probe)

    async def keys(self) -> list[tuple[str, float]]:
        def scan() -> list[tuple[str, float]]:
            now = time.time()
            found: dict[str, float] = {}
            for path in [*self._root.glob("partial/*"), *self._root.glob("files/*/*")]:
                key = path.name.split(".")[0]
                try:
                    age = max(0.0, now - path.stat().st_mtime)
                    found[checked_key(key)] = min(age, found.get(key, age))
                except (FileNotFoundError, ValueError):
                    continue  # finished or removed while we looked, or not ours
            return list(found.items())

        return await in_thread(scan)

    async def close(self) -> None:
        pass
