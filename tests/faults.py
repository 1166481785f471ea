"""What every test of a fault checks in the end: work goes on, and nothing is left behind."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.faulty_server import FaultyServer

MIB = 1024 * 1024
PATIENCE_SECONDS = 60.0


async def until(true: Any, what: str) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


def codes(upload: Upload) -> list[str]:
    """The codes of all errors that this upload was told."""
    return [message["code"] for message in upload.of_type("error")]


def open_uploads(server: FaultyServer) -> list[str]:
    """The files of the storage that the program holds open."""
    storage = str(server.data_dir / "storage")
    return [file.path for file in psutil.Process(server.pid).open_files() if file.path.startswith(storage)]


async def readiness(client: Client, status: int) -> dict[str, Any]:
    """What /readyz says when it answers with `status`; its knowledge may be a second old."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        async with client.http.get("/readyz") as response:
            answer = await response.json()
            if response.status == status:
                return dict(answer)
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.1)


@asynccontextmanager
async def nothing_left(server: FaultyServer) -> AsyncIterator[Client]:
    """A client; at the end all slots are free, nothing is reserved, no file is open, the invariants hold."""
    async with Client(server.url) as client:
        before = await client.call("GET", "upload/quota-info")
        yield client
        server.mend()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            slots = (await client.call("GET", "system/upload-status"))["concurrency_manager"]
            free = slots["global_upload_slots_available"] == slots["global_upload_slots_total"]
            if free and not slots["queued_uploads"] and not open_uploads(server):
                break
            assert time.monotonic() < deadline, (slots, open_uploads(server))
            await asyncio.sleep(0.1)
        assert slots["violations"] == 0
        after = await client.call("GET", "upload/quota-info")
        if after["day"] == before["day"]:
            assert after["reserved_bytes"] == before["reserved_bytes"]
        await readiness(client, 200)


async def ends_equal(client: Client, upload: Upload, source: PatternSource, sending: asyncio.Task[Any]) -> None:
    """The upload succeeds, and what comes back is what was sent."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        success = await sending
    digest = await asyncio.to_thread(sha256_of, source)
    assert success["sha256"] == digest == await client.digest_of_download(upload)
