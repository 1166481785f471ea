"""One upload, two workers: whichever of them a connection meets, it is the same program."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.server_process import ServerProcess
from tests.test_admin_steering import Admin, hear
from tests.test_wire_socket import Talk, talk
from tests.workers.crew import at

MIB = 1024 * 1024
SOURCE = PatternSource(3 * MIB, seed=7)
DIGEST = sha256_of(SOURCE)

Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture
async def here(pair: Pair) -> AsyncIterator[Client]:
    async with Client(pair[0].url) as client:
        yield client


@pytest.fixture
async def there(pair: Pair) -> AsyncIterator[Client]:
    async with Client(pair[1].url) as client:
        yield client


@pytest.fixture
async def admin_there(pair: Pair) -> AsyncIterator[Admin]:
    async with aiohttp.ClientSession(pair[1].url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        admin = Admin(http, pair[1])
        await admin.sign_in()
        yield admin


async def send_some(socket: Talk, length: int) -> None:
    """Send the first bytes of the source, and return when they are stored."""
    ready = await socket.until("ready")
    for offset in range(ready["offset"], length, 256 * 1024):
        await socket.send(SOURCE.read(offset, min(256 * 1024, length - offset)))
    while (await socket.until("progress"))["stored"] < length:
        pass


async def completed(client: Client, upload: Upload) -> None:
    """The upload is whole, and this worker hands out what was sent."""
    assert (await client.status(upload))["status"] == "completed"
    assert await client.digest_of_download(upload) == DIGEST


async def slots(client: Client) -> dict[str, Any]:
    return dict((await client.call("GET", "system/upload-status"))["concurrency_manager"])


async def until_slots(client: Client, active: int, queued: int) -> None:
    async with asyncio.timeout(20):
        while True:
            now = await slots(client)
            if (now["active_uploads"], now["queued_uploads"]) == (active, queued):
                assert now["violations"] == 0
                return
            await asyncio.sleep(0.1)


# --- Coming back at another worker -------------------------------------------------------------------------------


async def test_an_upload_goes_on_at_another_worker_from_the_byte_that_was_told_as_stored(
    pair: Pair, here: Client, there: Client
) -> None:
    upload = await here.initiate("film.mkv", SOURCE.size)
    async with talk(here, upload) as socket:
        await send_some(socket, MIB)
        socket.socket.transport.abort()  # no close frame: the network is gone
    elsewhere = at(pair[1], upload)
    assert (await there.status(elsewhere))["offset"] == MIB
    success = await there.send(elsewhere, SOURCE, sha256=DIGEST)
    assert elsewhere.of_type("ready")[0]["offset"] == MIB
    assert not elsewhere.of_type("queued")
    assert success["sha256"] == DIGEST
    await completed(here, upload)


async def test_a_newer_connection_at_another_worker_wins_over_an_older_one(
    pair: Pair, here: Client, there: Client
) -> None:
    upload = await here.initiate("film.mkv", SOURCE.size)
    async with talk(here, upload) as older:
        await send_some(older, MIB)
        elsewhere = at(pair[1], upload)
        sending = asyncio.create_task(there.send(elsewhere, SOURCE))
        assert await older.refused() == ("superseded", 4409)
        assert (await sending)["sha256"] == DIGEST
    assert elsewhere.of_type("ready")[0]["offset"] == MIB
    assert elsewhere.connections == 1
    assert not elsewhere.of_type("queued")
    await completed(here, upload)


async def test_connections_that_take_an_upload_from_each_other_end_with_the_last(
    pair: Pair, here: Client, there: Client
) -> None:
    upload = await here.initiate("film.mkv", SOURCE.size)
    for _ in range(2):
        async with talk(here, upload) as one:
            await one.until("ready")
            async with talk(there, at(pair[1], upload)) as two:
                await two.until("ready")
                assert await one.refused() == ("superseded", 4409)
                async with talk(here, at(pair[0], upload)) as three:
                    await three.until("ready")
                    assert await two.refused() == ("superseded", 4409)
                    await three.socket.close()
    last = at(pair[0], upload)
    assert (await here.send(last, SOURCE))["sha256"] == DIGEST
    await until_slots(there, 0, 0)


async def test_who_comes_while_another_worker_verifies_hears_of_the_success(
    pair: Pair, here: Client, there: Client
) -> None:
    upload = await here.initiate("film.mkv", SOURCE.size)
    async with talk(here, upload) as socket:
        await send_some(socket, SOURCE.size)
        await socket.say(type="finish")
        await socket.until("verifying")
        async with talk(there, at(pair[1], upload)) as listener:
            success = await listener.until("success")
        assert success["sha256"] == DIGEST
        assert await socket.until("success") == success | {
            "share_url": success["share_url"].replace(there.base_url, here.base_url)
        }


# --- What is done to it elsewhere --------------------------------------------------------------------------------


async def test_a_cancel_by_way_of_another_worker_ends_the_connection(pair: Pair, here: Client, there: Client) -> None:
    upload = await here.initiate("film.mkv", SOURCE.size)
    async with talk(here, upload) as socket:
        await send_some(socket, MIB)
        assert (await there.cancel(upload))["status"] == "cancelled"
        assert await socket.refused() == ("cancelled", 1000)
    await until_slots(here, 0, 0)
    await until_slots(there, 0, 0)


async def test_an_admin_at_another_worker_pauses_an_upload_lets_it_go_on_and_cancels_it(
    pair: Pair, here: Client, admin_there: Admin
) -> None:
    upload = await here.initiate("film.mkv", SOURCE.size)
    async with talk(here, upload) as socket:
        await send_some(socket, MIB)
        assert (await admin_there.steer(upload, "pause"))[0] == 200
        assert (await socket.until("queued"))["waiting_for"] == "paused"
        assert (await admin_there.steer(upload, "unpause"))[0] == 200
        assert (await socket.until("ready"))["offset"] == MIB
        assert (await admin_there.steer(upload, "cancel"))[0] == 200
        assert await socket.refused() == ("cancelled", 1000)


async def test_the_live_page_shows_the_uploads_of_all_workers(
    pair: Pair, here: Client, there: Client, admin_there: Admin
) -> None:
    upload, other = await here.initiate("film.mkv", SOURCE.size), await there.initiate("song.ogg", SOURCE.size)
    async with talk(here, upload) as one, talk(there, other) as two, admin_there.live() as page:
        await send_some(one, MIB)
        await send_some(two, 2 * MIB)
        await one.send(SOURCE.read(MIB, MIB))

        def both(message: dict[str, Any]) -> bool:
            seen = {row["id"]: (row["stage"], row["received"]) for row in message["running"]}
            return seen == {upload.file_id: ("receiving", 2 * MIB), other.file_id: ("receiving", 2 * MIB)}

        message = await hear(page, both)
        assert {row["name"] for row in message["running"]} == {"film.mkv", "song.ogg"}
        assert (message["workers"], message["machines"]) == (2, 1)
        assert all(row["rate"] > 0 for row in message["running"])
    await until_slots(here, 0, 0)


async def test_metrics_are_those_of_all_workers_whoever_answers(pair: Pair, here: Client, there: Client) -> None:
    upload = await here.initiate("film.mkv", SOURCE.size)
    async with talk(here, upload) as socket:
        await send_some(socket, MIB)
        await until_slots(there, 1, 0)
        for client in (here, there):
            async with asyncio.timeout(10):
                while True:
                    async with client.http.get("/metrics") as answer:
                        text = await answer.text()
                    known = all(f'pid="{worker.pid}"' in text for worker in pair)
                    if known and "directdrivex_slots_used 1.0" in text:
                        break  # what is told may be a second old
                    await asyncio.sleep(0.1)
            assert "process_resident_memory_bytes" not in text


# --- The line ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def other_holder(pair: Pair, there: Client) -> AsyncIterator[None]:
    """One of the two slots is somebody else's."""
    upload = await there.initiate("other.bin", SOURCE.size)
    async with talk(there, upload) as socket:
        await socket.until("ready")
        yield


