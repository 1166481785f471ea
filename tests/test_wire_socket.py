"""The WebSocket half of wire.md, against the real program, with a client that speaks for itself."""

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from devtools.client import Client, PatternSource, Upload
from devtools.server_process import ServerProcess, program_environment

MIB = 1024 * 1024
pytestmark = pytest.mark.every_server


@pytest.fixture
async def client(wire_server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(wire_server.url) as client:
        yield client


class Talk:
    """A socket with a few words for what tests do again and again."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def send(self, data: bytes) -> None:
        await self.socket.send(data)

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            return dict(json.loads(await self.socket.recv()))

    async def until(self, kind: str) -> dict[str, Any]:
        """The next message of `kind`; others are passed over, but not an error."""
        while True:
            message = await self.hear()
            if message["type"] == kind:
                return message
            assert message["type"] != "error", message

    async def closed(self) -> tuple[int, str]:
        """The code and reason that the server closes with; messages on the way are passed over."""
        async with asyncio.timeout(30):
            try:
                while True:
                    await self.socket.recv()
            except websockets.ConnectionClosed as closing:
                if closing.rcvd is None:
                    raise
                return closing.rcvd.code, closing.rcvd.reason

    async def refused(self) -> tuple[str, int]:
        """The code of the next error and of the close that follows, whose reason must be the same."""
        while (message := await self.hear())["type"] != "error":
            pass
        assert message["value"]
        assert {"retryable", "retry_after"} <= set(message)
        code, reason = await self.closed()
        assert reason == message["code"]
        return message["code"], code


@asynccontextmanager
async def talk(client: Client, upload: Upload, *, start: bool = True) -> AsyncIterator[Talk]:
    async with client.connect(upload) as socket:
        talking = Talk(socket)
        if start:
            await talking.say(type="start", token=upload.token)
        yield talking


async def upload_of(client: Client, data: bytes, **more: Any) -> Upload:
    return await client.initiate("file.bin", len(data), **more)


async def slots_free(client: Client) -> None:
    """Return when no slot is held; the test fails where one stays."""
    async with asyncio.timeout(20):
        while (await client.call("GET", "system/upload-status"))["concurrency_manager"]["active_uploads"]:
            await asyncio.sleep(0.1)


# --- the plain way ---


async def test_one_small_file_message_by_message(client: Client) -> None:
    data = b"hello, world"
    upload = await upload_of(client, data)
    digest = hashlib.sha256(data).hexdigest()
    async with talk(client, upload) as t:
        assert await t.hear() == {
            "type": "ready",
            "offset": 0,
            "chunk_size": upload.answer["chunk_size"],
            "window": upload.answer["window"],
            "size": len(data),
        }
        await t.send(data)
        progress = await t.hear()
        assert (progress["type"], progress["received"], progress["stored"]) == ("progress", len(data), len(data))
        assert progress["value"] == 100
        await t.say(type="finish", sha256=digest)
        assert await t.hear() == {"type": "verifying"}
        success = await t.hear()
        assert success["type"] == "success"
        assert success["value"] == upload.answer["download_url"]
        assert (success["file_id"], success["size"], success["sha256"]) == (upload.file_id, len(data), digest)
        assert success["share_url"] == upload.answer["share_url"]
        assert success["receipt"]["server"]["sha256"] == success["receipt"]["browser"]["sha256"] == digest
        assert success["receipt"]["storage"]["sha256"] is None
        assert success["receipt"]["storage"]["reason"]
        assert (await t.closed())[0] == 1000


async def test_an_empty_file(client: Client) -> None:
    upload = await upload_of(client, b"")
    async with talk(client, upload) as t:
        assert (await t.hear())["offset"] == 0
        await t.say(type="finish")
        assert (await t.until("success"))["sha256"] == hashlib.sha256(b"").hexdigest()


async def test_the_short_address_is_the_same(client: Client) -> None:
    upload = await upload_of(client, b"x")
    upload.url = upload.url.replace("upload_parallel", "upload")
    async with talk(client, upload) as t:
        assert (await t.hear())["type"] == "ready"


async def test_a_large_file_keeps_its_window_and_ends_equal(client: Client) -> None:
    source = PatternSource(100 * MIB + 12345)
    upload = await client.initiate("large", source.size)
    digest = hashlib.sha256()
    for start in range(0, source.size, MIB):
        digest.update(source.read(start, min(MIB, source.size - start)))
    success = await client.send(upload, source, sha256=digest.hexdigest())
    assert success["sha256"] == digest.hexdigest() == await client.digest_of_download(upload)
    received = [message["received"] for message in upload.of_type("progress")]
    assert received == sorted(received)
    assert upload.of_type("progress")[-1]["stored"] == source.size


async def test_progress_comes_although_no_more_bytes_do(client: Client) -> None:
    upload = await upload_of(client, b"x" * 100)
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"x" * 10)
        assert (await t.until("progress"))["received"] == 10
        await t.send(b"x" * 10)
        assert (await t.until("progress"))["received"] == 20


async def test_success_is_told_again(client: Client) -> None:
    upload = await upload_of(client, b"x")
    first = await client.send(upload, PatternSource(1))
    async with talk(client, upload) as t:
        assert await t.hear() == first
        assert (await t.closed())[0] == 1000


# --- resume ---


async def test_after_a_lost_connection_the_upload_goes_on_where_the_storage_is(client: Client) -> None:
    data = os.urandom(5 * MIB)
    upload = await upload_of(client, data)
    async with talk(client, upload) as t:
        await t.until("ready")
        for start in range(0, 3 * MIB, MIB):
            await t.send(data[start : start + MIB])
        while (progress := await t.until("progress"))["stored"] < 3 * MIB:
            pass
        t.socket.transport.abort()
    async with talk(client, upload) as t:
        ready = await t.until("ready")
        assert ready["offset"] >= progress["stored"]
        for start in range(ready["offset"], len(data), MIB):
            await t.send(data[start : start + MIB])
        await t.say(type="finish")
        assert (await t.until("success"))["sha256"] == hashlib.sha256(data).hexdigest()


async def test_with_all_bytes_stored_ready_says_so(client: Client) -> None:
    data = b"all of it"
    upload = await upload_of(client, data)
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(data)
        await t.until("progress")
    async with talk(client, upload) as t:
        assert (await t.until("ready"))["offset"] == len(data)
        await t.say(type="finish")
        await t.until("success")


async def test_finish_before_all_bytes_leaves_the_socket_open(client: Client) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"123")
        await t.say(type="finish")
        while (message := await t.hear())["type"] != "error":
            pass
        assert (message["code"], message["retryable"]) == ("incomplete", True)
        await t.send(b"45")
        await t.say(type="finish")
        await t.until("success")


async def test_a_second_connection_takes_the_upload_over_and_never_queues_behind_the_first(client: Client) -> None:
    data = os.urandom(3 * MIB)
    upload = await upload_of(client, data)
    async with talk(client, upload) as first:
        await first.until("ready")
        await first.send(data[:MIB])
        await first.until("progress")
        async with talk(client, upload) as second:
            ready = await second.hear()
            assert (ready["type"], ready["offset"]) == ("ready", MIB)
            assert await first.refused() == ("superseded", 4409)
            await second.send(data[MIB : 2 * MIB])
            await second.send(data[2 * MIB :])
            await second.say(type="finish")
            assert (await second.until("success"))["sha256"] == hashlib.sha256(data).hexdigest()


async def test_many_connections_at_once_leave_one_and_the_file_is_whole(client: Client) -> None:
    data = os.urandom(2 * MIB)
    upload = await upload_of(client, data)

    async def knock() -> None:
        async with talk(client, upload) as t:
            try:
                # An older one may have been let in, and its bytes stored.
                offset = (await t.until("ready"))["offset"]
                await t.send(data[offset : offset + 1000])
                await t.closed()
            except websockets.ConnectionClosed:
                pass

    knocking = {asyncio.create_task(knock()) for _ in range(20)}
    while len(knocking) > 1:
        done, knocking = await asyncio.wait(knocking, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        assert done, "all but the last are superseded"
    success = await client.send(upload, Bytes(data))
    assert success["sha256"] == hashlib.sha256(data).hexdigest()
    await asyncio.wait(knocking, timeout=30)
    await slots_free(client)


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


async def test_a_partial_file_cut_on_disk_rewinds_the_client(client: Client, wire_server: ServerProcess) -> None:
    data = os.urandom(4 * MIB)
    upload = await upload_of(client, data)
    part = next(Path(wire_server.data_dir).rglob("partial")) / f"{upload.file_id}.part"
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(data[:MIB])
        await t.until("progress")
        os.truncate(part, 1000)
        await t.send(data[MIB : 2 * MIB])
        rewind = await t.until("rewind")
        assert rewind["offset"] == 1000
        await t.send(data[2 * MIB : 3 * MIB])  # on its way: dropped
        await t.say(type="finish")  # void
        await t.say(type="resume", offset=MIB)  # not the latest offset: still dropped
        await t.send(data[:1000])
        await t.say(type="resume", offset=1000)
        for start in range(1000, len(data), MIB):
            await t.send(data[start : start + MIB])
        await t.say(type="finish", sha256=hashlib.sha256(data).hexdigest())
        await t.until("success")
    assert await client.digest_of_download(upload) == hashlib.sha256(data).hexdigest()


# --- cancel ---


async def test_cancel_on_the_socket(client: Client) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"123")
        await t.say(type="cancel")
        await t.until("cancelled")
        assert (await t.closed())[0] == 1000
    assert (await client.status(upload))["status"] == "cancelled"
    async with talk(client, upload) as t:
        assert await t.refused() == ("gone", 1008)


async def test_cancel_elsewhere_reaches_the_connection_and_removes_the_bytes(
    client: Client, wire_server: ServerProcess
) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"123")
        await t.until("progress")
        await client.cancel(upload)
        assert await t.refused() == ("cancelled", 1000)
    assert not list(Path(wire_server.data_dir).rglob(f"{upload.file_id}*"))
    await slots_free(client)


async def test_a_cancel_while_bytes_come_as_fast_as_they_can_loses_no_slot_and_leaves_no_bytes(
    client: Client, wire_server: ServerProcess
) -> None:
    for _ in range(5):
        upload = await client.initiate("big", 500 * MIB)
        sending = asyncio.create_task(client.send(upload, PatternSource(500 * MIB)))
        while upload.stored < MIB:
            await asyncio.sleep(0.001)
        await client.cancel(upload)
        await asyncio.gather(sending, return_exceptions=True)
        await slots_free(client)
        assert not list(Path(wire_server.data_dir).rglob(f"{upload.file_id}*"))


async def test_a_cancel_while_verifying_is_a_cancel_or_comes_too_late(
    client: Client, wire_server: ServerProcess
) -> None:
    data = os.urandom(4 * MIB)
    for _ in range(10):
        upload = await upload_of(client, data)
        async with talk(client, upload) as t:
            await t.until("ready")
            for start in range(0, len(data), MIB):
                await t.send(data[start : start + MIB])
            await t.say(type="finish")
            await t.until("verifying")
            cancelling = asyncio.create_task(client.cancel(upload))
            message = await t.hear()
            await asyncio.wait({cancelling})
            status = (await client.status(upload))["status"]
            if message["type"] == "success":
                assert (status, getattr(cancelling.exception(), "code", None)) == ("completed", "wrong_state")
            else:
                assert (message["type"], message["code"], status) == ("error", "cancelled", "cancelled")
                assert not list(Path(wire_server.data_dir).rglob(f"{upload.file_id}*"))


# --- refusals ---


async def test_any_id_is_accepted_and_not_found_after_start(client: Client, wire_server: ServerProcess) -> None:
    for id in ("no-uuid", "00000000-0000-4000-8000-000000000000"):
        async with websockets.connect(f"{wire_server.ws_url}/ws_api/upload_parallel/{id}", proxy=None) as socket:
            t = Talk(socket)
            await t.say(type="start", token="x")
            assert await t.refused() == ("not_found", 1008)


@pytest.mark.parametrize("token", ["wrong", "", None])
async def test_a_wrong_token_changes_nothing(client: Client, token: str | None) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload, start=False) as t:
        await t.say(type="start", token=token)
        assert await t.refused() == ("unauthorized", 1008)
    assert (await client.status(upload))["status"] == "pending"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "5",
        '{"type": "unknown"}',
        '{"type": 5}',
        "{}",
        '{"type": "start", "token": 5}',
        '{"type": "finish"}',
        '{"type": "cancel"}',
        '{"type": "resume", "offset": 0}',
        "[" * 60_000,
        '{"type": "start", "token": "' + "x" * 65_536 + '"}',
    ],
)
async def test_a_bad_first_message_is_invalid(client: Client, text: str) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload, start=False) as t:
        await t.socket.send(text)
        assert await t.refused() == ("invalid_request", 1008)
    assert (await client.status(upload))["status"] == "pending"


async def test_bytes_before_ready_are_invalid(client: Client) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload, start=False) as t:
        await t.send(b"12345")
        assert await t.refused() == ("invalid_request", 1008)


async def test_bytes_sent_with_the_start_are_never_stored(client: Client) -> None:
    for _ in range(20):
        upload = await upload_of(client, b"x" * 1000)
        async with talk(client, upload) as t:
            for _ in range(9):
                await t.send(b"x" * 100)
            assert await t.refused() == ("invalid_request", 1008)
        assert (await client.status(upload))["offset"] == 0


async def test_a_slot_cannot_be_held_by_coming_back_again_and_again(client: Client) -> None:
    upload = await client.initiate("nothing ever comes", 10 * MIB)
    async with asyncio.timeout(30):
        while True:
            async with talk(client, upload) as t:
                await t.until("ready")
                try:
                    async with asyncio.timeout(1):
                        while (message := await t.hear())["type"] != "error":
                            pass
                except TimeoutError:
                    t.socket.transport.abort()
                    continue
                assert message["code"] == "idle_timeout"
                break


@pytest.mark.parametrize(
    "message",
    [
        {"type": "start", "token": "x"},
        {"type": "resume", "offset": 0},
        {"type": "finish", "sha256": "short"},
        {"type": "finish", "sha256": 5},
        {"type": "resume", "offset": "0"},
        {"type": "resume", "offset": True},
    ],
)
async def test_a_bad_message_in_mid_upload_is_invalid_and_loses_nothing(
    client: Client, message: dict[str, Any]
) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"123")
        await t.until("progress")
        await t.say(**message)
        assert await t.refused() == ("invalid_request", 1008)
    status = await client.status(upload)
    assert (status["status"], status["offset"], status["error"]["code"]) == ("pending", 3, "invalid_request")


async def test_a_byte_more_than_announced(client: Client) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"123456")
        assert await t.refused() == ("size_exceeded", 1008)


async def test_bytes_beyond_the_window(client: Client) -> None:
    window = (await upload_of(client, b"x")).answer["window"]
    upload = await client.initiate("big", 40 * window)
    async with talk(client, upload) as t:
        await t.until("ready")
        chunk = bytes(upload.answer["chunk_size"])

        async def flood() -> None:
            for _ in range(30 * window // len(chunk)):
                await t.send(chunk)

        flooding = asyncio.create_task(flood())
        # The storage may keep up for a while; a client that never looks is found when it does not.
        code, reason = await t.closed()
        assert (code, reason) == (1008, "flow_violation")
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
    status = await client.status(upload)
    assert status["status"] == "pending"


async def test_a_frame_above_the_chunk_size(client: Client) -> None:
    upload = await client.initiate("big", 100 * MIB)
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(bytes(upload.answer["chunk_size"] + 1))
        assert (await t.closed())[0] == 1009
    status = await client.status(upload)
    assert (status["status"] in ("pending", "uploading"), status["offset"]) == (True, 0)


@pytest.mark.parametrize("where", ["initiate", "finish", "both"])
async def test_other_bytes_than_announced_fail_and_are_removed(
    client: Client, wire_server: ServerProcess, where: str
) -> None:
    good, bad = hashlib.sha256(b"12345").hexdigest(), hashlib.sha256(b"54321").hexdigest()
    at_start = {"initiate": bad, "finish": good, "both": good}[where]
    at_end = {"initiate": good, "finish": bad, "both": bad}[where]
    upload = await client.initiate("a", 5, sha256=at_start)
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"12345")
        await t.say(type="finish", sha256=at_end)
        assert await t.refused() == ("checksum_mismatch", 1008)
    status = await client.status(upload)
    assert (status["status"], status["error"]["code"]) == ("failed", "checksum_mismatch")
    assert not list(Path(wire_server.data_dir).rglob(f"{upload.file_id}*"))
    async with talk(client, upload) as t:
        assert await t.refused() == ("gone", 1008)


async def test_a_client_that_goes_silent_loses_its_slot_and_not_its_bytes(client: Client) -> None:
    upload = await client.initiate("slow", MIB)
    async with talk(client, upload) as t:
        await t.until("ready")
        await t.send(b"x" * 1000)
        assert await t.refused() == ("idle_timeout", 4408)
    assert (await client.status(upload))["offset"] == 1000
    await slots_free(client)


async def test_a_client_that_never_says_start_is_let_go(client: Client) -> None:
    upload = await upload_of(client, b"12345")
    async with talk(client, upload, start=False) as t:
        assert await t.refused() == ("idle_timeout", 4408)


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_another_sites_page_opens_no_socket(client: Client, origin: str) -> None:
    upload = await upload_of(client, b"12345")
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(upload.url, additional_headers={"Origin": origin}, proxy=None):
            pass
    assert refused.value.response.status_code == 403


async def test_our_own_page_opens_a_socket(client: Client) -> None:
    upload = await upload_of(client, b"12345")
    async with websockets.connect(upload.url, additional_headers={"Origin": client.base_url}, proxy=None) as socket:
        await socket.send(json.dumps({"type": "start", "token": upload.token}))
        assert (await Talk(socket).hear())["type"] == "ready"


async def test_an_unknown_socket_is_refused(wire_server: ServerProcess) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with websockets.connect(f"{wire_server.ws_url}/ws_api/nothing", proxy=None):
            pass
    assert refused.value.response.status_code == 403


# --- the line ---


async def test_more_uploads_than_slots_wait_in_line_and_start_by_themselves(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(MAX_CONCURRENT_UPLOADS_PER_USER="2", MAX_CONCURRENT_UPLOADS="20")
    async with Client(server.url) as client:
        uploads = [await client.initiate(f"{number}", 5) for number in range(5)]
        async with talk(client, uploads[0]) as a, talk(client, uploads[1]) as b:
            await a.until("ready")
            await b.until("ready")
            async with AsyncExitStack() as sockets:  # one after the other: of two at once either may be the first
                c = await sockets.enter_async_context(talk(client, uploads[2]))
                queued = await c.hear()
                assert queued == {
                    "type": "queued", "position": 1, "waiting_for": "user_slots", "eta_seconds": queued["eta_seconds"],
                }  # fmt: skip
                d = await sockets.enter_async_context(talk(client, uploads[3]))
                assert (await d.hear())["position"] == 2
                status = await client.status(uploads[3])
                assert (status["status"], status["queue_position"]) == ("queued", 2)
                assert (await client.status(uploads[0]))["status"] == "uploading"
                await a.send(b"12345")
                await a.say(type="finish")
                await a.until("success")
                assert (await c.until("ready"))["offset"] == 0
                assert (await d.until("queued"))["position"] == 1
                await d.say(type="cancel")
                await d.until("cancelled")
                await c.send(b"x")
                async with talk(client, uploads[4]) as e:
                    assert (await e.hear())["type"] == "queued"
                    await e.send(b"too early")
                    assert await e.refused() == ("invalid_request", 1008)


async def test_a_close_with_1000_frees_the_slot_at_once_and_another_loss_keeps_it(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(MAX_CONCURRENT_UPLOADS_PER_USER="1")
    async with Client(server.url) as client:
        first, second = [await client.initiate(f"{number}", 5) for number in range(2)]
        async with talk(client, first) as t:
            await t.until("ready")
            await t.socket.close(1000)
        async with talk(client, second) as t:
            assert (await t.hear())["type"] == "ready"
            t.socket.transport.abort()
        async with talk(client, first) as t:
            assert (await t.hear())["type"] == "queued"
            async with talk(client, second) as again:
                assert (await again.hear())["type"] == "ready", "its slot was kept for its return"
                await again.send(b"12345")
                await again.say(type="finish")
                await again.until("success")
            await t.until("ready")


async def test_queue_full_is_told_with_its_scope(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server(MAX_CONCURRENT_UPLOADS_PER_USER="1", MAX_QUEUED_UPLOADS="1")
    async with Client(server.url) as client:
        first, second, third = [await client.initiate(f"{number}", 5) for number in range(3)]
        async with AsyncExitStack() as sockets:
            a = await sockets.enter_async_context(talk(client, first))
            await a.until("ready")
            b = await sockets.enter_async_context(talk(client, second))
            await b.until("queued")
            c = await sockets.enter_async_context(talk(client, third))
            error = await c.hear()
            assert (error["code"], error["scope"], error["retryable"]) == ("queue_full", "all", True)
            assert await c.closed() == (1013, "queue_full")


async def test_a_slot_that_is_taken_away_is_told_as_a_pause_and_the_upload_goes_on(server: ServerProcess) -> None:
    data = os.urandom(3 * MIB)
    async with Client(server.url) as client, talk(client, upload := await upload_of(client, data)) as t:
        await t.until("ready")
        await t.send(data[:MIB])
        while (await t.until("progress"))["stored"] < MIB:
            pass
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "manage.py", "slots", "--release", upload.file_id],
            env=program_environment({"DATA_DIR": str(server.data_dir)}),
            check=True,
        )
        assert (await t.until("queued"))["position"] == 1
        await t.send(data[MIB : 2 * MIB])  # on its way: dropped
        ready = await t.until("ready")
        assert ready["offset"] == MIB
        await t.say(type="resume", offset=MIB)
        await t.send(data[MIB : 2 * MIB])
        await t.send(data[2 * MIB :])
        await t.say(type="finish")
        assert (await t.until("success"))["sha256"] == hashlib.sha256(data).hexdigest()


async def test_whoever_answers_each_of_two_readies_late_sends_some_bytes_twice_and_loses_none(
    server: ServerProcess,
) -> None:
    data = os.urandom(3 * MIB)

    def take_slot_away() -> None:
        subprocess.run(
            [sys.executable, "manage.py", "slots", "--release", upload.file_id],
            env=program_environment({"DATA_DIR": str(server.data_dir)}),
            check=True,
        )

    async with Client(server.url) as client, talk(client, upload := await upload_of(client, data)) as t:
        await t.until("ready")
        await t.send(data[:MIB])
        while (await t.until("progress"))["stored"] < MIB:
            pass
        for _ in range(2):
            await asyncio.to_thread(take_slot_away)
            await t.until("queued")
            assert (await t.until("ready"))["offset"] == MIB
        # The answers to both come only now, as over a slow line.
        await t.say(type="resume", offset=MIB)
        await t.send(data[MIB : 2 * MIB])
        await t.send(data[2 * MIB : 2 * MIB + 1000])
        await t.say(type="resume", offset=MIB)
        await t.send(data[MIB : 2 * MIB])
        await t.send(data[2 * MIB :])
        await t.say(type="finish")
        assert (await t.until("success"))["sha256"] == hashlib.sha256(data).hexdigest()


# --- crashes and shutdowns ---


async def test_killed_again_and_again_an_upload_goes_on_and_ends_equal(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server()
    source = PatternSource(150 * MIB, seed=7)
    digest = hashlib.sha256()
    for start in range(0, source.size, MIB):
        digest.update(source.read(start, MIB))
    async with Client(server.url) as client:
        upload = await client.initiate("survivor", source.size)
        sending = asyncio.create_task(client.send(upload, source, sha256=digest.hexdigest()))
        for step in range(1, 5):
            while upload.stored < step * 25 * MIB and not sending.done():
                await asyncio.sleep(0.002)
            told = upload.stored
            server.kill()
            connections = upload.connections
            server.restart()
            while upload.connections == connections:
                await asyncio.sleep(0.01)
            while len(upload.of_type("ready")) < step + 1:
                await asyncio.sleep(0.01)
            assert upload.of_type("ready")[step]["offset"] >= told
        assert (await sending)["sha256"] == digest.hexdigest()
        assert await client.digest_of_download(upload) == digest.hexdigest()
        info = await client.call("GET", "upload/quota-info")
        assert (info["used_bytes"], info["reserved_bytes"]) == (source.size, 0)
        await slots_free(client)


@pytest.mark.looks_into_sqlite
async def test_a_client_that_returns_while_the_cleanup_verifies_gets_the_file(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server()
    source = PatternSource(400 * MIB)
    async with Client(server.url) as client:
        upload = await client.initiate("whole", source.size)
        sending = asyncio.create_task(client.send(upload, source))
        while upload.stored < source.size and not sending.done():
            await asyncio.sleep(0.001)
        sending.cancel()
        server.kill()
        with sqlite3.connect(Path(server.data_dir) / "directdrivex.sqlite3", timeout=20) as database:
            database.execute("UPDATE uploads_storedfile SET status = 'pending', last_seen_at = '2020-01-01 00:00:00'")
        server.restart()
        cleaning = await asyncio.create_subprocess_exec(
            sys.executable,
            "manage.py",
            "cleanup_uploads",
            env=program_environment({"DATA_DIR": str(server.data_dir)}),
        )
        async with asyncio.timeout(60):
            while (await client.status(upload))["status"] == "pending":
                await asyncio.sleep(0.01)
            success = await client.send(upload, source, patience=60)
            assert await cleaning.wait() == 0
        assert success["sha256"] == await client.digest_of_download(upload)


async def test_a_graceful_shutdown_says_so_and_loses_nothing(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    async with Client(server.url) as client:
        upload = await client.initiate("a", 10 * MIB)
        async with talk(client, upload) as t:
            await t.until("ready")
            await t.send(b"x" * MIB)
            await t.until("progress")
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            code, _reason = await t.closed()
            assert code == 1012
        assert server.stop() == 0
        server.restart()
        assert (await client.status(upload))["offset"] == MIB
        async with talk(client, upload) as t:
            assert (await t.until("ready"))["offset"] == MIB


async def test_a_worker_lost_while_verifying_is_taken_up_again(start_server: Callable[..., ServerProcess]) -> None:
    server = start_server()
    source = PatternSource(300 * MIB)
    async with Client(server.url) as client:
        upload = await client.initiate("a", source.size)
        first = asyncio.create_task(client.send(upload, source, patience=30))
        while upload.stored < source.size:
            await asyncio.sleep(0.01)
        while not upload.of_type("verifying") and not first.done():
            await asyncio.sleep(0)
        server.kill()
        server.restart()
        success = await first
        assert success["sha256"] == await client.digest_of_download(upload)
