"""The blocks of a finished file, the next one read ahead while the one before is sent. Needs no Django."""

import asyncio
import io
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from uploads.storage.base import StorageUnavailableError
from uploads.storage.local.layout import Written, written
from uploads.storage.local.threads import READERS, in_thread

READ_BLOCK_BYTES = 1024 * 1024
# What all downloads together hold while nobody reads them, about: the more they hold, the smaller the next block.
READ_BUDGET_BYTES = 16 * 1024 * 1024
LEAST_BLOCK_BYTES = 64 * 1024

_held = 0


def open_for_reading(path: Path) -> io.FileIO:
    return io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW))


def block_bytes() -> int:
    """How much of a file may be read at once now: an eighth of what the budget still has."""
    return max(LEAST_BLOCK_BYTES, min(READ_BLOCK_BYTES, (READ_BUDGET_BYTES - _held) // 8))


def read_some(descriptor: int, size: int, position: int, state: Written) -> bytes:
    """Some of a finished file, to which nobody may have written since it was opened in this state."""
    block = os.pread(descriptor, size, position)
    if not block or written(os.fstat(descriptor)) != state:
        raise StorageUnavailableError("the stored file is no longer what it was")
    return block


async def single(block: bytes) -> AsyncGenerator[bytes]:
    """One block that is here already; none where it is empty."""
    global _held
    size = len(block)
    _held += size
    try:
        if block:
            yield block
    finally:
        _held -= size


async def blocks(file: io.FileIO, state: Written, start: int, length: int) -> AsyncGenerator[bytes]:
    """`length` bytes from `start`, the next block being read while the one before is sent. Closes `file`."""
    position, end, holds = start, start + length, 0
    ahead: asyncio.Task[bytes] | None = None

    def hold(size: int) -> None:
        nonlocal holds
        global _held
        _held, holds = _held - holds + size, size

    def read_on() -> asyncio.Task[bytes] | None:
        hold(0)
        size = min(block_bytes(), end - position)
        hold(2 * size)  # one on its way, one ahead
        if not size:
            return None
        return asyncio.create_task(in_thread(read_some, file.fileno(), size, position, state, threads=READERS))

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


def _close(file: io.FileIO, task: asyncio.Task[bytes]) -> None:
    file.close()
    if not task.cancelled():
        task.exception()  # nobody waits for this block any longer, nor for how it failed
