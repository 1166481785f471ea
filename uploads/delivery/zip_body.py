"""The bytes of a ZIP on their way out: what comes next is begun ahead, so that small files keep up. Needs no Django."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing

from uploads.delivery.zip_plan import Member, Piece
from uploads.storage.base import StorageUnavailableError

# Begun is what comes within so many bytes and parts; of each file that is open, a block is held.
BYTES_AHEAD = 1024 * 1024
PARTS_AHEAD = 8
SENT_AT_ONCE = 64 * 1024

Read = Callable[[Member, int, int], Awaitable[AsyncIterator[bytes]]]


async def body_of(parts: Iterable[bytes | Piece], read: Read) -> AsyncGenerator[bytes]:
    """The bytes of these parts of a plan; `read` gives those of files, as `Store.read` does.

    Raises a `StorageError` before the first byte; a later one, or a file that is not as long as it was, raises out
    of the iterator.
    """
    blocks = _together(_blocks(parts, read))
    return _behind(await anext(blocks, b""), blocks)


async def _behind(first: bytes, blocks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(blocks):
        yield first
        del first  # it is not to be held until the last
        async for block in blocks:
            yield block


async def _together(blocks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """What is small goes out with what comes behind it: to copy a block costs less than to send one more."""
    small: list[bytes] = []
    size = 0
    async with aclosing(blocks):
        async for block in blocks:
            small.append(block)
            size += len(block)
            if size >= SENT_AT_ONCE:
                together, size = small[0] if len(small) == 1 else b"".join(small), 0
                small.clear()
                yield together
    if small:
        yield b"".join(small)


async def _blocks(parts: Iterable[bytes | Piece], read: Read) -> AsyncGenerator[bytes]:
    ahead = _Ahead(parts, read)
    try:
        while part := ahead.next():
            if isinstance(part, bytes):
                yield part
                continue
            left = part.length
            async with aclosing(part.blocks()) as blocks:
                async for block in blocks:
                    left -= len(block)
                    if left < 0:
                        raise StorageUnavailableError("the stored file is longer than it was")
                    ahead.begin(left)
                    yield block
            if left:
                raise StorageUnavailableError("the stored file is shorter than it was")
    finally:
        await ahead.give_up()


class _Opened:
    """A piece of a file whose first block is being read."""

    def __init__(self, piece: Piece, read: Read) -> None:
        self.length = piece.length
        self._more: AsyncIterator[bytes] | None = None
        self._first: asyncio.Task[bytes] | None = asyncio.create_task(self._begin(piece, read))

    async def _begin(self, piece: Piece, read: Read) -> bytes:
        self._more = await read(piece.member, piece.start, piece.length)
        return await anext(self._more, b"")

    async def blocks(self) -> AsyncGenerator[bytes]:
        """All of it, once. Raises what reading raised."""
        try:
            assert self._first is not None
            first = await self._first
            assert self._more is not None
            self._first = None
            yield first
            del first  # it is not to be held until the last
            async for block in self._more:
                yield block
        finally:
            await self.give_up()

    async def give_up(self) -> None:
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
        if isinstance(self._more, AsyncGenerator):
            await self._more.aclose()


class _Ahead:
    """The parts in their order, those that come soon already begun."""

    def __init__(self, parts: Iterable[bytes | Piece], read: Read) -> None:
        self._parts, self._read = iter(parts), read
        self._begun: deque[bytes | _Opened] = deque()

    def next(self) -> bytes | _Opened | None:
        self.begin(0)
        return self._begun.popleft() if self._begun else None

    def begin(self, left: int) -> None:
        """Begin what comes soon, `left` bytes being still to be sent before it."""
        if left >= BYTES_AHEAD:
            return
        coming = left + sum(map(_length, self._begun))
        while len(self._begun) < PARTS_AHEAD and coming < BYTES_AHEAD:
            part = next(self._parts, None)
            if part is None:
                return
            self._begun.append(_Opened(part, self._read) if isinstance(part, Piece) else part)
            coming += _length(self._begun[-1])

    async def give_up(self) -> None:
        for part in self._begun:
            if isinstance(part, _Opened):
                await part.give_up()


def _length(part: bytes | _Opened) -> int:
    return part.length if isinstance(part, _Opened) else len(part)