async def test_the_line_spans_the_workers_and_a_slot_that_is_free_goes_to_whoever_is_next(
    here: Client, there: Client, other_holder: None
) -> None:
    holder, second, third = [await client.initiate("film.mkv", 1000) for client in (here, there, here)]
    async with AsyncExitStack() as sockets:
        one = await sockets.enter_async_context(talk(here, holder))
        await one.until("ready")
        two = await sockets.enter_async_context(talk(there, second))
        assert (await two.until("queued"))["position"] == 1
        three = await sockets.enter_async_context(talk(here, third))
        assert (await three.until("queued"))["position"] == 2
        await one.send(b"x" * 1000)
        await one.say(type="finish")
        await one.until("success")
        await two.until("ready")
        assert (await three.until("queued"))["position"] == 1
        await two.socket.close()
        await three.until("ready")


async def test_a_place_in_the_line_is_taken_over_at_another_worker(
    pair: Pair, here: Client, there: Client, other_holder: None
) -> None:
    holder, waiting, behind = [await client.initiate("film.mkv", 1000) for client in (here, here, there)]
    async with AsyncExitStack() as sockets:
        one = await sockets.enter_async_context(talk(here, holder))
        await one.until("ready")
        two = await sockets.enter_async_context(talk(here, waiting))
        assert (await two.until("queued"))["position"] == 1
        three = await sockets.enter_async_context(talk(there, behind))
        assert (await three.until("queued"))["position"] == 2
        newer = await sockets.enter_async_context(talk(there, at(pair[1], waiting)))
        assert (await newer.until("queued"))["position"] == 1
        assert await two.refused() == ("superseded", 4409)
        await one.socket.close()
        await newer.until("ready")


# --- What is counted for all -------------------------------------------------------------------------------------


async def test_the_same_announcement_at_two_workers_at_once_makes_one_file(here: Client, there: Client) -> None:
    body, headers = {"filename": "once.bin", "size": 10}, {"Idempotency-Key": "the same"}
    calls = [client.call("POST", "upload/initiate", json=body, headers=headers) for client in (here, there) * 4]
    answers = await asyncio.gather(*calls)
    assert len({answer["file_id"] for answer in answers}) == 1
