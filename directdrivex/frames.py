"""Large WebSocket frames with less copying than by websockets' own reader; everything else is left to that library.

The library puts what arrives into one growing buffer and cuts each payload out of it again. Here a large payload is
received straight into a place of its own. Which frames are right, and what becomes of wrong ones, stays the business
of the library's parser alone: it asks for so many bytes, and gets them.
"""

import asyncio
import mmap
from collections.abc import Generator

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

LARGE_BYTES = 64 * 1024
SPARE_PLACES = 4

# A place is free again when its payload was unmasked, for that makes a copy.
_spare: list[mmap.mmap] = []
# What is not part of a large payload arrives here, on any connection, and is taken out at once. It is small, since all
# the frames in it are worked off in one go: tiny ones come by the thousand even so.
_scratch = memoryview(bytearray(8 * 1024))


def _place_for(length: int) -> mmap.mmap:
    if _spare and len(_spare[-1]) >= length:
        return _spare.pop()
    # Memory that the system gives only as bytes come: who announces a large frame and sends nothing costs nothing.
    return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class FrameReader(StreamReader):
    """A `StreamReader` with a place of its own for the large payload that is asked for; none exceeds `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._room: memoryview | None = None

    @property
    def room(self) -> memoryview | None:
        """Where the bytes that come next belong; None while no large payload is expected."""
        return self._room

    def fill(self, count: int) -> None:
        """So many bytes were put into `room`."""
        assert self._room is not None
        self._room = self._room[count:] if count < len(self._room) else None

    def feed_data(self, data: bytes | bytearray) -> None:
        if self._room is None or self.eof:
            super().feed_data(data)
            return
        count = min(len(data), len(self._room))
        self._room[:count] = memoryview(data)[:count]
        self.fill(count)
        self.buffer += memoryview(data)[count:]

    # The parser unmasks whatever it gets, be it a memoryview.
    def read_exact(self, n: int) -> Generator[None, None, bytearray | memoryview]:  # type: ignore[override]
        if n < LARGE_BYTES:
            return (yield from super().read_exact(n))
        place = _place_for(max(n, self._limit))
        payload = self._room = memoryview(place)[:n]
        begun, self.buffer = self.buffer, bytearray()
        self.feed_data(begun)
        while self._room is not None:
            if self.eof:
                raise EOFError(f"stream ends after {n - len(self._room)} bytes, expected {n} bytes")
            yield
        if len(_spare) < SPARE_PLACES:
            _spare.append(place)
        return payload

    def discard(self) -> None:
        super().discard()
        self._room = None


def read_large_frames(connection: ServerProtocol) -> FrameReader:
    """Give a connection that has not received anything yet a `FrameReader`."""
    reader = connection.reader = FrameReader(connection.max_message_size or 0)
    # The parser that the connection made for itself holds on to its first reader.
    connection.parser = connection.parse()
    next(connection.parser)
    return reader


class Inlet(asyncio.BufferedProtocol):
    """Stands before a protocol as its transport's own, and lets the system put large payloads where they belong.

    uvloop asks a protocol for buffers only if it is no `asyncio.Protocol`, which uvicorn's is.
    """

    def __init__(self, protocol: WebSocketsSansIOProtocol, reader: FrameReader) -> None:
        self._protocol, self._reader = protocol, reader

    def get_buffer(self, sizehint: int) -> memoryview:
        return _scratch if self._reader.room is None else self._reader.room

    def buffer_updated(self, nbytes: int) -> None:
        if self._reader.room is None:
            self._protocol.data_received(bytes(_scratch[:nbytes]))
            return
        self._reader.fill(nbytes)
        if self._reader.room is None:
            self._protocol.data_received(b"")  # the payload is whole: the parser goes on

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
