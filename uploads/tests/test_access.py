"""Locked, withdrawn and used up: what a door gives whom, and how downloads are counted."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.test import AsyncClient, AsyncRequestFactory
from django.utils import timezone

from uploads import links
from uploads.delivery import stream
from uploads.delivery.lasting import HELD, UNREAD, UNSENT
from uploads.models import CountedDownload, StoredFile
from uploads.sharing import access, giving, unlocking
from uploads.storage import get_store
from uploads.storage.base import StorageUnavailableError
from uploads.tests.sharing_rig import SENDER, TOKEN, batch, got, hashed, visitor, whole_file

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database, pytest.mark.usefixtures("store")]
MIB = 1024**2


async def counts(file: StoredFile) -> int:
    return (await StoredFile.objects.aget(pk=file.pk)).downloads


async def until_counted(file: StoredFile, number: int) -> None:
    """Wait for what is taken back beside the request."""
    async with asyncio.timeout(10):
        while await counts(file) != number:
            await asyncio.sleep(0.01)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- locks ---


async def test_a_locked_file_gives_a_stranger_no_byte_and_says_what_is_missing(async_client: AsyncClient) -> None:
    file = await whole_file(password_hash=hashed())
    for method in (async_client.get, async_client.head):
        answer = await method(links.download_path(file.pk))
        assert answer.status_code == 401
        assert "ETag" not in answer
        assert answer["Cache-Control"] == "no-store"
    told = (await async_client.get(links.download_path(file.pk))).json()
    assert (told["code"], told["password_required"]) == ("unauthorized", True)
    assert (told["title"], told["detail"]) == (
        "The password is missing or wrong.",
        "This is protected by a password.",
    )
    assert file.filename not in str(told)
    known = {"if-none-match": f'"{file.sha256}"'}
    assert (await async_client.get(links.download_path(file.pk), headers=known)).status_code == 401
    assert await counts(file) == 0


HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("headers", [{"sec-fetch-mode": "navigate"}, {"accept": HTML}])
async def test_a_person_who_follows_the_link_of_a_locked_file_gets_its_page(
    async_client: AsyncClient, headers: dict[str, str]
) -> None:
    """Without TLS no browser says that it navigates."""
    path = links.download_path((await whole_file(password_hash=hashed())).pk)
    answer = await async_client.get(path, headers=headers)
    assert (answer.status_code, answer["Location"]) == (302, links.page_of_download(path))
    for program in ({"accept": "*/*"}, {"accept": HTML, "sec-fetch-mode": "cors"}):
        assert (await async_client.get(path, headers=program)).json()["code"] == "unauthorized"


async def test_an_unlocking_opens_what_it_was_made_for_until_the_password_changes(async_client: AsyncClient) -> None:
    file, other = await whole_file(password_hash=hashed()), await whole_file(password_hash=hashed())
    token, _until = unlocking.new_token(file.pk, file.password_hash)
    assert await got(async_client, file, **bearer(token)) == (200, b"some bytes")
    assert (await got(async_client, other, **bearer(token)))[0] == 401, "the same password, but another file"
    assert (await got(async_client, file, **bearer(token[:-1])))[0] == 401
    async_client.cookies[unlocking.COOKIE.format(other.pk.hex)] = token
    assert (await got(async_client, other))[0] == 401, "a cookie that was renamed"
    async_client.cookies[unlocking.COOKIE.format(file.pk.hex)] = token
    assert (await got(async_client, file))[0] == 200
    await StoredFile.objects.filter(pk=file.pk).aupdate(password_hash=hashed("another"))
    assert (await got(async_client, file))[0] == 401
    assert (await got(async_client, file, **bearer(token)))[0] == 401


async def test_an_unlocking_ends(async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await whole_file(password_hash=hashed())
    token, until = unlocking.new_token(file.pk, file.password_hash)
    assert timedelta(hours=23) < until - timezone.now() <= timedelta(hours=24)
    monkeypatch.setattr(unlocking, "LIFE", timedelta(0))
    assert (await got(async_client, file, **bearer(token)))[0] == 401


async def test_a_batchs_password_locks_its_files_that_have_none_of_their_own(async_client: AsyncClient) -> None:
    locked = await batch(password_hash=hashed())
    plain = await whole_file(batch=locked, position=0)
    own = await whole_file(batch=locked, position=1, password_hash=hashed("its own"))
    assert [(await got(async_client, file))[0] for file in (plain, own)] == [401, 401]
    token, _until = unlocking.new_token(locked.pk, locked.password_hash)
    assert [(await got(async_client, file, **bearer(token)))[0] for file in (plain, own)] == [200, 401]
    for_one, _until = unlocking.new_token(plain.pk, locked.password_hash)
    assert (await got(async_client, plain, **bearer(for_one)))[0] == 200


async def test_the_sender_is_never_locked_out_and_never_counted(async_client: AsyncClient) -> None:
    file = await whole_file(password_hash=hashed(), max_downloads=1, downloads=1, revoked_at=timezone.now())
    assert (await got(async_client, file, **bearer(TOKEN)))[0] == 200
    assert (await got(visitor("a stranger"), file))[0] == 410
    assert await counts(file) == 1


async def test_at_the_browser_that_sent_it_a_lock_and_a_limit_hold_as_anywhere(async_client: AsyncClient) -> None:
    locked, limited = await whole_file(password_hash=hashed()), await whole_file(max_downloads=1)
    assert (await got(visitor(SENDER), locked))[0] == 401
    assert [(await got(visitor(SENDER), limited))[0] for _ in range(2)] == [200, 410]
    owner = await sync_to_async(get_user_model().objects.create_user)("owner@example.org")
    at_home = AsyncClient()
    await sync_to_async(at_home.force_login)(owner)
    mine = await whole_file(password_hash=hashed(), max_downloads=1, owner=owner)
    assert [(await got(at_home, mine))[0] for _ in range(2)] == [200, 200]


# --- withdrawn and used up ---


async def test_what_was_withdrawn_is_gone_and_says_so(async_client: AsyncClient) -> None:
    withdrawn = await batch(revoked_at=timezone.now())
    for file in (await whole_file(revoked_at=timezone.now()), await whole_file(batch=withdrawn)):
        told = (await async_client.get(links.download_path(file.pk))).json()
        assert (told["code"], told["detail"]) == ("gone", "The sender has withdrawn this link.")


async def test_what_was_downloaded_as_often_as_allowed_is_gone_and_says_so(async_client: AsyncClient) -> None:
    file = await whole_file(max_downloads=2)
    assert [(await got(async_client, file))[0] for _ in range(3)] == [200, 200, 410]
    told = (await async_client.get(links.download_path(file.pk))).json()
    assert (told["code"], told["detail"]) == ("gone", "This was downloaded as often as its sender allowed.")
    assert await counts(file) == 2


async def test_of_many_at_once_no_more_get_it_than_are_allowed() -> None:
    file = await whole_file(max_downloads=3)
    answers = await asyncio.gather(*(got(visitor(f"person {number}"), file) for number in range(12)))
    assert sorted(status for status, _data in answers) == [200] * 3 + [410] * 9
    assert await counts(file) == 3


# --- what counts ---


async def test_what_gives_no_bytes_does_not_count(async_client: AsyncClient) -> None:
    file = await whole_file()
    path = links.download_path(file.pk)
    assert (await async_client.head(path)).status_code == 200
    assert (await async_client.get(path, headers={"if-none-match": f'"{file.sha256}"'})).status_code == 304
    assert (await async_client.get(path, headers={"range": "bytes=100-"})).status_code == 416
    assert await counts(file) == 0
    assert not await CountedDownload.objects.aexists()


async def test_a_download_that_is_resumed_counts_once_also_where_it_was_the_last() -> None:
    file, somebody = await whole_file(max_downloads=1), visitor("somebody")
    assert await got(somebody, file, range="bytes=0-3") == (206, b"some")
    assert await got(somebody, file, range="bytes=4-") == (206, b" bytes")
    assert await counts(file) == 1
    assert (await got(visitor("another"), file, range="bytes=4-"))[0] == 410
    assert (await got(AsyncClient(), file, range="bytes=4-"))[0] == 410
    assert (await got(somebody, file))[0] == 410, "a whole one is another"


async def test_whoever_is_known_better_by_now_goes_on_with_what_they_began(async_client: AsyncClient) -> None:
    """From one address: without cookies, then with a visitor's, then with an unlocking."""
    locked, plain = await whole_file(max_downloads=1, password_hash=hashed()), await whole_file(max_downloads=1)
    assert await got(async_client, plain, range="bytes=0-3") == (206, b"some")
    somebody = visitor("somebody")
    assert await got(somebody, plain, range="bytes=4-") == (206, b" bytes")
    assert await counts(plain) == 1
    await StoredFile.objects.filter(pk=locked.pk).aupdate(password_hash="")
    assert await got(somebody, locked, range="bytes=0-3") == (206, b"some")
    await StoredFile.objects.filter(pk=locked.pk).aupdate(password_hash=locked.password_hash)
    token, _until = unlocking.new_token(locked.pk, locked.password_hash)
    assert await got(somebody, locked, range="bytes=4-", **bearer(token)) == (206, b" bytes")
    assert (await got(async_client, locked, range="bytes=4-", **bearer(token)))[0] == 410
    assert await counts(locked) == 1


