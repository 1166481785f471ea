"""A WebSocket client of bare bytes, so that it can break every rule of WebSocket and of wire.md."""

import asyncio
import json
import struct
from dataclasses import dataclass
from typing import Any

HANGS_SECONDS = 30.0  # no stopwatch: what takes this long does not answer at all
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    final: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: bytes = b"",
) -> bytes:
    """One frame; `length` replaces its length field (7, 16 or 64 bits, the mask bit is set as `masked` says)."""
    size = len(payload)
    if not length:
        if size < 126:
            length = bytes([size])
        elif size < 65536:
            length = b"\x7e" + struct.pack("!H", size)
        else:
            length = b"\x7f" + struct.pack("!Q", size)
    first = (0x80 if final else 0) | reserved << 4 | opcode
    head = bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:]
    return head + (bytes(4) if masked else b"") + payload  # a mask of zeros leaves the bytes as they are


def request_of(path: str, port: int, *headers: str, request: str = "") -> bytes:
    """What opens a connection to `path`, with these headers besides; or `request` in its place, without its end."""
    head = request or (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
    )
    return head.encode("latin-1") + b"".join(h.encode("latin-1") + b"\r\n" for h in headers) + b"\r\n"


@dataclass(frozen=True)
class Ending:
    """How the server ended a connection: with a close frame's code and reason, or without one (1006)."""

    code: int
    reason: str


class Socket:
    """One connection: `send` takes bytes as they are, `hear` gives the next message, or the `Ending`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status, self.head = 0, ""

    @classmethod
    async def open(cls, port: int, path: str, *headers: str, request: str = "") -> "Socket":
        """Connect and shake hands; `status` is 101 where the server agreed, and `head` its answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        socket = cls(reader, writer)
        writer.write(request_of(path, port, *headers, request=request))
        async with asyncio.timeout(HANGS_SECONDS):
            try:
                socket.head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                socket.status = int(socket.head.split()[1])
            except (ConnectionError, asyncio.IncompleteReadError):
                socket.head, socket.status = "", 0
        return socket

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        try:
            async with asyncio.timeout(HANGS_SECONDS):
                await self.writer.drain()
        except ConnectionError:
            pass  # it was closed: `hear` tells how

    async def say(self, **message: Any) -> None:
        await self.send(frame(TEXT, json.dumps(message).encode()))

    async def hear(self) -> dict[str, Any] | Ending:
        """The next JSON message, or how the connection ended. Raises `TimeoutError` where nothing comes."""
        async with asyncio.timeout(HANGS_SECONDS):
            while True:
                try:
                    first, second = await self.reader.readexactly(2)
                    size = second & 0x7F
                    if size == 126:
                        [size] = struct.unpack("!H", await self.reader.readexactly(2))
                    elif size == 127:
                        [size] = struct.unpack("!Q", await self.reader.readexactly(8))
                    payload = await self.reader.readexactly(size)
                except (ConnectionError, asyncio.IncompleteReadError):
                    return Ending(1006, "")
                if first & 0x0F == TEXT:
                    return dict(json.loads(payload))
                if first & 0x0F == CLOSE:
                    self.writer.write(frame(CLOSE, payload))
                    return Ending(struct.unpack("!H", payload[:2])[0], payload[2:].decode())

    async def until(self, *kinds: str) -> dict[str, Any] | Ending:
        """The next message of one of these types, or an error, or the ending; others are passed over."""
        while True:
            heard = await self.hear()
            if isinstance(heard, Ending) or heard["type"] in (*kinds, "error"):
                return heard

    def abort(self) -> None:
        self.writer.transport.abort()
