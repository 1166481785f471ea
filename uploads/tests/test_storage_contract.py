"""The contract of `storage/base.py`, over every adapter."""

import asyncio
import hashlib
import os
import uuid
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from uploads.storage.base import ObjectMissingError, RewindError, StorageFullError, StorageUnavailableError, Store
from uploads.storage.local import LocalStore
from uploads.tests.drive_store_rig import drive_store

MIB = 1024 * 1024
GRAIN = 256 * 1024  # what every store keeps of an upload that breaks off is a multiple of this, or all of it


@pytest.fixture(params=["local", "gdrive"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "local":
        store: Store = LocalStore(tmp_path / "storage")
    else:
        store = drive_store(request.getfixturevalue("shared_emulator"))
    yield store
    await store.close()


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


async def read_all(store: Store, key: str, start: int, length: int) -> bytes:
    return b"".join([block async for block in await store.read(key, start, length)])


async def put(store: Store, key: str, data: bytes) -> None:
    upload = await store.open(key, len(data))
    await upload.append([data])
    await upload.finish()
    await upload.close()


async def test_what_was_appended_is_read_back_equal(store: Store, key: str) -> None:
    blocks = [os.urandom(MIB), b"", os.urandom(7), bytearray(os.urandom(3 * MIB))]
    data = b"".join(blocks)
    upload = await store.open(key, len(data))
    assert upload.offset == 0
    await upload.append(blocks[:2])
    await upload.append(blocks[2:])
    assert upload.offset == len(data)
    await upload.finish()
    assert await read_all(store, key, 0, len(data)) == data
    assert await store.stored_bytes(key) == len(data)


async def test_more_than_a_thousand_blocks_in_one_append_are_all_stored(store: Store, key: str) -> None:
    blocks = [bytes([number % 251]) * 3 for number in range(3000)]
    upload = await store.open(key, 9000)
    await upload.append(blocks)
    assert upload.offset == 9000
    await upload.finish()
    assert await read_all(store, key, 0, 9000) == b"".join(blocks)


async def test_appends_that_overlap_are_stored_in_order(store: Store, key: str) -> None:
    blocks = [os.urandom(size) for size in (MIB, 1, 2 * MIB, 7)]
    data = b"".join(blocks)
    upload = await store.open(key, len(data))
    ends = [0]
    for block in blocks:
        ends.append(ends[-1] + len(block))
    await asyncio.gather(*(upload.append([block], at) for block, at in zip(blocks, ends, strict=False)))
    assert upload.offset == len(data)
    assert (await upload.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await upload.finish()
    assert await read_all(store, key, 0, len(data)) == data


async def test_an_append_behind_bytes_that_are_not_stored_is_refused_and_stores_nothing(store: Store, key: str) -> None:
    data = os.urandom(2 * GRAIN)
    upload = await store.open(key, len(data))
    await upload.append([data[:GRAIN]], 0)
    for wrong in (GRAIN - 1, GRAIN + 1, 0):
        with pytest.raises(RewindError) as rewind:
            await upload.append([b"x"], wrong)
        assert rewind.value.offset == upload.offset == GRAIN
    await upload.append([data[GRAIN:]], GRAIN)
    assert (await upload.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await upload.close()


async def test_a_sender_that_was_told_to_wait_goes_on_from_a_true_offset(store: Store, key: str) -> None:
    data = os.urandom(9 * MIB)
    upload = await store.open(key, len(data))
    await upload.append([data[: 3 * MIB]], 0)
    await upload.append([data[3 * MIB : 5 * MIB]], 3 * MIB)
    await upload.settle()
    assert upload.offset <= 5 * MIB
    await upload.append([data[upload.offset :]], upload.offset)
    assert upload.offset == len(data)
    assert (await upload.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await upload.finish()
    assert await read_all(store, key, 0, len(data)) == data


async def test_any_part_can_be_read(store: Store, key: str) -> None:
    data = os.urandom(3 * MIB + 5)
    await put(store, key, data)
    for start, length in [(0, 1), (MIB - 1, 2), (3 * MIB, 5), (len(data) - 1, 1), (0, 0), (17, 2 * MIB)]:
        assert await read_all(store, key, start, length) == data[start : start + length]


@pytest.mark.parametrize("size", [MIB - 1, MIB + 1])
async def test_what_has_not_the_size_that_it_should_have_is_not_read(store: Store, key: str, size: int) -> None:
    await put(store, key, os.urandom(MIB))
    with pytest.raises(StorageUnavailableError):
        await store.read(key, 5, 10, size=size)
    blocks = await store.read(key, 5, 10, size=MIB)
    await blocks.aclose()


async def test_the_digests_are_those_of_the_bytes(store: Store, key: str) -> None:
    data = os.urandom(2 * MIB)
    upload = await store.open(key, len(data))
    await upload.append([data])
    digests = await upload.digests()
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert digests.crc32 == zlib.crc32(data)
    await upload.close()


async def test_an_upload_opened_again_goes_on_where_it_was_and_has_the_same_digests(store: Store, key: str) -> None:
    data = os.urandom(9 * MIB)
    first = await store.open(key, len(data))
    await first.append([data[: 5 * MIB]])
    await first.close()
    second = await store.open(key, len(data))
    assert second.offset == 5 * MIB
    await second.append([data[5 * MIB :]])
    assert (await second.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await second.finish()
    assert await read_all(store, key, 0, len(data)) == data


async def test_an_empty_object_can_be_stored(store: Store, key: str) -> None:
    upload = await store.open(key, 0)
    assert (await upload.digests()).sha256 == hashlib.sha256(b"").hexdigest()
    await upload.finish()
    assert await read_all(store, key, 0, 0) == b""


async def test_a_finished_object_opens_whole_and_finishes_again(store: Store, key: str) -> None:
    data = os.urandom(MIB)
    await put(store, key, data)
    again = await store.open(key, len(data))
    assert again.offset == len(data)
    assert (await again.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await again.finish()
    assert await read_all(store, key, 0, len(data)) == data


async def test_an_unfinished_upload_cannot_be_read(store: Store, key: str) -> None:
    upload = await store.open(key, 10)
    await upload.append([b"12345"])
    await upload.close()
    with pytest.raises(ObjectMissingError):
        await read_all(store, key, 0, 5)


async def test_two_writers_never_hold_the_same_upload(store: Store, key: str) -> None:
    first = await store.open(key, 3 * GRAIN)
    await first.append([b"a" * GRAIN])
    second_open = asyncio.create_task(store.open(key, 3 * GRAIN))
    await asyncio.sleep(0.2)
    assert not second_open.done()
    await first.append([b"b" * GRAIN])
    await first.close()
    second = await second_open
    assert second.offset == 2 * GRAIN
    await second.close()


async def test_a_deleted_upload_is_gone_and_starts_from_nothing(store: Store, key: str) -> None:
    await put(store, key, b"data")
    await store.delete(key)
    await store.delete(key)
    assert await store.stored_bytes(key) == 0
    with pytest.raises(ObjectMissingError):
        await store.read(key, 0, 4)
    upload = await store.open(key, 4)
    assert upload.offset == 0
    await upload.close()


async def test_every_key_that_takes_room_is_listed(store: Store, key: str) -> None:
    await put(store, key, b"data")
    other = str(uuid.uuid4())
    upload = await store.open(other, 10)
    await upload.append([b"12345"])
    await upload.close()
    found = dict(await store.keys())
    assert set(found) == {key, other}
    assert all(0 <= age < 60 for age in found.values())


async def test_what_is_no_key_is_refused_before_it_becomes_a_path(store: Store) -> None:
    for key in ["../../etc/passwd", "", "a" * 36, str(uuid.uuid4()).upper(), f"{uuid.uuid4()}\n"]:
        with pytest.raises(ValueError):
            await store.open(key, 1)


async def test_an_append_that_was_cancelled_leaves_a_true_offset(store: Store, key: str) -> None:
    data = os.urandom(4 * MIB)
    upload = await store.open(key, len(data))
    task = asyncio.create_task(upload.append([data[: 2 * MIB]]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await upload.close()
    again = await store.open(key, len(data))
    assert again.offset <= 2 * MIB
    assert again.offset % GRAIN == 0
    await again.append([data[again.offset :]])
    assert (await again.digests()).sha256 == hashlib.sha256(data).hexdigest()
    await again.close()


async def test_an_upload_larger_than_the_room_is_refused_and_nothing_is_lost(store: Store, key: str) -> None:
    upload = await store.open(key, 2 * GRAIN)
    await upload.append([os.urandom(GRAIN)])
    await upload.close()
    room = await store.room()
    assert room is not None
    with pytest.raises(StorageFullError):
        await store.open(key, room * 2)
    assert await store.stored_bytes(key) == GRAIN
