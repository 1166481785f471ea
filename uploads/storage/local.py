"""Files on local disk: `partial/<key>.part` while they grow, `files/<k>/<key>` when they are whole. Needs no Django.

How much is stored is what the disk says: the length of the partial file, which a killed process leaves true. After a
reboot the operating system may have lost what was not synced; a small `<key>.sync` file beside the partial one holds
the last synced offset and the boot it belongs to, and what lies beyond it is cut off.
"""

import asyncio
import errno
import fcntl
import io
import json
import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from uploads.storage.base import (
    Buffer,
    Digests,
    ObjectMissingError,
    OwnDigest,
    PartialObject,
    RewindError,
    StorageFullError,
    StorageUnavailableError,
    Store,
    checked_key,
)
from uploads.storage.digest import RunningDigest
from uploads.storage.lane import Lane
from uploads.storage.taking import Copy

MIB = 1024 * 1024
READ_BLOCK_BYTES = MIB
# What all downloads together hold while nobody reads them, about: the more they hold, the smaller the next block.
READ_BUDGET_BYTES = 16 * MIB
LEAST_BLOCK_BYTES = 64 * 1024
HASH_BLOCK_BYTES = 4 * MIB
SYNC_BYTES = 64 * MIB  # a checkpoint comes after this much and
SYNC_SECONDS = 5.0  # this long, whichever is later: syncing more often halves the rate
LOCK_SECONDS = 5.0
FLOOR_CHECK_BYTES = 64 * MIB
ANSWER_SECONDS = 10.0  # a disk that does not even tell what it has is a failing one
DIGESTS_KEPT = 1024  # running digests of uploads whose connection was lost; a few hundred bytes each

# Its own threads: Django's executor serialises the whole process's database work. A sync can take seconds on a busy
# disk and must not keep writes waiting, so that it has threads of its own again. So has what is short: who begins an
# upload, asks how far it is, or cancels it, does not wait for all the writes of a slow disk.
_threads = ThreadPoolExecutor(max_workers=min(16, (os.cpu_count() or 2) + 4), thread_name_prefix="storage")
_sync_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="storage-sync")
_copy_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="storage-copy")
# Of their own as well: however many download, no upload's write stands in line behind their reads.
_read_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="storage-read")
_short_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="storage-short")

# Some shared folders know no second names, some systems no /proc.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOENT, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

T = TypeVar("T")


def _boot_id() -> str:
    """What tells this boot of the machine from the one before; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _translate(error: OSError) -> StorageFullError | StorageUnavailableError:
    if error.errno in _FULL:
        return StorageFullError(str(error))
    return StorageUnavailableError(str(error))


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _in_thread(function: Callable[..., T], *args: Any, threads: ThreadPoolExecutor = _threads) -> T:
    """Run blocking file work in the storage's threads; OSErrors come out as the port's."""
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *args))
    except OSError as error:
        raise _translate(error) from error


async def _in_hand(function: Callable[..., Any], *args: Any) -> Any:
    """The same for what opens a file: one that a caller who was cancelled never got is closed."""
    work = asyncio.ensure_future(_in_thread(function, *args, threads=_short_threads))
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


async def _ask(function: Callable[..., T], *args: Any, threads: ThreadPoolExecutor = _short_threads) -> T:
    """The same for what is short and waits for no write. Raises `StorageUnavailableError` after `ANSWER_SECONDS`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _in_thread(function, *args, threads=threads)
    except TimeoutError:
        raise StorageUnavailableError(f"the disk has not answered for {ANSWER_SECONDS:g} s") from None


@dataclass(frozen=True)
class SyncMark:
    """The first `offset` bytes were synced to the disk, in the boot named `boot`."""

    boot: str
    offset: int

    def true_offset(self, length: int, boot: str, size: int) -> int:
        """How much of a partial file of `length` bytes is really there, in `boot`; at most `size`."""
        known = bool(self.boot) and self.boot == boot
        return min(length, size) if known else min(length, size, self.offset)


@dataclass(frozen=True)
class Opened:
    """A file that is open for this writer, its lengths in bytes, and the digest of its first `digest.offset` bytes."""

    descriptor: int
    offset: int
    synced: int
    finished: bool
    digest: RunningDigest


Written = tuple[int, int, int]


def _written(file: os.stat_result) -> Written:
    """What is another as soon as somebody has written to the file."""
    return file.st_ino, file.st_size, file.st_mtime_ns


def _is_at(descriptor: int, path: Path) -> bool:
    """Does the path name this very file?"""
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


