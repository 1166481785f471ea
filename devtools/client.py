"""A client of the wire contract, written from wire.md alone: what a program of somebody else's would look like.

Used by tests, trials and benchmarks; imports nothing of the server.
"""

import asyncio
import hashlib
import json
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import websockets
from websockets.asyncio.client import ClientConnection

RECONNECT_AFTER = frozenset({1001, 1006, 1011, 1012, 1013, 4408})
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 5.0


class Refused(Exception):
    """The server refused for good: its `code`, its sentence, and all that came with it."""

    def __init__(self, code: str, sentence: str = "", **extra: Any) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code, self.sentence, self.extra = code, sentence, extra


class Source(Protocol):
    """Bytes that can be read again from any offset."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...


class FileSource:
    """A file on disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)


class PatternSource:
    """`size` bytes that need no disk, differ from block to block, and are the same for the same seed."""

    BLOCK = 1024 * 1024

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._noise = hashlib.shake_256(str(seed).encode()).digest(self.BLOCK)

    def _block(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + self._noise[8:]

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            number, within = divmod(offset, self.BLOCK)
            part = self._block(number)[within : within + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)


def sha256_of(source: Source) -> str:
    """The digest of the whole source, in lower-case hex."""
    digest = hashlib.sha256()
    for offset in range(0, source.size, PatternSource.BLOCK):
        digest.update(source.read(offset, PatternSource.BLOCK))
    return digest.hexdigest()


@dataclass
class Upload:
    """One upload in the client's eyes: what initiation gave, where it stands, and all the messages that came."""

    file_id: str
    token: str
    url: str
    answer: dict[str, Any]
    received: int = 0
    stored: int = 0
    connections: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


@dataclass
class Batch:
    """A batch in the client's eyes: what initiation gave, and its uploads in the order in which they were announced."""

    batch_id: str
    url: str
    answer: dict[str, Any]
    uploads: list[Upload]


class Client:
    """Speaks to one server as one person. `async with Client("http://127.0.0.1:8000") as client: ...`"""

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str] | None = None,
        address: str | None = None,
        trusting: ssl.SSLContext | None = None,
    ) -> None:
        """`address` is the one of this machine to come from, where it has several, as on loopback.

        `trusting` is for a server whose certificate not everybody believes.
        """
        self.base_url = base_url.rstrip("/")
        self._local = (address, 0) if address else None
        self._headers = headers or {}
        self._trusting = trusting

    async def __aenter__(self) -> "Client":
        # A program keeps no cookies: the upload token is its credential.
        self.http = aiohttp.ClientSession(
            self.base_url,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            connector=aiohttp.TCPConnector(local_addr=self._local, ssl=self._trusting or True),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def call(self, method: str, path: str, *, token: str | None = None, **arguments: Any) -> Any:
        """One call under /api/v1; returns the JSON of the answer. Raises `Refused` with the problem's code."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= arguments.pop("headers", {})
        async with self.http.request(method, f"/api/v1/{path}", headers=headers, **arguments) as response:
            if response.status == 204:
                return None
            try:
                body = await response.json(content_type=None)
            except ValueError:  # something in between answered, such as a proxy whose server is away
                raise Refused(f"http_{response.status}", retryable=response.status >= 500, retry_after=None) from None
            if response.status >= 400:
                problem = dict(body)
                raise Refused(problem.pop("code"), problem.pop("detail", ""), **problem)
            return body

    async def initiate(self, filename: str, size: int, **more: Any) -> Upload:
        """Announce a file. `more` are the optional fields of the call, such as `sha256`."""
        answer = await self.call("POST", "upload/initiate", json={"filename": filename, "size": size, **more})
        return self.upload_from(answer)

    def upload_from(self, answer: dict[str, Any]) -> Upload:
        url = self.base_url.replace("http", "ws", 1) + answer["upload_url"]
        return Upload(answer["file_id"], answer["upload_token"], url, answer)

    async def initiate_batch(self, files: list[dict[str, Any]], title: str | None = None, **arguments: Any) -> Batch:
        """Announce files that belong together; each is what `initiate` takes, with its `path` if it has one."""
        body = {"files": files} if title is None else {"files": files, "title": title}
        answer = await self.call("POST", "batch/initiate", json=body, **arguments)
        uploads = [self.upload_from(file) for file in answer["files"]]
        return Batch(answer["batch_id"], answer["batch_url"], answer, uploads)

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """What anybody with its link may know of a batch."""
        return dict(await self.call("GET", f"batch/{batch_id}"))

    async def cancel_batch(self, batch: Batch) -> int:
        """Cancel what is unfinished of it; returns how many uploads ended by this."""
        answer = await self.call("POST", f"batch/cancel/{batch.batch_id}", token=batch.uploads[0].token)
        return int(answer["cancelled"])

    async def status(self, upload: Upload) -> dict[str, Any]:
        return dict(await self.call("GET", f"upload/status/{upload.file_id}", token=upload.token))

    async def cancel(self, upload: Upload) -> dict[str, Any]:
        return dict(await self.call("POST", f"upload/cancel/{upload.file_id}", token=upload.token))

    async def digest_of_download(self, upload: Upload, *, patience: float = 0.0) -> str:
        """The SHA-256 of what the server hands out for the finished upload. Raises `Refused`.

        What breaks off is resumed for as long as `patience` seconds bring anything more.
        """
        digest, offset, etag = hashlib.sha256(), 0, ""
        pause, deadline = FIRST_PAUSE_SECONDS, time.monotonic() + patience
        while True:
            headers = {"Range": f"bytes={offset}-", "If-Range": etag} if offset else {}
            begun = offset
            try:
                async with self.http.get(upload.answer["download_url"], headers=headers) as response:
                    if response.status >= 400:
                        problem = await response.json(content_type=None)
                        raise Refused(problem["code"], retryable=problem.get("retryable"))
                    assert response.status == (206 if offset else 200), "the file is another now"
                    etag = response.headers["ETag"]
                    async for block in response.content.iter_chunked(1024 * 1024):
                        digest.update(block)
                        offset += len(block)
                return digest.hexdigest()
            except (aiohttp.ClientError, OSError, Refused) as failure:
                if offset > begun:
                    pause, deadline = FIRST_PAUSE_SECONDS, time.monotonic() + patience
                refused_for_good = isinstance(failure, Refused) and not failure.extra["retryable"]
                if refused_for_good or time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def connect(self, upload: Upload) -> websockets.connect:
        """A bare WebSocket to the upload, for those who want to speak for themselves; begins with no `start`."""
        return websockets.connect(
            upload.url,
            compression=None,
            proxy=None,
            max_size=None,
            ping_interval=None,
            additional_headers=self._headers,
            local_addr=self._local,
            ssl=(self._trusting or True) if upload.url.startswith("wss:") else None,
        )

    async def send(
        self,
        upload: Upload,
        source: Source,
        *,
        sha256: str | None = None,
        patience: float = 60.0,
        on_message: Callable[[dict[str, Any]], None] | None = None,
        pace: Callable[[int], Awaitable[None]] | None = None,
    ) -> dict[str, Any]:
        """Upload until `success`, and return that message; reconnects by itself and goes on where the server says.

        After each frame `pace`, told its length, may take its time.

        Gives up with the last failure after `patience` seconds in which nothing more was stored, those in which a
        connection waited in line apart. Raises `Refused`
        where the server says that there is no use in coming back.
        """
        pause, best, deadline = FIRST_PAUSE_SECONDS, -1, time.monotonic() + patience
        while True:
            tried_at = time.monotonic()
            try:
                async with self.connect(upload) as socket:
                    upload.connections += 1
                    return await _Conversation(socket, upload, source, sha256, on_message, pace).hold()
            except (OSError, websockets.InvalidHandshake, websockets.ConnectionClosed) as failure:
                code = failure.rcvd.code if isinstance(failure, websockets.ConnectionClosed) and failure.rcvd else 1006
                if isinstance(failure, websockets.InvalidStatus) and failure.response.status_code < 500:
                    raise
                if code not in RECONNECT_AFTER:
                    raise _refusal(upload, failure) from failure
                if upload.messages and upload.messages[-1]["type"] == "queued":
                    deadline += time.monotonic() - tried_at  # a line of people may be long
                if upload.stored > best:
                    pause, best, deadline = FIRST_PAUSE_SECONDS, upload.stored, time.monotonic() + patience
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _refusal(upload: Upload, failure: Exception) -> Refused:
    """The close reason is the code; the message before it, if it arrived, says more."""
    code = failure.rcvd.reason if isinstance(failure, websockets.ConnectionClosed) and failure.rcvd else ""
    for message in upload.of_type("error")[-1:]:
        if message["code"] == code:
            return Refused(code, message["value"], **{k: v for k, v in message.items() if k not in ("code", "value")})
    return Refused(code or "closed", str(failure))


class _Conversation:
    """One connection of one upload: a reader that follows the server's messages, a writer that keeps the window."""

    def __init__(
        self,
        socket: ClientConnection,
        upload: Upload,
        source: Source,
        sha256: str | None,
        on_message: Callable[[dict[str, Any]], None] | None,
        pace: Callable[[int], Awaitable[None]] | None,
    ) -> None:
        self.socket, self.upload, self.source, self.sha256, self.on_message = socket, upload, source, sha256, on_message
        self.pace = pace
        self.changed = asyncio.Event()
        self.sending = False
        self.finished = False
        self.offset = 0
        self.answer_with_resume = False
        self.seen_ready = False
        self.chunk = self.window = 0

    async def hold(self) -> dict[str, Any]:
        await self._say(type="start", token=self.upload.token)
        writer = asyncio.create_task(self._write())
        try:
            async for raw in self.socket:
                message = json.loads(raw)
                self.upload.messages.append(message)
                if self.on_message:
                    self.on_message(message)
                if message["type"] in ("success", "cancelled"):
                    return dict(message)
                self._follow(message)
                self.changed.set()
            raise self.socket.protocol.close_exc
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    def _follow(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self.chunk, self.window = message["chunk_size"], message["window"]
            self._go_from(message["offset"], resume=self.seen_ready)
            self.seen_ready = self.sending = True
        elif kind == "progress":
            self.upload.received, self.upload.stored = message["received"], message["stored"]
        elif kind == "rewind":
            self._go_from(message["offset"], resume=True)
        elif kind == "queued":
            self.sending = False
        elif kind == "incomplete" or (kind == "error" and message["code"] == "incomplete"):
            self.finished = False

    def _go_from(self, offset: int, *, resume: bool) -> None:
        self.offset = self.upload.received = self.upload.stored = offset
        self.finished = False
        self.answer_with_resume = resume

    async def _write(self) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            while self.sending and not self.finished:
                if self.answer_with_resume:
                    self.answer_with_resume = False
                    await self._say(type="resume", offset=self.offset)
                    continue
                left = self.source.size - self.offset
                length = min(self.chunk, left)
                if left == 0:
                    self.finished = True
                    await self._say(type="finish", **({"sha256": self.sha256} if self.sha256 else {}))
                elif self.offset + length <= self.upload.received + self.window:
                    data = self.source.read(self.offset, length)
                    self.offset += length  # before the wait: a rewind may come in it
                    await self.socket.send(data)
                    if self.pace:
                        await self.pace(length)
                else:
                    break
