"""Passwords, limits and withdrawals as they bear on the ZIP of a batch."""

import asyncio
import io
import os
import zipfile
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from django.test import AsyncClient
from django.utils import timezone

from uploads import tokens
from uploads.models import Batch, CountedDownload, StoredFile
from uploads.sharing.access import Access
from uploads.sharing.giving import Part, give
from uploads.tests.sharing_rig import SECRET, TOKEN, hashed, visitor
from uploads.tests.zip_rig import body_of, get_zip, stored_batch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio, pytest.mark.usefixtures("store")]
MIB = 1024 * 1024
HEADER_BYTES = 31  # before a file whose name has one letter


async def two(data: tuple[bytes, bytes] = (b"first", b"second"), **fields: Any) -> tuple[Batch, StoredFile, StoredFile]:
    """A batch of the files `a` and `b`, and both; `fields` are those of `a`."""
    batch = await stored_batch(("a", data[0]), ("b", data[1]), token_digest=tokens.digest(TOKEN))
    a, b = [file async for file in batch.files.order_by("position")]
    await StoredFile.objects.filter(pk=a.pk).aupdate(**fields)
    return batch, a, b


async def names_in(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.status_code
    return zipfile.ZipFile(io.BytesIO(await body_of(answer))).namelist()[:-1]


async def counts(batch: Batch) -> tuple[int, ...]:
    """Of the batch, and of its files."""
    await batch.arefresh_from_db()
    return (batch.downloads, *[file.downloads async for file in batch.files.order_by("position")])


async def unlock(client: AsyncClient, what: str, pk: Any) -> str:
    answer = await client.post(f"/api/v1/{what}/{pk}/unlock", {"password": SECRET}, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return str(answer.json()["token"])


async def test_the_password_of_the_batch_locks_its_zip(async_client: AsyncClient) -> None:
    batch, *_ = await two()
    await Batch.objects.filter(pk=batch.pk).aupdate(password_hash=hashed())
    for method in ("get", "head"):
        assert (await get_zip(async_client, batch, method)).status_code == 401
    problem = (await get_zip(async_client, batch)).json()
    assert (problem["code"], problem["password_required"]) == ("unauthorized", True)
    answer = await get_zip(async_client, batch, sec_fetch_mode="navigate")
    assert (answer.status_code, answer["Location"]) == (302, f"/b/{batch.pk}")
    token = await unlock(AsyncClient(), "batch", batch.pk)
    assert await names_in(await get_zip(async_client, batch, authorization=f"Bearer {token}")) == ["a", "b"]
    assert await names_in(await get_zip(AsyncClient(), batch, authorization=f"Bearer {TOKEN}")) == ["a", "b"]


async def test_a_file_with_a_password_of_its_own_is_inside_for_who_gave_it(async_client: AsyncClient) -> None:
    batch, a, _b = await two(password_hash=hashed())
    assert await names_in(await get_zip(async_client, batch)) == ["b"]
    assert await counts(batch) == (1, 0, 1), "what is not inside is not counted"
    unlocked = AsyncClient()
    await unlock(unlocked, "files", a.pk)
    assert await names_in(await get_zip(unlocked, batch)) == ["a", "b"]
    assert await names_in(await get_zip(AsyncClient(), batch, authorization=f"Bearer {TOKEN}")) == ["a", "b"]
    assert await counts(batch) == (2, 1, 2), "the sender is not counted"
    await batch.files.aupdate(password_hash=hashed())
    assert (await get_zip(AsyncClient(), batch)).json()["password_required"] is True


async def test_a_withdrawn_file_is_not_inside_and_of_a_withdrawn_batch_there_is_no_zip(
    async_client: AsyncClient,
) -> None:
    batch, *_ = await two(revoked_at=timezone.now())
    assert await names_in(await get_zip(async_client, batch)) == ["b"]
    await Batch.objects.filter(pk=batch.pk).aupdate(revoked_at=timezone.now())
    assert (await get_zip(async_client, batch)).json()["code"] == "gone"


async def test_a_zip_counts_for_the_limits_of_the_batch_and_of_each_file(async_client: AsyncClient) -> None:
    batch, *_ = await two(max_downloads=1)
    await Batch.objects.filter(pk=batch.pk).aupdate(max_downloads=2)
    head = await get_zip(async_client, batch, "head")
    await get_zip(async_client, batch, if_none_match=head["ETag"])
    await get_zip(async_client, batch, range="bytes=99999999-")
    assert await counts(batch) == (0, 0, 0)
    assert await names_in(await get_zip(async_client, batch)) == ["a", "b"]
    assert await counts(batch) == (1, 1, 1)
    assert await names_in(await get_zip(async_client, batch)) == ["b"], "the other was had as often as allowed"
    answer = await get_zip(async_client, batch)
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    assert await counts(batch) == (2, 1, 2)


async def nothing_runs() -> None:
    """Return when this task is the only one."""
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)


async def broken_off(client: AsyncClient, batch: Batch, **headers: str) -> tuple[bytes, str]:
    """What comes before the connection breaks, and the ETag."""
    answer = await get_zip(client, batch, **headers)
    assert answer.status_code == (206 if headers else 200)
    blocks = aiter(answer)
    received = await anext(blocks)
    await answer._iterator.aclose()  # what the framework hands out is a wrapper each time, which closes nothing
    await nothing_runs()
    return received, answer["ETag"]


async def test_who_leaves_a_counted_download_in_the_middle_leaves_no_error_behind() -> None:
    """Closing what reads ahead takes some turns of the loop, in which nobody else may close it."""
    batch, *_ = await two()
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))

    async def reading_ahead() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x" * 10
        finally:
            for _ in range(5):
                await asyncio.sleep(0)

    async def read() -> AsyncGenerator[bytes]:
        return reading_ahead()

    access = Access(batch, is_sender=False, lock="", is_unlocked=False, recipients=("one",))
    blocks = await give(access, read, Part(0, 100, 100, is_range=False))
    assert b"".join([await anext(blocks), await anext(blocks)])
    await blocks.aclose()
    await nothing_runs()
    assert errors == []


