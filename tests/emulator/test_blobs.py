"""What the emulator keeps where a request, or it itself, is ended in the middle."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from devtools.emulator.blobs import BATCH, GRAIN, Blob
from devtools.emulator.world import World


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


def test_a_process_that_was_killed_in_the_middle_leaves_nothing_half(tmp_path: Path) -> None:
    facts = {"email": "a@b", "body": {"name": "film"}, "mime_type": "", "total": 2 * GRAIN, "fields": None}
    world = World(tmp_path)
    half, made = world.sessions.open(**facts), world.sessions.open(**facts)
    (world.items.blobs / half.facts.blob).write_bytes(bytes(GRAIN + 4096))
    (world.items.blobs / made.facts.blob).write_bytes(bytes(2 * GRAIN))
    item = world.new_item(world.accounts.of_email("a@b"), facts["body"], "", {})
    item.id, item.blob = "film", made.facts.blob
    world.items.save(item)  # and killed before the session was told
    after = World(tmp_path)
    assert after.sessions.find(made.facts.id).facts.done == "film"
    found = after.sessions.find(half.facts.id)
    blob = found.blob(after.items.blobs / half.facts.blob, set())
    assert blob.size == GRAIN
    found.close()
