"""The stages that an upload can be brought to, and what a refusal there must look like."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.client import Client, Upload
from devtools.raw_socket import BINARY, Ending, Socket, frame
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import Bytes
from tests.bad_input.matrix import TABLE

DATA = b"12345"


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