@pytest.mark.parametrize("with_if_range", [True, False])
async def test_a_zip_that_is_gone_on_with_counts_once_and_keeps_the_file_whose_last_download_it_was(
    with_if_range: bool,
) -> None:
    batch, *_ = await two((os.urandom(3 * MIB), os.urandom(3 * MIB)), max_downloads=1)
    whole = await body_of(await get_zip(AsyncClient(), batch, authorization=f"Bearer {TOKEN}"))
    recipient = visitor("one")
    received, etag = await broken_off(recipient, batch)
    assert await counts(batch) == (1, 1, 1)
    headers = {"range": f"bytes={len(received)}-"} | ({"if_range": etag} if with_if_range else {})
    answer = await get_zip(recipient, batch, **headers)
    assert (answer.status_code, answer["ETag"]) == (206, etag)
    assert received + await body_of(answer) == whole
    assert await counts(batch) == (1, 1, 1)


async def test_a_zip_begun_without_cookies_is_gone_on_with_by_whoever_has_some_by_then() -> None:
    batch, *_ = await two((os.urandom(3 * MIB), os.urandom(3 * MIB)))
    await Batch.objects.filter(pk=batch.pk).aupdate(max_downloads=1)
    recipient = AsyncClient()
    received, _etag = await broken_off(recipient, batch)
    assert not recipient.cookies, "bytes change nobody into another recipient"
    assert "ddx_visitor" in (await recipient.get(f"/b/{batch.pk}")).cookies
    answer = await get_zip(recipient, batch, range=f"bytes={len(received)}-")
    assert answer.status_code == 206
    assert zipfile.ZipFile(io.BytesIO(received + await body_of(answer))).testzip() is None
    await batch.arefresh_from_db()
    assert batch.downloads == 1


async def test_what_was_used_up_before_does_not_come_into_a_zip_that_is_gone_on_with() -> None:
    batch, *_ = await two((os.urandom(3 * MIB), os.urandom(3 * MIB)), max_downloads=1, downloads=1)
    recipient = visitor("one")
    received, etag = await broken_off(recipient, batch)
    answer = await get_zip(recipient, batch, range=f"bytes={len(received)}-")
    assert (answer.status_code, answer["ETag"]) == (206, etag)
    archive = zipfile.ZipFile(io.BytesIO(received + await body_of(answer)))
    assert (archive.testzip(), archive.namelist()) == (None, ["b", "SHA256SUMS.txt"])


async def test_a_zip_that_is_another_one_by_now_comes_anew_without_what_was_used_up() -> None:
    batch, _a, b = await two((os.urandom(3 * MIB), os.urandom(3 * MIB)), max_downloads=1)
    recipient = visitor("one")
    received, etag = await broken_off(recipient, batch)
    await StoredFile.objects.filter(pk=b.pk).aupdate(filename="c")
    answer = await get_zip(recipient, batch, range=f"bytes={len(received)}-", if_range=etag)
    assert await names_in(answer) == ["c"]
    assert await counts(batch) == (2, 1, 2)


async def ranges_of(recipient: AsyncClient, batch: Batch, span: str, times: int) -> list[int]:
    """The statuses of so many GETs of this range of the ZIP, each read to its end."""
    statuses = []
    for _ in range(times):
        answer = await get_zip(recipient, batch, range=f"bytes={span}")
        statuses.append(answer.status_code)
        await body_of(answer)
        await nothing_runs()
    return statuses


@pytest.mark.every_database
async def test_a_zip_gives_a_limited_file_no_more_often_than_it_would_be_given_by_itself() -> None:
    """Though it is used up, and all of the ZIP might be had once more."""
    batch, *_ = await two((os.urandom(MIB), os.urandom(8 * MIB)), max_downloads=1)
    recipient = visitor("one")
    received, _etag = await broken_off(recipient, batch)
    assert len(received) <= 2 * MIB
    statuses = await ranges_of(recipient, batch, f"0-{MIB + 99}", 6)
    assert statuses.count(206) in (1, 2)
    assert statuses[-1] == 410
    assert await ranges_of(recipient, batch, f"{2 * MIB}-{3 * MIB}", 2) == [206, 206], "of the other there is more"
    assert await counts(batch) == (1, 1, 1)


@pytest.mark.every_database
async def test_a_limited_file_that_is_given_too_often_in_a_zip_counts_again_where_it_may() -> None:
    batch, *_ = await two((os.urandom(MIB), os.urandom(8 * MIB)), max_downloads=2)
    recipient = visitor("one")
    statuses = await ranges_of(recipient, batch, f"0-{MIB + 99}", 6)
    assert statuses == [206] * 4 + [410] * 2
    assert await counts(batch) == (2, 2, 2)


@pytest.mark.every_database
async def test_what_a_broken_off_zip_did_not_give_of_a_limited_file_is_not_held_against_it() -> None:
    batch, a, _b = await two((os.urandom(3 * MIB), os.urandom(3 * MIB)), max_downloads=1)
    recipient = visitor("one")
    received = len((await broken_off(recipient, batch))[0])
    for _ in range(4):
        received += len((await broken_off(recipient, batch, range=f"bytes={received}-"))[0])
        await nothing_runs()
        given = (await CountedDownload.objects.aget()).files[str(a.pk)]
        assert given == min(received - HEADER_BYTES, 3 * MIB)
    assert (await get_zip(recipient, batch, range=f"bytes={received}-")).status_code == 206