class LocalPartial(PartialObject):
    """A partial file, locked for this writer (`flock`), or a finished one that only waits to be told so."""

    def __init__(self, store: "LocalStore", key: str, opened: Opened) -> None:
        self._store, self._key, self._descriptor, self._finished = store, key, opened.descriptor, opened.finished
        self.offset = opened.offset
        self._digest = opened.digest
        self._lane = Lane(_threads)
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
            self._store.keep_digest(self._key, self._digest, self._descriptor)
        os.close(self._descriptor)  # and with it the lock

    # The functions below run in a thread.

    def _append(self, blocks: Sequence[Buffer], at: int | None) -> None:
        if at not in (None, self.offset):
            raise RewindError(self.offset, "storage_unavailable")  # an append before this one failed
        state = self._state()
        if state.st_size < self.offset:
            self._go_back(state.st_size)
        if self.offset - self._floor_checked >= FLOOR_CHECK_BYTES:
            if self._store.free_bytes() < sum(map(len, blocks)):
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
        part, target = self._store.partial_path(self._key), self._store.final_path(self._key)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        self._move(part, target)
        _sync_folder(target.parent)
        _sync_folder(part.parent)
        self._store.sync_path(self._key).unlink(missing_ok=True)

    def _move(self, part: Path, target: Path) -> None:
        """Give our own file the name `target`; by `part` alone it could be that of a writer who has taken it."""
        own, whole = self._state(), self._store.whole_path(self._key)
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
        self._store.suspect(self._key, self._synced)
        os.ftruncate(self._descriptor, self._synced)
        self._store.cleared(self._key)
        self.offset, self._digest = self._synced, RunningDigest()
        full = isinstance(_translate(error), StorageFullError)
        raise RewindError(self.offset, "storage_full" if full else "storage_unavailable") from error

    def _write_checkpoint(self, offset: int) -> OSError | None:
        """Sync, and then keep that it was done. Returns why it could not be kept; raises why it could not be done."""
        os.fdatasync(self._descriptor)
        try:
            self._store.write_sync_mark(self._key, offset)
        except OSError as error:
            return error  # every byte is safe until the machine restarts
        return None

    # And these do not.

    async def _work(self, function: Callable[..., T], *args: Any) -> T:
        """Run `function` in a thread, after all before it; `close` waits for one whose caller was cancelled."""
        try:
            return await self._lane.run(function, *args)
        except OSError as error:
            raise _translate(error) from error

    async def _checkpoint(self, offset: int) -> None:
        unkept = await asyncio.get_running_loop().run_in_executor(_sync_threads, self._write_checkpoint, offset)
        if unkept is not None:
            raise _translate(unkept) from unkept
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


