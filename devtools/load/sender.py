"""One simulated person: announces files, sends them over a line of some speed, loses the line, pauses, cancels."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import websockets

from devtools.client import Client, Refused, Upload, sha256_of
from devtools.load.plan import LoadSource, Options, Person, PlannedUpload
from devtools.load.tally import Tally

PATIENCE_SECONDS = 120.0  # without any progress; a line of people may be long, and is no lack of it
PAUSE_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
CODES_OF_A_CANCEL = ("cancelled", "gone")  # what its connection is told, and one that comes back after it

T = TypeVar("T")


class _Lost(Exception):
    """An upload came to no good end; the message says how."""


class Sender:
    """A person with a connection of their own."""

    def __init__(self, options: Options, person: Person, tally: Tally, run: str) -> None:
        self._options, self._person, self._tally, self._run = options, person, tally, run
        apart_by: dict[str, Any] = (
            {"headers": {"X-Forwarded-For": person.address}} if options.forwarded else {"address": person.address}
        )
        self._client = _Steered(options.url, trusting=options.trusting, **apart_by)
        self._room = asyncio.Semaphore(options.at_once)

    async def come(self) -> None:
        """Send everything, a few files at a time, as the page does."""
        await asyncio.sleep(self._person.arrives)
        async with self._client, asyncio.TaskGroup() as tasks:
            for planned in self._person.uploads:
                await self._room.acquire()
                tasks.create_task(self._one(planned)).add_done_callback(lambda _: self._room.release())

    async def _one(self, planned: PlannedUpload) -> None:
        try:
            await self._send(planned)
        except (_Lost, Refused, OSError, aiohttp.ClientError, websockets.WebSocketException) as failure:
            self._tally.faults.append(f"upload {planned.number} ({planned.size} bytes): {failure!r}")

    async def _send(self, planned: PlannedUpload) -> None:
        source = LoadSource(planned.size, planned.number)
        digest = await asyncio.to_thread(sha256_of, source)
        upload = await self._announce(planned)
        course = _Course(self._client, upload, planned, self._person.rate, self._tally)
        while True:
            course.connects()
            try:
                ended = await self._client.send(
                    upload, source, sha256=digest, patience=PATIENCE_SECONDS, on_message=course.hear, pace=course.pace
                )
                break
            except Refused as refused:
                if course.cancelled and refused.code in CODES_OF_A_CANCEL:
                    ended = {"type": "cancelled"}
                    break
                if not course.paused:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)
        self._tally.connections += upload.connections
        if ended["type"] == "cancelled":
            if not course.cancelled:
                raise _Lost("was cancelled, and not by its sender")
            self._tally.cancelled += 1
            return
        if ended["sha256"] != digest:
            raise _Lost(f"the server's digest is {ended['sha256']}, and should be {digest}")
        if planned.download:
            if await self._client.digest_of_download(upload, patience=PATIENCE_SECONDS) != digest:
                raise _Lost("what comes back differs from what was sent")
            self._tally.downloads_equal += 1
        self._tally.equal += 1
        self._tally.bytes += planned.size
        if not self._options.keep:
            await self._delete(upload)

    async def _announce(self, planned: PlannedUpload) -> Upload:
        """Announce the file. Raises `Refused`."""
        # The same key each time: an answer that was lost on its way leaves no second file.
        headers = {"Idempotency-Key": f"{self._run}-{planned.number}"}
        body = {"filename": f"load-{planned.number}.bin", "size": planned.size}

        async def announce() -> Upload:
            began = time.monotonic()
            answer = await self._client.call("POST", "upload/initiate", json=body, headers=headers)
            self._tally.initiations.append(time.monotonic() - began)
            return self._client.upload_from(answer)

        return await self._again_and_again(announce)

    async def _delete(self, upload: Upload) -> None:
        """Delete the file. Raises `Refused`."""

        async def delete() -> None:
            try:
                await self._client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
            except Refused as refused:
                if refused.code != "gone":  # the answer to an earlier try was lost
                    raise

        await self._again_and_again(delete)

    async def _again_and_again(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the call returns, made again where it was refused for now. Raises `Refused`."""
        pause, deadline = 0.1, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await call()
            except (Refused, aiohttp.ClientError) as failure:
                self._tally.codes[failure.code if isinstance(failure, Refused) else "no answer"] += 1
                told = failure.extra if isinstance(failure, Refused) else {"retryable": True}
                if not told.get("retryable") or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(min(told.get("retry_after") or pause, LONGEST_RETRY_SECONDS))
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)


class _Steered(Client):
    """A client that knows the socket of each of its uploads, so that it can be cut or closed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.sockets: dict[str, Any] = {}

    def connect(self, upload: Upload) -> Any:
        return self._remembered(upload, super().connect(upload))

    @asynccontextmanager
    async def _remembered(self, upload: Upload, connecting: Any) -> Any:
        async with connecting as socket:
            self.sockets[upload.file_id] = socket
            try:
                yield socket
            finally:
                self.sockets.pop(upload.file_id, None)


class _Course:
    """Follows one upload: measures its wait, holds back a slow line, and takes the planned steps."""

    def __init__(self, client: _Steered, upload: Upload, planned: PlannedUpload, rate: float, tally: Tally) -> None:
        self._client, self._upload, self._rate, self._tally = client, upload, rate, tally
        self._steps = list(planned.steps)
        self._sent = 0
        self._connected_at: float | None = 0.0
        self.paused = self.cancelled = False

    def connects(self) -> None:
        """From now on it waits for its slot."""
        self.paused = False
        self._connected_at = time.monotonic()

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready" and self._connected_at is not None:
            self._tally.waits.append(time.monotonic() - self._connected_at)
            self._connected_at = None
        elif message["type"] == "error" and not (self.cancelled and message["code"] in CODES_OF_A_CANCEL):
            self._tally.codes[message["code"]] += 1
        del self._upload.messages[:-4]  # thousands of uploads for hours: only the last few are ever looked at

    async def pace(self, length: int) -> None:
        """After each frame."""
        self._sent += length
        if self._rate:
            await asyncio.sleep(length / self._rate)
        while self._steps and self._sent >= self._steps[0][0]:
            await self._take(self._steps.pop(0)[1])

    async def _take(self, step: str) -> None:
        socket = self._client.sockets.get(self._upload.file_id)
        if socket is None:
            return
        self._tally.steps[step] += 1
        if step == "disconnect":
            socket.transport.abort()
        elif step == "pause":
            self.paused = True
            await socket.close(1000)
        elif step == "cancel":
            self.cancelled = True
            await self._client.cancel(self._upload)
