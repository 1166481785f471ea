"""What the emulator stores of a body whose request is ended by another."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from devtools.emulator.blobs import BATCH, Blob


async def test_a_request_that_was_ended_stores_nothing_more_once_the_next_has_its_turn(tmp_path: Path) -> None:
    writing, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class SlowDisk(Blob):
        def append(self, blocks: list[bytes]) -> None:
            loop.call_soon_threadsafe(writing.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            super().append(blocks)

    async def body() -> AsyncIterator[bytes]:
        yield bytes(BATCH)
        yield bytes(BATCH)
        raise ConnectionResetError

    blob = SlowDisk(tmp_path / "blob")
    taking = asyncio.create_task(blob.take(body(), final=False))
    await writing.wait()
    taking.cancel()
    await asyncio.sleep(0)
    taking.cancel()
    _, pending = await asyncio.wait({taking}, timeout=0.1)
    assert pending  # the thread still writes
    go_on.set()
    await asyncio.wait({taking})
    size = blob.size
    await asyncio.sleep(0.1)
    assert blob.size == size == (tmp_path / "blob").stat().st_size
    blob.close()