class LocalStore(Store):
    """A store under `root`, which keeps at least `free_space_floor` bytes of its disk free."""

    name = "local"

    def __init__(self, root: Path, free_space_floor: int = 0) -> None:
        self._root, self._floor = root, free_space_floor
        self._boot = _boot_id()
        self._digests: OrderedDict[str, tuple[RunningDigest, Written]] = OrderedDict()
        self._suspects: dict[str, int] = {}
        for folder in (root / "partial", root / "files"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # Paths are made of checked keys only, never of names.

    def partial_path(self, key: str) -> Path:
        return self._root / "partial" / f"{checked_key(key)}.part"

    def sync_path(self, key: str) -> Path:
        return self._root / "partial" / f"{checked_key(key)}.sync"

    def _fresh_sync_path(self, key: str) -> Path:
        return self._root / "partial" / f"{checked_key(key)}.sync-new"

    def final_path(self, key: str) -> Path:
        return self._root / "files" / checked_key(key)[:2] / key

    def free_bytes(self) -> int:
        """What the disk has free beyond the floor, in bytes; may be negative."""
        state = os.statvfs(self._root)
        return state.f_bavail * state.f_frsize - self._floor

    def name_here(self) -> str:
        state = self._root.stat()
        return f"{state.st_dev}:{state.st_ino}"

    def sign(self, node: str) -> None:
        sign = self._sign_path(node)
        sign.parent.mkdir(mode=0o700, exist_ok=True)
        sign.touch(mode=0o600)

    def is_signed_by(self, node: str) -> bool:
        return self._sign_path(node).exists()

    def _sign_path(self, node: str) -> Path:
        return self._root / "nodes" / re.sub(r"[^\w.-]", "_", node)

    def _take_digest(self, key: str, file: os.stat_result, offset: int) -> RunningDigest:
        """The one that this process kept, where nobody has written to the file since."""
        digest, written = self._digests.pop(key, (RunningDigest(), None))
        return digest if written == _written(file) and digest.offset <= offset else RunningDigest()

    def keep_digest(self, key: str, digest: RunningDigest, descriptor: int) -> None:
        self._digests[key] = digest, _written(os.fstat(descriptor))
        while len(self._digests) > DIGESTS_KEPT:
            self._digests.popitem(last=False)

    def suspect(self, key: str, offset: int) -> None:
        """What lies beyond `offset` may not be on the disk, whatever the file says."""
        self._suspects[key] = offset

    def cleared(self, key: str) -> None:
        """The file was cut to what is surely there."""
        self._suspects.pop(key, None)

    def write_sync_mark(self, key: str, offset: int) -> SyncMark:
        """Keep that the first `offset` bytes were synced, in this boot."""
        path, fresh = self.sync_path(key), self._fresh_sync_path(key)
        with open(fresh, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({"boot": self._boot, "offset": offset}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        return SyncMark(self._boot, offset)

    def whole_path(self, key: str) -> Path:
        """The second name of a partial file that is about to become final."""
        return self._root / "partial" / f"{checked_key(key)}.whole"

    def _copies(self, key: str) -> list[Path]:
        """What `taking.py` has in the making, or left behind."""
        return list((self._root / "partial").glob(f"{checked_key(key)}.part-*"))

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
            while not await _in_thread(self._copy, begun, threads=_copy_threads):
                pass
        except BaseException:
            await _in_thread(begun.give_up)
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
            _sync_folder(self._root / "partial")
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

    def _read_sync_mark(self, key: str) -> SyncMark:
        try:
            mark = json.loads(self.sync_path(key).read_text())
            return SyncMark(str(mark["boot"]), max(0, int(mark["offset"])))
        except (OSError, ValueError, KeyError, TypeError):
            return SyncMark("", 0)  # a mark that cannot be read proves nothing

    async def stored_bytes(self, key: str) -> int:
        return await _ask(self._stored_bytes, key)

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
        return max(0, await _ask(self.free_bytes))

    async def read(self, key: str, start: int, length: int, *, size: int | None = None) -> AsyncGenerator[bytes]:
        if length <= _block_bytes():
            return _single(await _ask(self._read_at_once, key, size, start, length, threads=_read_threads))
        file, state = await _ask(self._open_final, key, size)
        return _blocks(file, state, start, length)

    def _read_at_once(self, key: str, size: int | None, start: int, length: int) -> bytes:
        """What is no longer than a block: a ZIP of small files would take twice as long with a thread for each step."""
        file, state = self._open_final(key, size)
        with file:
            block = _read(file.fileno(), length, start, state) if length else b""
        if len(block) < length:
            raise StorageUnavailableError("the stored file is shorter than it was")
        return block

    async def path_of(self, key: str, size: int) -> Path:
        file, _state = await _ask(self._open_final, key, size)
        file.close()
        return self.final_path(key).relative_to(self._root)

    def _open_final(self, key: str, size: int | None) -> tuple[io.FileIO, Written]:
        try:
            file = _open_for_reading(self.final_path(key))
        except FileNotFoundError as error:
            raise ObjectMissingError(key) from error
        state = os.fstat(file.fileno())
        if size not in (None, state.st_size):
            file.close()
            raise StorageUnavailableError(f"the stored file has {state.st_size} bytes in place of {size}")
        return file, _written(state)

    async def delete(self, key: str) -> None:
        def remove() -> None:
            paths = (self.final_path, self.partial_path, self.sync_path, self._fresh_sync_path, self.whole_path)
            for path in [*(path_of(key) for path_of in paths), *self._copies(key)]:
                path.unlink(missing_ok=True)

        self._digests.pop(key, None)
        self._suspects.pop(key, None)
        await _ask(remove)

    async def check(self) -> None:
        def probe() -> None:
            if self.free_bytes() <= 0:
                raise StorageFullError("the disk is down to the free space that is kept")
            path = self._root / "partial" / f".probe-{os.getpid()}"
            path.write_bytes(b"probe")
            path.unlink(missing_ok=True)

        await _ask(probe)

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

        return await _in_thread(scan)

    async def close(self) -> None:
        pass


def _open_for_reading(path: Path) -> io.FileIO:
    return io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW))


_held = 0


def _block_bytes() -> int:
    """How much of a file may be read at once now: an eighth of what the budget still has."""
    return max(LEAST_BLOCK_BYTES, min(READ_BLOCK_BYTES, (READ_BUDGET_BYTES - _held) // 8))


async def _single(block: bytes) -> AsyncGenerator[bytes]:
    global _held
    size = len(block)
    _held += size
    try:
        if block:
            yield block
    finally:
        _held -= size


async def _blocks(file: io.FileIO, state: Written, start: int, length: int) -> AsyncGenerator[bytes]:
    """`length` bytes from `start`, the next block being read while the one before is sent."""
    position, end, holds = start, start + length, 0
    ahead: asyncio.Task[bytes] | None = None

    def hold(size: int) -> None:
        nonlocal holds
        global _held
        _held, holds = _held - holds + size, size

    def read_on() -> asyncio.Task[bytes] | None:
        hold(0)
        size = min(_block_bytes(), end - position)
        hold(2 * size)  # one on its way, one ahead
        if not size:
            return None
        return asyncio.create_task(_in_thread(_read, file.fileno(), size, position, state, threads=_read_threads))

    try:
        ahead = read_on()
        while ahead is not None:
            block = await asyncio.shield(ahead)
            position += len(block)
            ahead = read_on()
            yield block
    finally:
        hold(0)
        if ahead is not None and not ahead.done():
            # The descriptor must outlive the thread that reads from it.
            ahead.add_done_callback(lambda task: _close(file, task))
        else:
            file.close()


def _read(descriptor: int, size: int, position: int, state: Written) -> bytes:
    """Some of a finished file, to which nobody may have written since it was opened in this state."""
    block = os.pread(descriptor, size, position)
    if not block or _written(os.fstat(descriptor)) != state:
        raise StorageUnavailableError("the stored file is no longer what it was")
    return block


def _close(file: io.FileIO, task: asyncio.Task[bytes]) -> None:
    file.close()
    if not task.cancelled():
        task.exception()  # nobody waits for this block any longer, nor for how it failed
