"""The ZIP of a batch over HTTP: what wire.md promises of it, on real rows and bytes."""

import asyncio
import hashlib
import io
import os
import random
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from uploads import services
from uploads.delivery import zip_files
from uploads.delivery.zip_files import Plans
from uploads.delivery.zip_plan import Plan
from uploads.models import Batch, StoredFile
from uploads.states import Status
from uploads.storage.base import ObjectMissingError, StorageUnavailableError
from uploads.tests.test_zip_body import taken
from uploads.tests.zip_rig import body_of, get_zip, stored_batch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio, pytest.mark.usefixtures("store")]
MIB = 1024 * 1024
THREE = (("a.txt", b"first"), ("photos/b.bin", bytes(range(256)) * 5000), ("फ़ाइल.txt", b"third"))


def opened(data: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    return archive


async def files_of(batch: Batch) -> list[StoredFile]:
    return [file async for file in batch.files.order_by("position")]


async def test_the_zip_has_every_file_in_its_folder_and_the_manifest_last(async_client: AsyncClient) -> None:
    batch = await stored_batch(*THREE, title='यात्रा: "2026"')
    answer = await get_zip(async_client, batch)
    assert answer.status_code == 200
    data = await body_of(answer)
    archive = opened(data)
    assert archive.namelist() == ["a.txt", "photos/b.bin", "फ़ाइल.txt", "SHA256SUMS.txt"]
    for path, content in THREE:
        assert archive.read(path) == content
        assert f"{hashlib.sha256(content).hexdigest()}  {path}\n" in archive.read("SHA256SUMS.txt").decode()
    assert dict(answer.items()) | {
        "Content-Type": "application/zip",
        "Content-Length": str(len(data)),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": "attachment; filename=\"__ _2026_.zip\"; filename*=utf-8''" + quote("यात्रा_ _2026_.zip"),
    } == dict(answer.items())
    assert answer["ETag"].startswith('"')
    assert "Last-Modified" not in answer, "it does not change where a file is deleted"


async def test_without_a_title_the_zip_is_called_by_the_batchs_id(async_client: AsyncClient) -> None:
    batch = await stored_batch(*THREE)
    answer = await get_zip(async_client, batch, "head")
    assert answer["Content-Disposition"] == f'attachment; filename="directdrivex-{str(batch.pk)[:8]}.zip"'


async def test_the_same_batch_gives_the_same_bytes(async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = await stored_batch(*THREE)
    one, two = await get_zip(async_client, batch), await get_zip(async_client, batch)
    assert (one["ETag"], await body_of(one)) == (two["ETag"], await body_of(two))
    monkeypatch.setattr(zip_files, "plans", Plans())
    assert (await get_zip(async_client, batch, "head"))["ETag"] == one["ETag"]


async def test_head_tells_all_that_get_does_and_has_no_body(async_client: AsyncClient) -> None:
    batch = await stored_batch(*THREE)
    head, get = await get_zip(async_client, batch, "head", range="bytes=0-9"), await get_zip(async_client, batch)
    assert (head.status_code, dict(head.items())) == (200, dict(get.items()))
    assert await body_of(head) == b""


async def test_any_range_is_that_of_the_whole(async_client: AsyncClient) -> None:
    batch = await stored_batch(*THREE)
    whole = await body_of(await get_zip(async_client, batch))
    places = random.Random(6)
    for _ in range(20):
        start = places.randrange(len(whole))
        end = places.randrange(start, len(whole))
        answer = await get_zip(async_client, batch, range=f"bytes={start}-{end}")
        assert (answer.status_code, answer["Content-Range"]) == (206, f"bytes {start}-{end}/{len(whole)}")
        assert answer["Content-Length"] == str(end + 1 - start)
        assert await body_of(answer) == whole[start : end + 1]
    assert await body_of(await get_zip(async_client, batch, range="bytes=-22")) == whole[-22:]
    assert await body_of(await get_zip(async_client, batch, range="bytes=100-")) == whole[100:]


async def test_a_range_outside_is_416_and_says_how_long_the_zip_is(async_client: AsyncClient) -> None:
    batch = await stored_batch(*THREE)
    size = (await get_zip(async_client, batch, "head"))["Content-Length"]
    answer = await get_zip(async_client, batch, range=f"bytes={size}-")
    assert (answer.status_code, answer["Content-Range"]) == (416, f"bytes */{size}")
    assert answer.json()["code"] == "range_invalid"


async def test_who_has_it_already_gets_304(async_client: AsyncClient) -> None:
    batch = await stored_batch(*THREE)
    etag = (await get_zip(async_client, batch, "head"))["ETag"]
    for wanted in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await get_zip(async_client, batch, if_none_match=wanted)
        assert (answer.status_code, answer["ETag"], await body_of(answer)) == (304, etag, b"")
    assert (await get_zip(async_client, batch, if_none_match='"other"')).status_code == 200


async def test_a_range_goes_on_only_with_the_same_zip(async_client: AsyncClient) -> None:
    batch = await stored_batch(*THREE)
    etag = (await get_zip(async_client, batch, "head"))["ETag"]
    more = {"range": "bytes=10-", "if_range": etag}
    assert (await get_zip(async_client, batch, **more)).status_code == 206
    await services.delete((await files_of(batch))[0].pk, "sender")
    answer = await get_zip(async_client, batch, **more)
    assert (answer.status_code, answer["ETag"] == etag) == (200, False)
    assert opened(await body_of(answer)).namelist() == ["photos/b.bin", "फ़ाइल.txt", "SHA256SUMS.txt"]
    date = "Thu, 26 Nov 2026 12:00:00 GMT"
    assert (await get_zip(async_client, batch, range="bytes=10-", if_range=date)).status_code == 200


async def test_only_what_is_complete_and_can_be_had_is_inside(async_client: AsyncClient) -> None:
    batch = await stored_batch(*((str(status), b"x") for status in Status), ("over", b"x"), ("complete too", b"y"))
    files = await files_of(batch)
    for file, status in zip(files, Status, strict=False):
        await StoredFile.objects.filter(pk=file.pk).aupdate(
            status=status, upload_expires_at=timezone.now() + timedelta(hours=1)
        )
    await StoredFile.objects.filter(pk=files[-2].pk).aupdate(expires_at=timezone.now())
    archive = opened(await body_of(await get_zip(async_client, batch)))
    assert archive.namelist() == ["completed", "complete too", "SHA256SUMS.txt"]


@pytest.mark.parametrize(
    ("states", "code", "words"),
    [
        ([Status.PENDING, Status.EXPIRED], "wrong_state", "No file of this batch is complete yet."),
        ([Status.VERIFYING], "wrong_state", "No file"),
        ([Status.FAILED, Status.DELETED], "gone", "failed"),
        ([Status.CANCELLED], "gone", "cancelled"),
        ([Status.EXPIRED], "gone", "These files have expired"),
        ([Status.DELETED], "gone", "All files of this batch were deleted."),
    ],
)
async def test_where_nothing_can_be_had_the_answer_says_whether_something_will(
    async_client: AsyncClient, states: list[Status], code: str, words: str
) -> None:
    batch = await stored_batch(*((str(status), b"x") for status in states))
    for file, status in zip(await files_of(batch), states, strict=True):
        later = timezone.now() + timedelta(hours=1)
        await StoredFile.objects.filter(pk=file.pk).aupdate(status=status, upload_expires_at=later)
    for method in ("get", "head"):
        answer = await get_zip(async_client, batch, method)
        assert answer.status_code == {"wrong_state": 409, "gone": 410}[code]
    problem = (await get_zip(async_client, batch)).json()
    assert problem["code"] == code
    assert words in problem["detail"]
    answer = await get_zip(async_client, batch, sec_fetch_mode="navigate")
    assert (answer.status_code, answer["Location"]) == (302, f"/b/{batch.pk}")


async def test_what_is_no_batch_is_not_found(async_client: AsyncClient) -> None:
    for name in ("no-uuid", "00000000-0000-4000-8000-000000000000"):
        answer = await async_client.get(f"/api/v1/batch/download-zip/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_zip_is_planned_once_and_anew_as_soon_as_anything_in_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = await stored_batch(*THREE)
    plans = Plans()
    monkeypatch.setattr(zip_files, "plans", plans)

    async def planned() -> Plan:
        return await zip_files.plan_of(await zip_files.complete_files(batch))

    first = await planned()
    assert await planned() is first
    [file, *_] = await files_of(batch)
    for changed in (
        {"filename": "other"},
        {"path": "elsewhere"},
        {"sha256": "0" * 64},
        {"completed_at": timezone.now() + timedelta(hours=1)},
    ):
        before = await planned()
        await StoredFile.objects.filter(pk=file.pk).aupdate(**changed)
        assert (await planned()).etag != before.etag
    assert len(plans) == 5


async def test_few_plans_are_kept_and_of_large_ones_the_last() -> None:
    files = [await zip_files.complete_files(await stored_batch((name, b"x"))) for name in "abc"]
    two, small = Plans(most=2), Plans(most_bytes=1)
    for file in files:
        for plans in (two, small):
            assert (await plans.of(file)) is await plans.of(file)
    assert (len(two), len(small)) == (2, 1)
    assert small._bytes == (await small.of(files[-1])).weight


async def test_the_database_is_asked_no_more_often_for_more_files() -> None:
    few, many = await stored_batch(("a", b"x")), await stored_batch(*((str(number), b"x") for number in range(20)))

    def queries_for(batch: Batch) -> int:
        with CaptureQueriesContext(connection) as queries:
            zip_files._complete_files(batch)
        return len(queries)

    assert await sync_to_async(queries_for)(few) == await sync_to_async(queries_for)(many) == 1


# --- faults of the storage ---


async def test_a_storage_that_fails_at_the_first_file_is_a_refusal(async_client: AsyncClient, store: Any) -> None:
    batch = await stored_batch(*THREE)
    store.final_path(str((await files_of(batch))[0].pk)).unlink()
    answer = await get_zip(async_client, batch)
    assert answer.status_code >= 500
    assert answer["Content-Type"] == "application/problem+json"


async def test_a_file_that_cannot_be_read_breaks_the_zip_off_and_the_rest_is_there_afterwards(
    async_client: AsyncClient, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await stored_batch(*((f"{number}.bin", os.urandom(MIB)) for number in range(5)))
    whole = await body_of(await get_zip(async_client, batch))
    broken, read = str((await files_of(batch))[3].pk), store.read

    async def failing(key: str, start: int, length: int, **more: Any) -> AsyncIterator[bytes]:
        if key == broken:
            raise StorageUnavailableError("the disk broke")
        return await read(key, start, length, **more)

    monkeypatch.setattr(store, "read", failing)
    received = bytearray()
    answer = await get_zip(async_client, batch)
    with pytest.raises(StorageUnavailableError):
        await taken(aiter(answer), received)
    assert len(received) > 3 * MIB
    assert whole.startswith(received)
    monkeypatch.undo()
    again = await get_zip(async_client, batch, range=f"bytes={len(received)}-", if_range=answer["ETag"])
    assert again.status_code == 206
    assert received + await body_of(again) == whole


# --- a CRC-32 that is not there ---


@pytest.fixture
def asked(store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int, int]]]:
    """What the store was asked to read."""
    calls: list[tuple[str, int, int]] = []
    read = store.read

    async def noted(key: str, start: int, length: int, **more: Any) -> AsyncIterator[bytes]:
        calls.append((key, start, length))
        return await read(key, start, length, **more)

    monkeypatch.setattr(store, "read", noted)
    return calls


async def test_a_file_without_a_crc_is_read_for_it_once_whoever_asks(
    async_client: AsyncClient, asked: list[tuple[str, int, int]]
) -> None:
    batch = await stored_batch(*THREE)
    [_, second, _] = await files_of(batch)
    await StoredFile.objects.filter(pk=second.pk).aupdate(crc32=None)
    answers = await asyncio.gather(*(get_zip(async_client, batch, "head") for _ in range(5)))
    assert len({answer["ETag"] for answer in answers}) == 1
    assert asked == [(str(second.pk), 0, second.size)]
    assert (await StoredFile.objects.aget(pk=second.pk)).crc32 == second.crc32
    opened(await body_of(await get_zip(async_client, batch)))
    assert len(asked) == 4


async def test_a_file_that_is_gone_from_the_storage_gets_no_crc(async_client: AsyncClient, store: Any) -> None:
    batch = await stored_batch(*THREE)
    first, *_ = await files_of(batch)
    await StoredFile.objects.filter(pk=first.pk).aupdate(crc32=None)
    store.final_path(str(first.pk)).unlink()
    with pytest.raises(ObjectMissingError):
        await zip_files.plan_of(await zip_files.complete_files(batch))
    assert (await StoredFile.objects.aget(pk=first.pk)).crc32 is None
    assert not zip_files._being_made


async def test_headers_and_ranges_of_the_directory_read_no_file(
    async_client: AsyncClient, asked: list[tuple[str, int, int]]
) -> None:
    batch = await stored_batch(*THREE)
    await get_zip(async_client, batch, "head")
    await body_of(await get_zip(async_client, batch, range="bytes=-200"))
    assert asked == []
