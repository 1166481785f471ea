"""Bytes on disk, and the digests of what was really stored there."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GRAIN = 256 * 1024  # what is not final is kept in multiples of this, as Drive does
BATCH = 1024 * 1024
READ = 1024 * 1024
MOST_BLOCKS = 512  # below the system's IOV_MAX
DIGESTS = {"sha256Checksum": "sha256", "md5Checksum": "md5", "sha1Checksum": "sha1"}
workers = ThreadPoolExecutor(4, thread_name_prefix="disk")


def floor(size: int) -> int:
    return size - size % GRAIN


class Blob:
    """A growing file. `size` is what is stored; digests named in `wanted` are made on the way."""

    def __init__(self, path: Path, wanted: Iterable[str] = ()) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._file).st_size
        self._hashes = {name: hashlib.new(DIGESTS[name], usedforsecurity=False) for name in wanted}
        self._hashed = 0

    def append(self, blocks: list[bytes]) -> None:
        """Write, then hash; a failed write leaves the file as it was. Raises `OSError`. For a thread."""
        blocks = blocks if len(blocks) <= MOST_BLOCKS else [b"".join(blocks)]
        size = sum(len(block) for block in blocks)
        try:
            written = os.pwritev(self._file, blocks, self.size) if size else 0
            while written < size:
                written += os.pwrite(self._file, b"".join(blocks)[written:], self.size + written)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        if self._hashes:
            self._catch_up()
            for block in blocks:
                for made in self._hashes.values():
                    made.update(block)
        self.size += size
        self._hashed = self.size

    def floor(self) -> None:
        """Forget what is beyond a multiple of 256 KiB; before anything is hashed."""
        self.size = floor(self.size)
        os.ftruncate(self._file, self.size)

    def _catch_up(self) -> None:
        """Hash what was stored by an earlier process."""
        while self._hashed < self.size:
            block = os.pread(self._file, min(READ, self.size - self._hashed), self._hashed)
            for made in self._hashes.values():
                made.update(block)
            self._hashed += len(block)

    def digests(self) -> dict[str, str]:
        """The digests that were made on the way. For a thread."""
        self._catch_up()
        return {name: made.hexdigest() for name, made in self._hashes.items()}

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def take(self, blocks: AsyncIterator[bytes], *, final: bool) -> None:
        """Store a body. One that is not `final`, or that breaks off, is kept to a multiple of 256 KiB."""
        loop = asyncio.get_running_loop()
        held: list[bytes] = []
        end = self.size  # where the stored bytes end once all that is held or under way is written
        begin = self.size
        work: asyncio.Future[None] | None = None
        whole = False
        try:
            async for block in blocks:
                held.append(block)
                end += len(block)
                if end - begin >= BATCH:
                    ready, held = _cut(held, floor(end) - begin)
                    begin = floor(end)
                    if work:
                        await _through(work)
                    work = loop.run_in_executor(workers, self.append, ready)
            whole = True
        finally:
            if work:
                await _through(work)
            if not (whole and final):
                held, _ = _cut(held, max(0, floor(end) - begin))
            if held:
                await _through(loop.run_in_executor(workers, self.append, held))


async def _through(work: asyncio.Future[None]) -> None:
    """Wait until the thread is through: it goes on writing, whoever is cancelled meanwhile."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled = True
    work.result()
    if cancelled:
        raise asyncio.CancelledError


def _cut(blocks: list[bytes], size: int) -> tuple[list[bytes], list[bytes]]:
    """The first `size` bytes, and the rest."""
    first: list[bytes] = []
    rest: list[bytes] = []
    for block in blocks:
        if size >= len(block):
            first.append(block)
        else:
            if size:
                first.append(block[:size])
            rest.append(block[size:])
        size = max(0, size - len(block))
    return first, rest


def digests_of(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Digests by reading the file. For a thread."""
    made = {name: hashlib.new(DIGESTS[name], usedforsecurity=False) for name in names}
    with path.open("rb") as file:
        while block := file.read(READ):
            for digest in made.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in made.items()}