async def test_a_recipient_goes_on_with_their_own_download_before_that_of_their_address(
    async_client: AsyncClient,
) -> None:
    file, somebody = await whole_file(), visitor("somebody")
    for who in (somebody, async_client):
        assert await got(who, file, range="bytes=0-0") == (206, b"s")
    assert await got(somebody, file, range="bytes=1-3") == (206, b"ome")
    given = [row.given async for row in CountedDownload.objects.filter(subject=file.pk).order_by("begun_at")]
    assert given == [4, 1]


async def test_ranges_that_come_at_once_are_one_download_for_each_who_asks() -> None:
    file = await whole_file(bytes(4 * MIB), max_downloads=2)
    mine, yours = visitor("me"), visitor("you")
    parts = [f"bytes={start}-{start + MIB // 2 - 1}" for start in range(0, 4 * MIB, MIB // 2)]
    answers = await asyncio.gather(*(got(who, file, range=part) for who in (mine, yours) for part in parts))
    assert [(status, len(data)) for status, data in answers] == [(206, MIB // 2)] * 16
    assert await counts(file) == 2


async def test_whoever_takes_twice_its_size_in_ranges_takes_another_download(async_client: AsyncClient) -> None:
    file = await whole_file(max_downloads=2)
    answers = [(await got(async_client, file, range="bytes=0-9"))[0] for _ in range(5)]
    assert answers == [206, 206, 206, 206, 410]
    assert await counts(file) == 2


async def test_many_ranges_at_once_give_no_more_than_what_was_counted(async_client: AsyncClient) -> None:
    """Each asks for all of it, and all of them were let in before any byte was given."""
    size = 8 * MIB
    file = await whole_file(bytes(size), max_downloads=1)

    async def one() -> int:
        given = 0
        answer = await async_client.get(links.download_path(file.pk), headers={"range": "bytes=0-"})
        if answer.streaming:
            try:
                async for block in answer.streaming_content:
                    given += len(block)
            except access.Gone:
                pass  # the connection breaks
        return given

    given = sum(await asyncio.gather(*(one() for _ in range(10))))
    assert size <= given <= 2 * size + MIB
    assert await counts(file) == 1


async def test_the_next_day_a_further_part_counts_again(async_client: AsyncClient) -> None:
    file = await whole_file(max_downloads=1)
    assert (await got(async_client, file, range="bytes=0-3"))[0] == 206
    await CountedDownload.objects.aupdate(begun_at=timezone.now() - timedelta(hours=24))
    assert (await got(async_client, file, range="bytes=4-"))[0] == 410


# --- what never began ---


async def test_a_storage_that_fails_before_the_first_byte_costs_no_download(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await whole_file(max_downloads=1)
    with monkeypatch.context() as patch:

        async def read(*_: Any, **__: Any) -> Any:
            raise StorageUnavailableError("away")

        patch.setattr(get_store(), "read", read)
        assert (await got(async_client, file))[0] == 503
    assert await counts(file) == 0
    assert (await got(async_client, file))[0] == 200


async def test_a_client_that_leaves_before_the_first_byte_costs_no_download() -> None:
    file = await whole_file(max_downloads=1)
    request = AsyncRequestFactory().get(links.download_path(file.pk))
    request.auser = anonymous
    async with AsyncExitStack() as held:  # as whoever runs the answer ends it
        request.scope[HELD] = held
        await stream.respond(request, file, get_store(), await access.admit(request, file))
        assert await counts(file) == 1
    assert await counts(file) == 0
    assert not await CountedDownload.objects.aexists()


async def test_what_breaks_off_here_has_not_given_what_never_left() -> None:
    file = await whole_file(bytes(3 * MIB), max_downloads=1)
    request = AsyncRequestFactory().get(links.download_path(file.pk))
    request.auser = anonymous
    async with AsyncExitStack() as held:
        request.scope |= {HELD: held, UNREAD: lambda: MIB, UNSENT: lambda: MIB - 100}
        answer = await stream.respond(request, file, get_store(), await access.admit(request, file))
        assert len(await anext(answer._iterator)) == MIB
    assert (await counts(file), (await CountedDownload.objects.aget()).given) == (1, 100)


async def anonymous() -> AnonymousUser:
    return AnonymousUser()


async def test_a_request_that_is_given_up_while_it_is_counted_costs_no_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = await whole_file(max_downloads=1)
    reading, go_on = asyncio.Event(), asyncio.Event()
    read = get_store().read

    async def slow(*args: Any, **more: Any) -> Any:
        reading.set()
        await go_on.wait()
        return await read(*args, **more)

    monkeypatch.setattr(get_store(), "read", slow)
    request = asyncio.create_task(got(AsyncClient(), file))
    await reading.wait()
    assert await counts(file) == 1
    request.cancel()
    await asyncio.wait({request})
    go_on.set()
    await until_counted(file, 0)


async def test_whoever_got_a_byte_and_leaves_has_downloaded_and_may_go_on(async_client: AsyncClient) -> None:
    file = await whole_file(bytes(3 * MIB), max_downloads=1)
    answer = await async_client.get(links.download_path(file.pk))
    blocks = answer.streaming_content
    assert len(await anext(blocks)) <= MIB
    await blocks.aclose()
    del answer, blocks
    async with asyncio.timeout(10):
        while not 0 < (await CountedDownload.objects.aget()).given <= MIB:
            await asyncio.sleep(0.01)
    assert await counts(file) == 1
    assert (await got(async_client, file, range=f"bytes={MIB}-"))[0] == 206


# --- doors that are shut meanwhile ---


@pytest.mark.parametrize("what", ["withdrawn", "its batch withdrawn", "another password"])
async def test_a_download_breaks_off_when_its_door_is_shut(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(giving, "LOOK_AGAIN_SECONDS", 0.0)
    whole = await batch()
    file = await whole_file(bytes(4 * MIB), batch=whole)
    answer = await async_client.get(links.download_path(file.pk))
    blocks = answer.streaming_content
    await anext(blocks)
    if what == "another password":
        await StoredFile.objects.filter(pk=file.pk).aupdate(password_hash=hashed())
    else:
        rows = StoredFile.objects.filter(pk=file.pk) if what == "withdrawn" else type(whole).objects.all()
        await rows.aupdate(revoked_at=timezone.now())
    with pytest.raises(access.Gone):
        async for _block in blocks:
            pass
