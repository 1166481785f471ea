"""The bytes of a ZIP on their way out: in order, never wrong, a few files ahead, and no more held than that."""

import asyncio
import gc
import os
import random
import tracemalloc
import uuid
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from uploads.delivery.zip_body import BYTES_AHEAD, PARTS_AHEAD, SENT_AT_ONCE, body_of
from uploads.delivery.zip_plan import Member, Plan
from uploads.storage.base import ObjectMissingError, StorageUnavailableError
from uploads.storage.local import LocalStore
from uploads.tests.test_zip_plan import member, written

MIB = 1024 * 1024
pytestmark = pytest.mark.asyncio


class Files:
    """A store of files by their keys that notes what is asked of it, and can do wrong."""

    def __init__(self, *data: bytes) -> None:
        self.data = {str(number): content for number, content in enumerate(data)}
        self.members = [member(content, key, key=key) for key, content in self.data.items()]
        self.plan = Plan(self.members)
        self.whole = written(self.plan, data, self.members)
        self.asked: list[str] = []
        self.open: Counter[str] = Counter()
        self.before_block: Callable[[str, int], Any] = lambda _key, _at: None

    async def read(self, wanted: Member, start: int, length: int) -> AsyncIterator[bytes]:
        self.asked.append(wanted.key)
        if wanted.key not in self.data:
            raise ObjectMissingError(wanted.key)
        return self._blocks(wanted.key, self.data[wanted.key][start : start + length])

    async def _blocks(self, key: str, data: bytes) -> AsyncIterator[bytes]:
        self.open[key] += 1
        try:
            for at in range(0, len(data), MIB):
                await asyncio.sleep(0)
                self.before_block(key, at)
                yield data[at : at + MIB]
        finally:
            self.open[key] -= 1

    async def body(self, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        return await body_of(self.plan.slice(start, self.plan.size if length is None else length), self.read)


async def taken(body: AsyncIterator[bytes], into: bytearray) -> None:
    async for block in body:
        into += block


async def all_of(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([block async for block in body])


async def test_what_comes_out_is_the_zip_whole_and_from_anywhere() -> None:
    files = Files(os.urandom(3 * MIB + 1), b"", os.urandom(5), os.urandom(MIB), *(os.urandom(100) for _ in range(50)))
    assert await all_of(await files.body()) == files.whole
    places = random.Random(1)
    for _ in range(50):
        start = places.randrange(files.plan.size)
        length = places.randrange(files.plan.size - start) + 1
        assert await all_of(await files.body(start, length)) == files.whole[start : start + length]
    assert not +files.open


async def test_small_parts_go_out_together_and_no_block_is_much_larger_than_the_stores() -> None:
    blocks = [len(block) async for block in await Files(*(bytes(100) for _ in range(1000))).body()]
    assert all(size >= SENT_AT_ONCE for size in blocks[:-1])
    blocks = [len(block) async for block in await Files(bytes(5 * MIB)).body()]
    assert max(blocks) <= MIB + SENT_AT_ONCE


async def test_a_fault_before_the_first_byte_is_told_as_such() -> None:
    files = Files(b"one", b"two")
    del files.data["0"]
    with pytest.raises(ObjectMissingError):
        await files.body()


@pytest.mark.parametrize("fault", ["missing", "short", "long", "breaks"])
async def test_a_fault_in_the_middle_breaks_off_and_no_byte_is_wrong(fault: str) -> None:
    files = Files(*(os.urandom(MIB) for _ in range(6)))
    match fault:
        case "missing":
            del files.data["3"]
        case "short":
            files.data["3"] = files.data["3"][:-1]
        case "long":
            original = files.read

            async def too_long(wanted: Member, start: int, length: int) -> AsyncIterator[bytes]:
                return await original(wanted, start, length) if wanted.key != "3" else endless()

            async def endless() -> AsyncIterator[bytes]:
                for _ in range(3):
                    yield files.whole[:MIB]

            files.read = too_long  # type: ignore[method-assign]
        case "breaks":

            def fail(key: str, _at: int) -> None:
                if key == "3":
                    raise StorageUnavailableError("the disk broke")

            files.before_block = fail
    body = await files.body()
    received = bytearray()
    with pytest.raises((ObjectMissingError, StorageUnavailableError)):
        await taken(body, received)
    assert len(received) >= 3 * MIB
    if fault != "long":
        assert files.whole.startswith(received)
    await asyncio.sleep(0)
    gc.collect()
    assert not +files.open


async def test_files_are_begun_ahead_only_as_far_as_they_are_needed_soon() -> None:
    small = Files(*(bytes(1000) for _ in range(100)))
    most = 0

    def count(_key: str, _at: int) -> None:
        nonlocal most
        most = max(most, +small.open and small.open.total())

    small.before_block = count
    await all_of(await small.body())
    assert 2 <= most <= PARTS_AHEAD
    large = Files(bytes(10 * MIB), bytes(10), bytes(10 * MIB))
    received = 0
    async for block in await large.body():
        received += len(block)
        if received < 10 * MIB - BYTES_AHEAD:
            assert large.asked == ["0"], "a file that is needed in an hour is not opened now"
    assert large.asked == ["0", "1", "2"]


async def test_a_thousand_files_take_no_more_memory_than_a_few() -> None:
    block = bytes(MIB)
    members = [member(size=MIB, crc32=zlib.crc32(block), filename="again") for _ in range(1000)]

    async def read(_wanted: Member, _start: int, length: int) -> AsyncIterator[bytes]:
        async def blocks() -> AsyncIterator[bytes]:
            yield bytes(bytearray(length))

        return blocks()

    body = await body_of(Plan(members).slice(0, 200 * MIB), read)
    tracemalloc.start()
    try:
        received = 0
        async for part in body:
            received += len(part)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert received == 200 * MIB
    assert most < 8 * MIB


def open_files(folder: Path) -> list[str]:
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


async def test_who_leaves_in_the_middle_leaves_nothing_open(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    data = [os.urandom(size) for size in (2 * MIB, 10, 0, 3 * MIB, 1000, MIB, MIB)]
    members = []
    for content in data:
        key = str(uuid.uuid4())
        upload = await store.open(key, len(content))
        await upload.append([content])
        await upload.finish()
        await upload.close()
        members.append(member(content, key=key))
    plan = Plan(members)

    async def read(wanted: Member, start: int, length: int) -> AsyncIterator[bytes]:
        return await store.read(wanted.key, start, length)

    assert await all_of(await body_of(plan.slice(0, plan.size), read)) == written(plan, data, members)
    for leave_at in (1, 3 * MIB, 5 * MIB):
        received = 0
        async with aclosing(await body_of(plan.slice(0, plan.size), read)) as body:
            async for block in body:
                received += len(block)
                if received >= leave_at:
                    break
        del body, block
        async with asyncio.timeout(10):
            while open_files(tmp_path):
                await asyncio.sleep(0.01)
