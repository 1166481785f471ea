"""Hostile clients, each a way to be a bad neighbour, and each in a process of its own until its guests have left.

They come from 127.0.0.1 and an honest client from another address, so that what the server holds against a person is
held against them. Used by tests (nobody is harmed), and by benchmarks (what an honest upload beside them still gets).
"""

import asyncio
import itertools
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from devtools.client import Client, PatternSource, Refused
from devtools.processes import bound_to_parent, end
from devtools.raw_socket import BINARY, TEXT, Ending, Socket, frame, request_of
from devtools.server_process import ROOT

MIB = 1024 * 1024
HONEST_ADDRESS = "127.0.0.2"
CHUNK = frame(BINARY, bytes(MIB))
ONE_BYTE_FRAMES = frame(BINARY, b"x") * 5000


@dataclass(frozen=True)
class Rude:
    """Who is being rude: a client, and the id of somebody else's upload that it would like to harm."""

    client: Client
    victim: str

    @property
    def port(self) -> int:
        return int(self.client.base_url.rpartition(":")[2])

    @property
    def victims_socket(self) -> str:
        return f"/ws_api/upload_parallel/{self.victim}"

    async def started(self, size: int) -> Socket:
        """A connection of an upload of its own, at `ready` or in line; whatever comes is left unread from then on."""
        upload = await self.client.initiate("rude.bin", size)
        socket = await Socket.open(self.port, upload.answer["upload_url"])
        await socket.say(type="start", token=upload.token)
        await socket.hear()
        return socket

    async def again_and_again(self, size: int, block: bytes, total: int) -> None:
        """Start an upload and send `block` until `total` bytes are sent or the server ends it; and the next."""
        while True:
            socket = await self.started(size)
            reading = asyncio.create_task(_hear_all(socket))
            with suppress(OSError, TimeoutError):
                for _ in range(max(1, total // len(block))):
                    await socket.send(block)
                    if reading.done():
                        break
            reading.cancel()
            socket.abort()


async def _hear_all(socket: Socket) -> None:
    while not isinstance(await socket.hear(), Ending):
        pass


async def ignores_the_window(rude: Rude) -> None:
    await rude.again_and_again(2000 * MIB, CHUNK, 200 * MIB)


async def sends_a_million_one_byte_frames(rude: Rude) -> None:
    await rude.again_and_again(6 * MIB, ONE_BYTE_FRAMES, 7 * 1_000_000)


async def sends_a_byte_too_many(rude: Rude) -> None:
    await rude.again_and_again(5, frame(BINARY, b"123456"), 12)


async def sends_text_for_bytes(rude: Rude) -> None:
    await rude.again_and_again(MIB, frame(TEXT, b"x" * 60_000), MIB)


async def sends_frames_that_are_too_large(rude: Rude) -> None:
    await rude.again_and_again(100 * MIB, frame(BINARY, bytes(4 * MIB)), 4 * MIB)


async def goes_silent(rude: Rude) -> None:
    """At every stage, with as many connections as it gets."""
    sockets = []
    for number in range(40):
        upload = await rude.client.initiate("silent.bin", MIB)
        socket = await Socket.open(rude.port, upload.answer["upload_url"])
        if number % 4:
            await socket.say(type="start", token=upload.token)
        if number % 4 == 2:
            await socket.send(frame(BINARY, bytes(1000)))
        sockets.append(socket)
    await asyncio.Event().wait()


async def connects_five_hundred_times(rude: Rude) -> None:
    while True:
        path = (await rude.client.initiate("many.bin", 5)).answer["upload_url"]
        sockets = await asyncio.gather(*(Socket.open(rude.port, path) for _ in range(500)))
        for socket in sockets:
            socket.abort()


async def connects_and_leaves_at_once(rude: Rude) -> None:
    """As fast as it can: what it asked for it does not wait for."""
    get = f"GET /f/{rude.victim} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    handshake = request_of(rude.victims_socket, rude.port)

    async def connect() -> None:
        for asked in itertools.cycle((get, handshake)):
            with suppress(OSError):
                _reader, writer = await asyncio.open_connection("127.0.0.1", rude.port)
                writer.write(asked)
                writer.transport.abort()

    await asyncio.gather(*(connect() for _ in range(32)))


async def never_reads(rude: Rude) -> None:
    """Neither the answers of its uploads nor a download."""
    async with aiohttp.ClientSession() as session:
        while True:
            socket = await rude.started(64 * MIB)
            socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    for _ in range(64):
                        await socket.send(CHUNK)
            async with session.get(f"{rude.client.base_url}/jsi18n/") as response:
                await response.content.readany()
            socket.abort()


async def uploads_with_anothers_token(rude: Rude) -> None:
    """Knocks at the victim's upload with a token of its own, over the socket and over HTTP."""
    own = await rude.client.initiate("own.bin", 5)
    while True:
        socket = await Socket.open(rude.port, rude.victims_socket)
        await socket.say(type="start", token=own.token)
        await socket.send(frame(BINARY, bytes(1000)))
        await _hear_all(socket)
        for method, path in (("POST", "upload/cancel"), ("DELETE", "files"), ("GET", "upload/status")):
            with suppress(Refused):
                await rude.client.call(method, f"{path}/{rude.victim}", token=own.token)


async def replays_anothers_resume(rude: Rude) -> None:
    """Says what the victim says, word for word but for the token, which it cannot know."""
    while True:
        for words in (["resume"], ["start", "resume"], ["start", "finish"], ["start", "cancel"]):
            socket = await Socket.open(rude.port, rude.victims_socket)
            for word in words:
                await socket.say(type=word, token="x" * 43, offset=MIB)
            await _hear_all(socket)


async def keeps_a_thousand_connections(rude: Rude) -> None:
    while True:
        connections = [await asyncio.open_connection("127.0.0.1", rude.port) for _ in range(1000)]
        for _ in range(5):
            for _reader, writer in connections:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await asyncio.sleep(1)
        for _reader, writer in connections:
            writer.transport.abort()


async def announces_without_end(rude: Rude) -> None:
    body: Any = {"files": [{"filename": f"{number}.bin", "size": 1} for number in range(100)]}
    while True:
        with suppress(Refused):
            await rude.client.call("POST", "batch/initiate", json=body)


async def announces_a_thousand_from_many_connections(rude: Rude) -> None:
    """As many as a batch may have, with names that take long to compose; or what is only made to be read."""
    name = "a" + "\u0300" * 100 + "\u0323" * 100
    batch: Any = {"files": [{"filename": name, "size": 1, "path": name} for _ in range(1000)]}
    lists: Any = {"files": [[]] * 500_000}

    async def announce() -> None:
        while True:
            for body in (batch, lists):
                with suppress(Refused):
                    await rude.client.call("POST", "batch/initiate", json=body)

    await asyncio.gather(*(announce() for _ in range(8)))


async def asks_a_thousand_times_at_once(rude: Rude) -> None:
    async def ask(path: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rude.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        while await reader.read(65536):
            pass
        writer.close()

    paths = (f"/f/{rude.victim}", "/api/v1/upload/quota-info", "/admin/login/", "/api/v1/system/upload-status")
    while True:
        await asyncio.gather(*(ask(path) for path in paths * 250), return_exceptions=True)


async def sends_bodies_in_chunks_of_one_byte(rude: Rude) -> None:
    begun = (
        b"POST /api/v1/upload/initiate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )

    async def send() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", rude.port)
                writer.write(begun + b"1\r\n \r\n" * 100_000)
                await reader.read()
                writer.transport.abort()

    await asyncio.gather(*(send() for _ in range(16)))


async def asks_without_end_whether_it_lives(rude: Rude) -> None:
    """Over a few connections that stay."""
    many = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100

    async def ask() -> None:
        while True:
            with suppress(OSError, EOFError):
                reader, writer = await asyncio.open_connection("127.0.0.1", rude.port)
                while not reader.at_eof():
                    writer.write(many)
                    for _ in range(100):
                        await reader.readuntil(b"\r\n\r\n")

    await asyncio.gather(*(ask() for _ in range(16)))


class _Swallowed(asyncio.BufferedProtocol):
    """Takes all that comes and keeps nothing of it."""

    def __init__(self) -> None:
        self._room = bytearray(MIB)
        self.over = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def downloads_over_a_hundred_connections(rude: Rude) -> None:
    """As fast as it can, and again as soon as it has all or is refused."""
    source = PatternSource(64 * MIB)
    upload = await rude.client.initiate("large.bin", source.size)
    await rude.client.send(upload, source)
    request = f"GET {upload.answer['download_url']} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()

    async def download() -> None:
        while True:
            loop = asyncio.get_running_loop()
            transport, swallowed = await loop.create_connection(_Swallowed, "127.0.0.1", rude.port)
            transport.write(request)
            await swallowed.over

    await asyncio.gather(*(download() for _ in range(100)))


RUDE: dict[str, Callable[[Rude], Awaitable[None]]] = {
    "ignores the window": ignores_the_window,
    "sends a million one-byte frames": sends_a_million_one_byte_frames,
    "sends a byte too many": sends_a_byte_too_many,
    "sends text for bytes": sends_text_for_bytes,
    "sends frames that are too large": sends_frames_that_are_too_large,
    "goes silent": goes_silent,
    "connects five hundred times": connects_five_hundred_times,
    "connects and leaves at once": connects_and_leaves_at_once,
    "never reads": never_reads,
    "uploads with another's token": uploads_with_anothers_token,
    "replays another's resume": replays_anothers_resume,
    "keeps a thousand connections": keeps_a_thousand_connections,
    "announces without end": announces_without_end,
    "announces a thousand from many connections": announces_a_thousand_from_many_connections,
    "asks a thousand times at once": asks_a_thousand_times_at_once,
    "sends bodies in chunks of one byte": sends_bodies_in_chunks_of_one_byte,
    "asks without end whether it lives": asks_without_end_whether_it_lives,
    "downloads over a hundred connections": downloads_over_a_hundred_connections,
}


@contextmanager
def company(kind: str, url: str, victim: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is rude to the server at `url`, and to the upload with the id `victim`, until the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "devtools.rude", kind, url, victim], cwd=ROOT, **bound_to_parent()
    )
    try:
        yield process
    finally:
        end(process, by=signal.SIGKILL)


async def main(kind: str, url: str, victim: str) -> None:
    async with Client(url) as client:
        await RUDE[kind](Rude(client, victim))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
