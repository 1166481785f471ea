"""Doors in use: who is believed to come from where, what becomes of running uploads, and how often one may knock."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
import websockets

from devtools.client import Client, PatternSource, Refused, Upload, sha256_of
from devtools.server_process import ServerFailedError, ServerProcess
from tests.doors_rig import (
    HERE,
    NAME,
    THERE,
    Who,
    begin_maintenance,
    block,
    fingerprint,
    open_all,
    query,
    seen,
    sign_in,
)


@pytest.fixture
def server(guarded: ServerProcess) -> ServerProcess:
    return guarded


# --- Who is believed to come from where --------------------------------------------------------------------------


async def test_a_forged_header_from_nobodys_proxy_neither_opens_nor_shuts(start_server: Any) -> None:
    server = start_server()
    await seen(server, 200, Who(HERE))
    block(server, network=HERE)
    block(server, network="192.0.2.0/24")
    await asyncio.sleep(2.5)
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP"):
        async with aiohttp.ClientSession(server.url) as http, http.get("/", headers={header: HERE}) as answer:
            assert answer.status == 200, "somebody else's block shuts out nobody who claims to be them"
    block(server, network="127.0.0.1")
    await seen(server, 403, Who("203.0.113.77"))
    async with Client(server.url, {"X-Forwarded-For": "203.0.113.77", "X-Real-IP": "203.0.113.77"}) as client:
        with pytest.raises(Refused) as refused:
            await client.call("GET", "upload/quota-info")
        assert refused.value.code == "forbidden"


# --- Running connections -----------------------------------------------------------------------------------------

SIZE = 6_000_000


async def hear(socket: Any, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if message["type"] == kind:
                return message


async def begin(client: Client, socket: Any, upload: Upload, source: PatternSource, end: int) -> None:
    """Start, and send as far as `end`; returns when all that is stored."""
    await socket.send(json.dumps({"type": "start", "token": upload.token}))
    offset = (await hear(socket, "ready"))["offset"]
    await socket.send(source.read(offset, end - offset))
    while (await hear(socket, "progress"))["stored"] < end:
        pass


async def ended_with(socket: Any) -> tuple[int, dict[str, Any]]:
    """The close code and the error message of a connection that the server ends."""
    error = await hear(socket, "error")
    async with asyncio.timeout(15):
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
    assert socket.close_reason == error["code"]
    return socket.close_code, error


def state_of(server: ServerProcess, upload: Upload) -> tuple[Any, ...]:
    key = upload.file_id.replace("-", "")
    [row] = query(server, "SELECT status, stored_bytes FROM uploads_storedfile WHERE id = ?", key)
    return row


async def test_a_block_ends_a_running_upload_and_when_it_is_over_the_upload_goes_on(server: ServerProcess) -> None:
    source = PatternSource(SIZE)
    async with Client(server.url, Who(HERE).headers) as client, Client(server.url, Who(THERE).headers) as other:
        upload, untouched = await client.initiate("film.mkv", SIZE), await other.initiate("other.mkv", SIZE)
        async with client.connect(upload) as socket, other.connect(untouched) as others:
            await begin(client, socket, upload, source, 1_000_000)
            await begin(other, others, untouched, source, 1_000_000)
            block(server, network=HERE)
            code, error = await ended_with(socket)
            assert (code, error["code"], error["retryable"]) == (1008, "forbidden", False)
            await others.send(source.read(1_000_000, 1000))
            while (await hear(others, "progress"))["stored"] < 1_001_000:
                pass
        assert state_of(server, upload) == ("pending", 1_000_000)
        await seen(server, 403, Who(HERE))
        open_all(server)
        await seen(server, 200, Who(HERE))
        await client.send(upload, source)
        assert upload.of_type("ready")[0]["offset"] == 1_000_000
        assert await client.digest_of_download(upload) == sha256_of(source)


async def test_maintenance_ends_all_uploads_and_their_clients_come_back_by_themselves(server: ServerProcess) -> None:
    class Slow(PatternSource):
        def read(self, offset: int, length: int) -> bytes:
            time.sleep(0.2)  # so that maintenance comes in the middle
            return super().read(offset, length)

    source = Slow(20_000_000)
    async with Client(server.url, Who(HERE).headers) as client:
        upload = await client.initiate("film.mkv", source.size)
        sending = asyncio.create_task(client.send(upload, source))
        while upload.stored < 2_000_000:
            await asyncio.sleep(0.05)
        begin_maintenance(server)
        while not upload.of_type("error"):
            await asyncio.sleep(0.05)
        error = upload.of_type("error")[0]
        assert (error["code"], error["value"], error["retryable"]) == ("maintenance", "A new disk.", True)
        assert 500 < error["retry_after"] <= 600
        status, stored = state_of(server, upload)
        assert (status, stored >= 2_000_000) == ("pending", True)
        open_all(server)
        async with asyncio.timeout(60):
            success = await sending
        assert success["sha256"] == sha256_of(PatternSource(source.size))
        assert upload.connections >= 2
        assert upload.of_type("ready")[-1]["offset"] >= stored
    [(code,)] = query(
        server,
        "SELECT count(*) FROM uploads_fileevent WHERE file_id = ? AND code != ''",
        upload.file_id.replace("-", ""),
    )
    assert code == 0, "maintenance is no fault of the file"


async def read_into(data: bytearray, content: aiohttp.StreamReader) -> None:
    async with asyncio.timeout(30):
        while part := await content.readany():
            data += part


@pytest.mark.parametrize("shut", ["maintenance", "a block"])
async def test_a_running_download_breaks_off_and_can_be_resumed_later(server: ServerProcess, shut: str) -> None:
    source = PatternSource(64_000_000)
    async with Client(server.url, Who(HERE).headers) as client, Client(server.url, Who(THERE).headers) as other:
        upload = await client.initiate("film.mkv", source.size)
        await client.send(upload, source)
        async with (
            client.http.get(upload.answer["download_url"]) as download,
            other.http.get(upload.answer["download_url"]) as others,
        ):
            began = bytearray(await download.content.readexactly(1_000_000))
            await others.content.readexactly(1_000_000)
            if shut == "maintenance":
                begin_maintenance(server)
            else:
                block(server, network=HERE)
            await seen(server, 503 if shut == "maintenance" else 403, Who(HERE))
            with pytest.raises(aiohttp.ClientPayloadError):
                await read_into(began, download.content)
            if shut == "a block":
                assert len(await others.content.read()) == source.size - 1_000_000, "nobody else is meant"
        assert len(began) < source.size
        open_all(server)
        await seen(server, 200, Who(HERE))
        async with client.http.get(
            upload.answer["download_url"], headers={"Range": f"bytes={len(began)}-"}
        ) as download:
            assert download.status == 206
            whole = began + await download.content.read()
        assert whole == source.read(0, source.size)


async def test_the_first_account_to_be_blocked_is_found_in_what_it_has_open_already(server: ServerProcess) -> None:
    source = PatternSource(64_000_000)
    account = await sign_in(server)
    async with Client(server.url, Who(HERE).headers) as somebody, Client(server.url, account.headers) as client:
        upload = await somebody.initiate("film.mkv", source.size)
        await somebody.send(upload, source)
        theirs = await somebody.initiate("to go on by another.bin", SIZE)
        async with client.connect(theirs) as socket, client.http.get(upload.answer["download_url"]) as download:
            await begin(client, socket, theirs, PatternSource(SIZE), 1000)
            began = bytearray(await download.content.readexactly(1_000_000))
            block(server, account=NAME)
            await seen(server, 403, account)
            code, error = await ended_with(socket)
            assert (code, error["code"]) == (1008, "forbidden")
            with pytest.raises(aiohttp.ClientPayloadError):
                await read_into(began, download.content)


async def test_who_waits_in_line_is_sent_away_as_well(start_server: Any) -> None:
    server = start_server(MAX_CONCURRENT_UPLOADS="1")
    async with Client(server.url) as client:
        first, second = await client.initiate("a", SIZE), await client.initiate("b", SIZE)
        async with client.connect(first) as running, client.connect(second) as waiting:
            await begin(client, running, first, PatternSource(SIZE), 1000)
            await waiting.send(json.dumps({"type": "start", "token": second.token}))
            await hear(waiting, "queued")
            begin_maintenance(server)
            for socket in (running, waiting):
                code, error = await ended_with(socket)
                assert (code, error["code"]) == (1013, "maintenance")
        open_all(server)
        await seen(server, 200, Who())
        used = await client.call("GET", "system/upload-status")
        assert (used["concurrency_manager"]["active_uploads"], used["concurrency_manager"]["queued_uploads"]) == (0, 0)


async def test_a_blocked_account_stays_blocked_signed_out_and_elsewhere_by_whose_file_it_is(
    server: ServerProcess,
) -> None:
    account = await sign_in(server)
    async with Client(server.url, account.headers) as client:
        upload = await client.initiate("film.mkv", SIZE)
    block(server, account=NAME)
    await seen(server, 403, account)
    somebody = Who("192.0.2.55")
    async with Client(server.url, somebody.headers) as client:
        for call in (client.status(upload), client.cancel(upload)):
            with pytest.raises(Refused) as refused:
                await call
            assert refused.value.code == "forbidden"
        async with client.connect(upload) as socket:
            await socket.send(json.dumps({"type": "start", "token": upload.token}))
            code, error = await ended_with(socket)
            assert (code, error["code"]) == (1008, "forbidden")
        async with client.connect(upload) as socket:
            await socket.send(json.dumps({"type": "start", "token": "x" * 43}))
            code, error = await ended_with(socket)
            assert error["code"] == "unauthorized", "who has no token learns nothing of the sender"
        assert (await client.call("GET", f"files/{upload.file_id}/meta"))["filename"] == "film.mkv"
    assert state_of(server, upload) == ("pending", 0)


async def test_the_admins_switch_counts_for_the_very_next_request(server: ServerProcess) -> None:
    admin = await sign_in(server)
    form = {"csrfmiddlewaretoken": admin.cookies["csrftoken"]}
    async with aiohttp.ClientSession(server.url) as http:

        async def status(path: str, who: Who) -> int:
            async with http.get(path, headers=who.headers) as answer:
                return answer.status

        for to, expected_status in (("on", 503), ("off", 200), ("on", 503), ("off", 200)):
            address, data = "/admin/quotas/maintenance/switch/", {**form, "to": to}
            async with http.post(address, data=data, headers=admin.headers, allow_redirects=False) as answer:
                assert answer.status == 302
            assert await status("/", Who(HERE)) == expected_status
            assert await status("/admin/", admin) == 200
            async with http.get("/readyz") as answer:
                assert (answer.status, (await answer.json())["maintenance"]) == (200, to == "on")


# --- Rates -------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict_server(start_server: Any) -> ServerProcess:
    return start_server(  # type: ignore[no-any-return]
        TRUSTED_PROXIES="127.0.0.1", RATE_INITIATE_PER_MINUTE="3", RATE_CONNECT_PER_MINUTE="2"
    )


async def test_initiations_and_handshakes_have_a_rate_a_person(strict_server: ServerProcess) -> None:
    mine, mate, other = Who("2001:db8:1:2::1"), Who("2001:db8:1:2:ffff::9"), Who("2001:db8:1:3::1")
    async with (
        Client(strict_server.url, mine.headers) as client,
        Client(strict_server.url, mate.headers) as neighbour,
        Client(strict_server.url, other.headers) as stranger,
    ):
        upload = await client.initiate("a", 1)
        await neighbour.call(
            "POST", "batch/initiate", json={"files": [{"filename": str(n), "size": 1} for n in range(50)]}
        )
        await client.initiate("b", 1)
        before = fingerprint(strict_server)
        for who in (client, neighbour):
            for path in ("upload/initiate", "batch/initiate"):
                with pytest.raises(Refused) as refused:
                    await who.call("POST", path, json={})
                assert (refused.value.code, refused.value.extra["status"]) == ("rate_limited", 429)
                assert 0 < refused.value.extra["retry_after"] <= 60
        assert fingerprint(strict_server) == before
        assert (await client.status(upload))["status"] == "pending", "what announces nothing has no such rate"
        await stranger.initiate("c", 1)

        for _ in range(2):
            async with client.connect(upload) as socket:
                await socket.send(json.dumps({"type": "start", "token": upload.token}))
                await hear(socket, "ready")
        async with neighbour.connect(upload) as socket:
            code, error = await ended_with(socket)
        assert (code, error["code"], error["retryable"]) == (1013, "rate_limited", True)
        assert 0 < error["retry_after"] <= 60
        async with stranger.connect(upload) as socket:
            await socket.send(json.dumps({"type": "start", "token": upload.token}))
            await hear(socket, "ready")
        foreign = websockets.connect(
            upload.url, origin="http://evil.example", proxy=None, additional_headers=other.headers
        )
        for _ in range(3):
            with pytest.raises(websockets.InvalidStatus):
                async with foreign:
                    pass
        async with stranger.connect(upload) as socket:  # another site's page has used up nothing
            await socket.send(json.dumps({"type": "start", "token": upload.token}))
            await hear(socket, "ready")


def test_a_rate_of_nothing_is_refused_at_the_start(start_server: Any) -> None:
    with pytest.raises(ServerFailedError, match="RATE_CONNECT_PER_MINUTE is 0; it must be from 1 to 100000"):
        start_server(RATE_CONNECT_PER_MINUTE="0")
