"""A WebSocket of bare bytes, so that it can break every rule, and the stages that an upload can be brought to."""

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.client import Client, Upload
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import Bytes
from tests.bad_input.http import HANGS_SECONDS
from tests.bad_input.matrix import TABLE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
DATA = b"12345"


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


@dataclass(frozen=True)
class Ending:
    """How the server ended a connection: with a close frame's code and reason, or without one (1006)."""

    code: int
    reason: str


class Socket:
    """One connection: `send` takes bytes as they are, `hear` gives the next message, or the `Ending`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.status = 0

    @classmethod
    async def open(cls, port: int, path: str, *headers: str, request: str = "") -> "Socket":
        """Connect and shake hands; `status` is 101 where the server agreed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        socket = cls(reader, writer)
        head = request or (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        )
        writer.write(head.encode("latin-1") + b"".join(h.encode("latin-1") + b"\r\n" for h in headers) + b"\r\n")
        async with asyncio.timeout(HANGS_SECONDS):
            try:
                socket.head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                socket.status = int(socket.head.split()[1])
            except (ConnectionError, asyncio.IncompleteReadError):
                socket.head, socket.status = "", 0
        return socket

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            async with asyncio.timeout(HANGS_SECONDS):
                await self._writer.drain()
        except ConnectionError:
            pass  # it was closed: `hear` tells how

    async def say(self, **message: Any) -> None:
        await self.send(frame(TEXT, json.dumps(message).encode()))

    async def hear(self) -> dict[str, Any] | Ending:
        """The next JSON message, or how the connection ended. Raises `TimeoutError` where nothing comes."""
        async with asyncio.timeout(HANGS_SECONDS):
            while True:
                try:
                    first, second = await self._reader.readexactly(2)
                    size = second & 0x7F
                    if size == 126:
                        [size] = struct.unpack("!H", await self._reader.readexactly(2))
                    elif size == 127:
                        [size] = struct.unpack("!Q", await self._reader.readexactly(8))
                    payload = await self._reader.readexactly(size)
                except (ConnectionError, asyncio.IncompleteReadError):
                    return Ending(1006, "")
                if first & 0x0F == TEXT:
                    return dict(json.loads(payload))
                if first & 0x0F == CLOSE:
                    self._writer.write(frame(CLOSE, payload))
                    return Ending(struct.unpack("!H", payload[:2])[0], payload[2:].decode())

    async def until(self, *kinds: str) -> dict[str, Any] | Ending:
        """The next message of one of these types, or an error, or the ending; others are passed over."""
        while True:
            heard = await self.hear()
            if isinstance(heard, Ending) or heard["type"] in (*kinds, "error"):
                return heard

    def abort(self) -> None:
        self._writer.transport.abort()


@dataclass
class Scene:
    """One upload of `DATA`, brought to some stage: its socket, and how many bytes are stored."""

    server: ServerProcess
    client: Client
    upload: Upload
    socket: Socket
    stored: int = 0

    async def refused_with(self, code: str) -> str | None:
        """What is wrong with the refusal that comes now; None where it is the table's row for `code`."""
        row = TABLE[code]
        heard = await self.socket.until()
        if isinstance(heard, Ending):
            # The table lets the server close with these and no message.
            if heard.code == row.close and (heard.reason in (code, "") or code == "frame_too_large"):
                return None if code in ("frame_too_large", "server_restart") else "sent no error before it closed"
            return f"closed with {heard.code} {heard.reason!r} and no error"
        if heard["code"] != code:
            return f"says {heard['code']}: {heard['value']}"
        if heard["retryable"] != row.retryable or "retry_after" not in heard or not heard["value"]:
            return f"says {heard}"
        if code == "invalid_request" and not all(fault["field"] and fault["reason"] for fault in heard["errors"]):
            return f"names no field: {heard}"
        if row.close is None:
            return None
        ending = await self.socket.hear()
        return None if ending == Ending(row.close, code) else f"closed with {ending}"

    async def is_stored_as_before(self) -> str | None:
        """Unfinished, with the bytes that were stored; a connection that was lost may have its slot kept."""
        status = await self.client.status(self.upload)
        as_before = status["status"] in ("pending", "uploading") and status["offset"] == self.stored
        return None if as_before else f"afterwards it is {status}"

    async def is_as_it_was(self) -> str | None:
        """Pending with the bytes that were stored; and it goes on from there, and ends equal."""
        if fault := await self.is_stored_as_before():
            return fault
        success = await self.client.send(self.upload, Bytes(DATA))
        offset = self.upload.of_type("ready")[0]["offset"]
        if offset != self.stored:
            return f"afterwards it goes on from {offset}, not from {self.stored}"
        async with self.client.http.get(success["value"]) as response:
            return None if await response.read() == DATA else "the file is another"


async def _start(scene: Scene) -> None:
    await scene.socket.say(type="start", token=scene.upload.token)


async def _ready(scene: Scene) -> None:
    await _start(scene)
    heard = await scene.socket.until("ready")
    assert not isinstance(heard, Ending)
    assert heard["type"] == "ready", heard


async def _send(scene: Scene, count: int) -> None:
    await _ready(scene)
    await scene.socket.send(frame(BINARY, DATA[:count]))
    heard = await scene.socket.until("progress")
    assert not isinstance(heard, Ending)
    assert heard.get("stored") == count, heard
    scene.stored = count


async def _half(scene: Scene) -> None:
    await _send(scene, 3)


async def _all(scene: Scene) -> None:
    await _send(scene, 5)


async def _told_incomplete(scene: Scene) -> None:
    await _send(scene, 3)
    await scene.socket.say(type="finish")
    assert await scene.refused_with("incomplete") is None


async def _rewound(scene: Scene) -> None:
    await _send(scene, 3)
    [part] = Path(scene.server.data_dir).rglob(f"{scene.upload.file_id}.part")
    os.truncate(part, 1)
    await scene.socket.send(frame(BINARY, DATA[3:4]))
    heard = await scene.socket.until("rewind")
    assert not isinstance(heard, Ending)
    assert heard.get("offset") == 1, heard
    scene.stored = 1


async def _queued(scene: Scene) -> None:
    """On a server with one slot, which somebody else has."""
    await _start(scene)
    heard = await scene.socket.until("queued")
    assert not isinstance(heard, Ending)
    assert heard["type"] == "queued", heard


async def _verifying(scene: Scene) -> None:
    """On a server whose storage takes its time."""
    await _send(scene, 5)
    await scene.socket.say(type="finish")
    heard = await scene.socket.until("verifying")
    assert not isinstance(heard, Ending)
    assert heard["type"] == "verifying", heard


async def _nothing(scene: Scene) -> None:
    pass


STAGES = {
    "before `start`": _nothing,
    "at `ready`": _ready,
    "half sent": _half,
    "told `incomplete`": _told_incomplete,
    "all sent": _all,
    "rewound": _rewound,
    "in line": _queued,
    "verifying": _verifying,
}


@asynccontextmanager
async def brought_to(stage: str, server: ServerProcess, client: Client, **more: Any) -> AsyncIterator[Scene]:
    """A fresh upload at `stage`; `more` are fields of its announcement."""
    upload = await client.initiate("rude.bin", len(DATA), **more)
    socket = await Socket.open(server.port, upload.answer["upload_url"])
    assert socket.status == 101
    scene = Scene(server, client, upload, socket)
    try:
        await STAGES[stage](scene)
        yield scene
    finally:
        socket.abort()
