"""Batches, as wire.md has them, against the real program: what a program of somebody else's would see."""

import asyncio
import json
import shutil
import socket as sockets
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel

from devtools.client import Batch, Client, PatternSource
from devtools.server_process import ServerProcess
from tests.test_wire_http import raw, refusal
from tests.test_wire_socket import talk
from uploads.batch_schemas import BatchInitiateOut, BatchOut

pytestmark = pytest.mark.every_server

MIB = 1024 * 1024
GIB = 1024 * MIB
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def client(wire_server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(wire_server.url) as client:
        yield client


def files(*sizes: int, **more: Any) -> list[dict[str, Any]]:
    return [{"filename": f"{number}.bin", "size": size, **more} for number, size in enumerate(sizes)]


def as_its_schema_says(schema: type[BaseModel], answer: dict[str, Any]) -> bool:
    """These answers are sent without that check; nothing may be missing, and nothing more than the page tells."""
    return bool(schema.model_validate(answer).model_dump(mode="json", exclude_unset=True) == answer)


def browser(server: ServerProcess) -> aiohttp.ClientSession:
    """Somebody with cookies."""
    return aiohttp.ClientSession(server.url, cookie_jar=aiohttp.CookieJar(unsafe=True))


def csrf(session: aiohttp.ClientSession) -> dict[str, str]:
    return {"X-CSRFToken": {cookie.key: cookie.value for cookie in session.cookie_jar}["csrftoken"]}


async def cancel(client: Client, batch: Batch, token: str | None = None, **headers: str) -> int:
    answer = await client.call("POST", f"batch/cancel/{batch.batch_id}", token=token, headers=headers)
    return int(answer["cancelled"])


async def states(client: Client, batch: Batch) -> list[str]:
    return [file["status"] for file in (await client.batch(batch.batch_id))["files"]]


# --- its life ---


async def test_a_batch_is_announced_with_everything_that_its_uploads_need(client: Client) -> None:
    announced = [
        {"filename": "a.txt", "size": 3, "path": "photos/2026", "content_type": "text/plain"},
        {"filename": "../b", "size": 0},
        {"filename": "a.txt", "size": 3, "path": "cafe\u0301\\x"},
    ]
    batch = await client.initiate_batch(announced, "Trip to\nthe sea ")
    answer = batch.answer
    assert as_its_schema_says(BatchInitiateOut, answer)
    assert uuid.UUID(batch.batch_id).version == 4
    assert batch.url == f"{client.base_url}/b/{batch.batch_id}"
    assert answer["title"] == "Trip to the sea"
    assert [(file["filename"], file["path"], file["size"]) for file in answer["files"]] == [
        ("a.txt", "photos/2026", 3),
        (".._b", "", 0),
        ("a.txt", "caf\u00e9_x", 3),
    ]
    alone = (await client.initiate("alone", 1)).answer
    for file in answer["files"]:
        assert set(alone) <= set(file), "as upload/initiate answers"
        assert file["upload_url"] == f"/ws_api/upload_parallel/{file['file_id']}"
    assert len({file["upload_token"] for file in answer["files"]}) == 3
    assert len({file["file_id"] for file in answer["files"]}) == 3


async def test_a_batch_can_be_followed_from_its_first_second_to_its_end(client: Client) -> None:
    batch = await client.initiate_batch(files(300_000, 0, 5), "Three")
    before = await client.batch(batch.batch_id)
    assert as_its_schema_says(BatchOut, before)
    assert (before["batch_id"], before["title"], before["status"]) == (batch.batch_id, "Three", "uploading")
    assert before["total_size"] == 300_005
    assert datetime.fromisoformat(before["created_at"]).tzinfo is not None
    assert [file["file_id"] for file in before["files"]] == [upload.file_id for upload in batch.uploads]
    assert [(file["status"], file["offset"]) for file in before["files"]] == [("pending", 0)] * 3
    for upload, source in zip(batch.uploads, (300_000, 0, 5), strict=True):
        await client.send(upload, PatternSource(source))
        now = await client.batch(batch.batch_id)
        assert now["status"] == ("completed" if upload is batch.uploads[-1] else "uploading")
    assert [(file["status"], file["offset"]) for file in now["files"]] == [
        ("completed", 300_000),
        ("completed", 0),
        ("completed", 5),
    ]
    assert all(file["sha256"] for file in now["files"])
    for file in now["files"]:
        meta = await client.call("GET", f"files/{file['file_id']}/meta")
        assert meta == {name: value for name, value in file.items() if name != "path"}


async def test_of_a_running_upload_the_batch_tells_state_and_bytes(client: Client) -> None:
    batch = await client.initiate_batch(files(4 * MIB, 10))
    async with talk(client, batch.uploads[0]) as socket:
        await socket.until("ready")
        await socket.send(b"x" * MIB)
        while (await socket.until("progress"))["stored"] < MIB:
            pass
        now = await client.batch(batch.batch_id)
        assert [(file["status"], file["offset"]) for file in now["files"]] == [("uploading", MIB), ("pending", 0)]


async def test_after_a_kill_the_bytes_told_are_those_that_a_resume_will_find(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server()
    async with Client(server.url) as client:
        batch = await client.initiate_batch(files(4 * MIB, 4 * MIB))
        async with talk(client, batch.uploads[1]) as socket:
            await socket.until("ready")
            await socket.send(b"x" * MIB)
            while (stored := (await socket.until("progress"))["stored"]) < MIB:
                pass
            server.kill()
        server.restart()
        assert [file["offset"] for file in (await client.batch(batch.batch_id))["files"]] == [0, stored]
        async with talk(client, batch.uploads[1]) as socket:
            assert (await socket.until("ready"))["offset"] == stored


async def test_what_is_not_whole_for_ever_makes_a_batch_partial(client: Client) -> None:
    batch = await client.initiate_batch(files(5, 5, 5))
    await client.send(batch.uploads[0], PatternSource(5))
    assert await cancel(client, batch, batch.uploads[2].token) == 2
    now = await client.batch(batch.batch_id)
    assert now["status"] == "partial"
    assert [file["status"] for file in now["files"]] == ["completed", "cancelled", "cancelled"]
    assert [file["offset"] for file in now["files"]] == [5, 0, 0]
    assert now["total_size"] == 15


async def test_of_a_deleted_file_a_batch_keeps_neither_name_nor_digest(client: Client) -> None:
    batch = await client.initiate_batch(files(5, 5, path="secret folder", content_type="text/x-secret"))
    for upload in batch.uploads:
        await client.send(upload, PatternSource(5))
    await client.call("DELETE", f"files/{batch.uploads[0].file_id}", token=batch.uploads[0].token)
    now = await client.batch(batch.batch_id)
    assert now["status"] == "partial"
    deleted = now["files"][0]
    assert (deleted["file_id"], deleted["status"], deleted["offset"]) == (batch.uploads[0].file_id, "deleted", 0)
    assert (deleted["filename"], deleted["path"], deleted["content_type"], deleted["sha256"]) == ("", "", "", None)
    assert as_its_schema_says(BatchOut, now)
    await client.call("DELETE", f"files/{batch.uploads[1].file_id}", token=batch.uploads[1].token)
    error = await refusal(client.batch(batch.batch_id))
    assert (error.code, error.extra["status"]) == ("gone", 410)
    assert (await refusal(client.cancel_batch(batch))).code == "gone"


async def test_who_has_one_files_link_does_not_find_the_others(client: Client) -> None:
    batch = await client.initiate_batch(files(5, 5, path="folder"))
    await client.send(batch.uploads[0], PatternSource(5))
    file_id = batch.uploads[0].file_id
    _, _, page = await raw(client, "GET", f"/f/{file_id}")
    _, headers, _ = await raw(client, "GET", f"/api/v1/download/stream/{file_id}")
    seen = [json.dumps(await client.call("GET", f"files/{file_id}/meta")), page.decode(), str(headers)]
    for text in seen:
        assert batch.batch_id not in text
        assert "folder" not in text
        assert "batch" not in text.lower()


async def test_a_visitors_list_of_files_leads_to_their_batches(wire_server: ServerProcess) -> None:
    async with browser(wire_server) as mine:
        async with mine.post("/api/v1/batch/initiate", json={"files": files(1, 2)}) as response:
            batch = await response.json()
        async with mine.post("/api/v1/upload/initiate", json=files(3)[0]) as response:
            assert response.status == 200
        async with mine.get("/api/v1/files") as response:
            items = (await response.json())["items"]
    by_size = {item["size"]: (item["batch_id"], item["batch_url"]) for item in items}
    of_batch = (batch["batch_id"], batch["batch_url"])
    assert by_size == {1: of_batch, 2: of_batch, 3: (None, None)}


async def test_the_files_of_a_batch_are_listed_in_its_order_over_the_pages(wire_server: ServerProcess) -> None:
    async with browser(wire_server) as mine:
        async with mine.post("/api/v1/batch/initiate", json={"title": "Trip", "files": files(*range(53))}) as response:
            assert response.status == 200
        async with mine.get("/api/v1/files") as response:
            first = await response.json()
        async with mine.get("/api/v1/files", params={"cursor": first["next"]}) as response:
            second = await response.json()
    items = first["items"] + second["items"]
    assert [item["size"] for item in items] == list(range(53))
    assert {item["batch_title"] for item in items} == {"Trip"}


async def test_calls_and_pages_of_batches_greet_a_visitor_and_bytes_do_not(wire_server: ServerProcess) -> None:
    async with (
        browser(wire_server) as mine,
        mine.post("/api/v1/batch/initiate", json={"files": files(1)}) as response,
    ):
        assert "ddx_visitor" in response.cookies
        batch_id = (await response.json())["batch_id"]
    async with browser(wire_server) as recipient:
        async with recipient.get(f"/api/v1/batch/download-zip/{batch_id}") as response:
            assert "ddx_visitor" not in response.cookies
        async with recipient.get(f"/b/{batch_id}") as response:
            assert "ddx_visitor" in response.cookies


# --- all or nothing ---


async def test_a_thousand_files_are_one_batch_and_one_more_is_too_many(client: Client) -> None:
    many = files(*range(1000))
    batch = await client.initiate_batch(many)
    assert [file["size"] for file in batch.answer["files"]] == list(range(1000))
    now = await client.batch(batch.batch_id)
    assert [file["filename"] for file in now["files"]] == [file["filename"] for file in many]
    error = await refusal(client.initiate_batch([*many, *files(1)]))
    assert (error.code, [problem["field"] for problem in error.extra["errors"]]) == ("invalid_request", ["files"])


async def test_a_thousand_files_of_a_real_folder_fit_into_a_body(client: Client) -> None:
    names = [f"IMG_2026{number:04} मेरी छुट्टी की तस्वीर (संपादित प्रति).jpeg" for number in range(1000)]
    path = "परिवार/छुट्टियाँ/2026 – हिमाचल प्रदेश/दिन 07 – मनाली से रोहतांग/संपादित और चुनी हुई"
    many = [
        {"filename": name, "size": 12_345_678, "content_type": "image/jpeg", "sha256": "ab" * 32, "path": path}
        for name in names
    ]
    assert MIB // 2 < len(json.dumps({"files": many})) < MIB, "of 2, with six bytes for each letter that is not ASCII"
    assert len((await client.initiate_batch(many)).uploads) == 1000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "files"),
        ({"files": None}, "files"),
        ({"files": {}}, "files"),
        ({"files": "x"}, "files"),
        ({"files": []}, "files"),
        ({"files": ["x"]}, "files.0"),
        ({"files": [None]}, "files.0"),
        ({"files": [[]]}, "files.0"),
        ({"files": [{}]}, "files.0.filename"),
        ({"files": [*files(1, 1, 1), {"filename": "", "size": 1}]}, "files.3.filename"),
        ({"files": [*files(1), {"filename": "a", "size": "1"}]}, "files.1.size"),
        ({"files": [{"filename": "a", "size": 1, "password": " "}]}, "files.0.password"),
        ({"files": files(1), "password": ""}, "password"),
        ({"files": [{"filename": "a", "size": 1, "password": f"{number}"} for number in range(4)]}, "password"),
        ({"files": files(1), "expires_in": 1}, "expires_in"),
        ({"files": files(1), "max_downloads": 1_000_001}, "max_downloads"),
        ({"files": files(1), "title": "x" * 256}, "title"),
        ({"files": files(1), "title": 5}, "title"),
        ({"files": files(1), "title": "\ud800"}, "title"),
        ({"files": files(1, path="../up")}, "files.0.path"),
        ({"files": files(1, path="a/../../b")}, "files.0.path"),
        ({"files": files(1, path="/etc")}, "files.0.path"),
        ({"files": files(1, path="a//b")}, "files.0.path"),
        ({"files": files(1, path="a/.")}, "files.0.path"),
        ({"files": files(1, path="/".join(["x" * 200] * 6))}, "files.0.path"),
        ({"files": files(1, path="\ud800")}, "files.0.path"),
        ({"files": files(1, path=["a"])}, "files.0.path"),
    ],
)
async def test_a_bad_field_is_named_with_its_place(client: Client, body: dict[str, Any], field: str) -> None:
    error = await refusal(client.call("POST", "batch/initiate", json=body))
    assert (error.code, error.extra["status"]) == ("invalid_request", 422)
    assert field in [problem["field"] for problem in error.extra["errors"]]
    assert all(problem["reason"] for problem in error.extra["errors"])


async def test_one_bad_file_keeps_all_others_out(wire_server: ServerProcess) -> None:
    async with browser(wire_server) as mine:
        await mine.get("/")
        body = {"files": [*files(1, 2, 3), {"filename": "x", "size": -1}]}
        async with mine.post("/api/v1/batch/initiate", json=body) as response:
            assert response.status == 422
        async with mine.get("/api/v1/files") as response:
            assert (await response.json())["items"] == []


async def test_a_batch_that_is_nothing_but_faults_is_answered_at_once_and_in_few_words(client: Client) -> None:
    bad = {"filename": 5, "size": "x", "path": "..", "sha256": "", "content_type": "x", "password": 1}
    async with asyncio.timeout(20):
        error = await refusal(client.initiate_batch([bad] * 1000))
        assert len(error.extra["errors"]) == 6000
        assert len(error.sentence) < 1000
        error = await refusal(client.initiate_batch([{}] * 20_000))
        assert [problem["field"] for problem in error.extra["errors"]] == ["files"]
        error = await refusal(client.initiate_batch([{}] * 500_000))
        [problem] = error.extra["errors"]
        assert problem == {"field": "body", "reason": "There are too many lists and objects in the body."}


async def test_the_disks_room_is_judged_for_the_whole(client: Client, wire_server: ServerProcess) -> None:
    half = shutil.disk_usage(wire_server.data_dir).free * 3 // 5
    assert len((await client.initiate_batch(files(half))).uploads) == 1
    error = await refusal(client.initiate_batch(files(half, half)))
    assert (error.code, error.extra["status"]) == ("storage_full", 507)


# --- limits: staging gives an anonymous person 2 GiB a file and 2 GiB a day ---


@pytest.fixture
async def limited(start_server: Callable[..., ServerProcess]) -> AsyncIterator[tuple[Client, ServerProcess]]:
    server = start_server(ENVIRONMENT="staging")
    async with Client(server.url) as client:
        yield client, server


async def quota(client: Client) -> tuple[int, int, int]:
    info = await client.call("GET", "upload/quota-info")
    return info["used_bytes"], info["reserved_bytes"], info["files"]


async def test_every_file_above_the_limit_is_named(limited: tuple[Client, ServerProcess]) -> None:
    client, _server = limited
    error = await refusal(client.initiate_batch(files(1, 2 * GIB + 1, 5, 3 * GIB)))
    assert (error.code, error.extra["status"], error.extra["retryable"]) == ("file_too_large", 413, False)
    assert (error.extra["limit"], error.extra["size"]) == (2 * GIB, 2 * GIB + 1)
    assert [(entry["field"], entry["filename"]) for entry in error.extra["errors"]] == [
        ("files.1.size", "1.bin"),
        ("files.3.size", "3.bin"),
    ]
    assert all(entry["reason"] for entry in error.extra["errors"])
    assert await quota(client) == (0, 0, 0)


async def test_the_first_file_that_the_day_has_no_room_for_is_named(limited: tuple[Client, ServerProcess]) -> None:
    client, _server = limited
    await client.initiate("before", GIB)
    error = await refusal(client.initiate_batch(files(GIB // 2, GIB // 4, GIB // 2, 1)))
    assert (error.code, error.extra["status"], error.extra["retryable"]) == ("daily_limit_exceeded", 429, True)
    assert 0 < error.extra["retry_after"] <= 86_400
    numbers = [error.extra[name] for name in ("limit", "used", "reserved", "remaining")]
    assert numbers == [2 * GIB, 0, GIB, GIB]
    assert [(entry["field"], entry["filename"]) for entry in error.extra["errors"]] == [("files.2.size", "2.bin")]
    assert await quota(client) == (0, GIB, 1)
    batch = await client.initiate_batch(files(GIB // 2, GIB // 4, GIB // 4))
    assert batch.answer["files"][0]["quota"]["remaining_bytes"] == 0
    assert await quota(client) == (0, 2 * GIB, 4)
    assert await client.cancel_batch(batch) == 3
    assert await quota(client) == (0, GIB, 1)


@pytest.mark.looks_into_sqlite
async def test_the_number_of_files_of_a_day_counts_each_of_a_batch(limited: tuple[Client, ServerProcess]) -> None:
    client, server = limited
    with sqlite3.connect(server.data_dir / "directdrivex.sqlite3") as database:
        database.execute("UPDATE quotas_audiencelimit SET daily_files = 3 WHERE audience = 'anonymous'")
    database.close()
    error = await refusal(client.initiate_batch(files(1, 1, 1, 1)))
    assert (error.code, error.extra["unit"], error.extra["limit"]) == ("daily_limit_exceeded", "files", 3)
    assert [entry["field"] for entry in error.extra["errors"]] == ["files.3.size"]
    assert len((await client.initiate_batch(files(1, 1, 1))).uploads) == 3


# --- cancel ---


async def test_any_upload_token_of_the_batch_cancels_it_once(client: Client) -> None:
    for which in (0, 1, 2):
        batch = await client.initiate_batch(files(5, 5, 5))
        assert await cancel(client, batch, batch.uploads[which].token) == 3
        assert await cancel(client, batch, batch.uploads[which].token) == 0
        assert (await client.batch(batch.batch_id))["status"] == "cancelled"


async def test_a_running_connection_is_told_and_its_bytes_are_removed(
    client: Client, wire_server: ServerProcess
) -> None:
    batch = await client.initiate_batch(files(4 * MIB, 4 * MIB, 5))
    await client.send(batch.uploads[2], PatternSource(5))
    async with talk(client, batch.uploads[0]) as running:
        await running.until("ready")
        await running.send(b"x" * MIB)
        await running.until("progress")
        assert await client.cancel_batch(batch) == 2
        assert await running.refused() == ("cancelled", 1000)
    assert await states(client, batch) == ["cancelled", "cancelled", "completed"]
    left = [path.name for path in wire_server.data_dir.rglob(f"{batch.uploads[0].file_id}*")]
    assert left == []
    async with talk(client, batch.uploads[1]) as late:
        assert await late.refused() == ("gone", 1008)


async def test_a_batch_is_cancelled_whole_or_not_at_all_when_the_client_goes_away_half_way(client: Client) -> None:
    """The framework ends a view whose client is gone, wherever it is by then."""
    authority = client.base_url.removeprefix("http://")
    host, _, port = authority.partition(":")
    batches = []
    for moment in range(6):
        batch = await client.initiate_batch(files(*[5] * 1000))
        batches.append(batch)
        with sockets.create_connection((host, int(port))) as connection:
            request = (
                f"POST /api/v1/batch/cancel/{batch.batch_id} HTTP/1.1\r\nHost: {authority}\r\n"
                f"Authorization: Bearer {batch.uploads[0].token}\r\nContent-Length: 0\r\n\r\n"
            )
            connection.sendall(request.encode())
            await asyncio.sleep(0.03 * moment)
    ended = set()
    for batch in batches:
        async with asyncio.timeout(20):
            while len(now := set(await states(client, batch))) > 1:
                await asyncio.sleep(0.05)
        ended |= now
    assert "cancelled" in ended


async def test_two_who_cancel_at_once_count_each_file_once(client: Client) -> None:
    batch = await client.initiate_batch(files(*[5] * 300))
    counted = await asyncio.gather(*(client.cancel_batch(batch) for _ in range(4)))
    assert sum(counted) == 300


async def test_nobody_cancels_anothers_batch(client: Client, wire_server: ServerProcess) -> None:
    batch = await client.initiate_batch(files(5, 5))
    other = await client.initiate_batch(files(5))
    alone = await client.initiate("alone", 5)
    for headers in ({}, {"Authorization": ""}, {"Authorization": f"Basic {batch.uploads[0].token}"}):
        error = await refusal(cancel(client, batch, **headers))
        assert (error.code, error.extra["status"]) == ("unauthorized", 401)
    for token in ("wrong", "", "\udcff", other.uploads[0].token, alone.token, batch.batch_id):
        error = await refusal(cancel(client, batch, Authorization=f"Bearer {token}"))
        assert error.code == "unauthorized"
    async with browser(wire_server) as stranger:
        await stranger.get("/")
        async with stranger.post(f"/api/v1/batch/cancel/{batch.batch_id}", headers=csrf(stranger)) as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (403, "forbidden")
    assert set(await states(client, batch)) == {"pending"}


async def test_a_visitor_cancels_their_own_batch_with_the_csrf_token_and_a_sent_token_decides_alone(
    wire_server: ServerProcess,
) -> None:
    async with browser(wire_server) as mine:
        await mine.get("/")
        async with mine.post("/api/v1/batch/initiate", json={"files": files(5, 5)}) as response:
            address = f"/api/v1/batch/cancel/{(await response.json())['batch_id']}"
        async with mine.post(address) as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (403, "forbidden")
        wrong = csrf(mine) | {"Authorization": "Bearer wrong"}
        async with mine.post(address, headers=wrong) as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (401, "unauthorized")
        async with mine.post(address, headers=csrf(mine)) as response:
            assert (response.status, await response.json()) == (200, {"cancelled": 2})


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_another_sites_page_neither_announces_nor_cancels(client: Client, origin: str) -> None:
    batch = await client.initiate_batch(files(5))
    token = batch.uploads[0].token
    assert (await refusal(cancel(client, batch, token, Origin=origin))).code == "forbidden"
    error = await refusal(client.initiate_batch(files(5), headers={"Origin": origin}))
    assert (error.code, error.extra["status"]) == ("forbidden", 403)
    assert await states(client, batch) == ["pending"]


async def test_a_batch_is_json_and_nothing_else(client: Client) -> None:
    body = json.dumps({"files": files(1)})
    for kind in ("text/plain", "multipart/form-data; boundary=x"):
        status, _, problem = await raw(
            client, "POST", "/api/v1/batch/initiate", data=body, headers={"Content-Type": kind}
        )
        assert (status, problem["code"]) == (422, "invalid_request")


# --- the same request twice ---


async def test_the_same_key_and_body_give_the_same_batch_with_new_tokens(client: Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = await client.initiate_batch(files(5, 6, 7), "once", headers=headers)
    await client.send(first.uploads[0], PatternSource(5))
    second = await client.initiate_batch(files(5, 6, 7), "once", headers=headers)
    assert second.batch_id == first.batch_id
    assert [upload.file_id for upload in second.uploads] == [upload.file_id for upload in first.uploads]
    assert [file["status"] for file in second.answer["files"]] == ["completed", "pending", "pending"]
    assert {upload.token for upload in second.uploads}.isdisjoint({upload.token for upload in first.uploads})
    assert (await refusal(client.cancel_batch(first))).code == "unauthorized"
    assert (await refusal(client.status(first.uploads[1]))).code == "unauthorized"
    await client.send(second.uploads[1], PatternSource(6))
    assert await client.cancel_batch(second) == 1


async def test_the_same_key_twice_at_once_makes_one_batch(limited: tuple[Client, ServerProcess]) -> None:
    client, _server = limited
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    batches = await asyncio.gather(
        *(client.initiate_batch(files(GIB, GIB), headers=headers) for _ in range(2))  # all of the day's bytes
    )
    assert len({batch.batch_id for batch in batches}) == 1
    assert await quota(client) == (0, 2 * GIB, 2)


async def test_the_same_key_with_another_body_is_another_batch(client: Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = await client.initiate_batch(files(5), headers=headers)
    second = await client.initiate_batch(files(6), headers=headers)
    assert second.batch_id != first.batch_id


# --- around it ---


@pytest.mark.parametrize("batch_id", ["no-uuid", NOBODY, NOBODY.replace("-", ""), "{" + NOBODY + "}", "%00"])
async def test_what_is_no_batch_is_not_found(client: Client, batch_id: str) -> None:
    for method, path in (("GET", "batch"), ("POST", "batch/cancel")):
        error = await refusal(client.call(method, f"{path}/{batch_id}", token="x"))
        assert (error.code, error.extra["status"]) == ("not_found", 404)


async def test_a_files_id_is_no_batchs_and_a_batchs_no_files(client: Client) -> None:
    batch = await client.initiate_batch(files(5))
    assert (await refusal(client.batch(batch.uploads[0].file_id))).code == "not_found"
    assert (await refusal(client.call("GET", f"files/{batch.batch_id}/meta"))).code == "not_found"


async def test_other_methods_are_refused(client: Client) -> None:
    for method, path in (("GET", "batch/initiate"), ("DELETE", f"batch/{NOBODY}"), ("GET", f"batch/cancel/{NOBODY}")):
        error = await refusal(client.call(method, path))
        assert (error.code, error.extra["status"]) == ("method_not_allowed", 405)


async def test_the_link_goes_by_the_public_address_where_there_is_one(
    start_server: Callable[..., ServerProcess],
) -> None:
    server = start_server(PUBLIC_URL="https://files.example.org")
    async with Client(server.url) as client:
        batch = await client.initiate_batch(files(1))
        assert batch.url == f"https://files.example.org/b/{batch.batch_id}"


async def test_the_openapi_page_tells_of_the_calls_on_batches(client: Client) -> None:
    _, _, schema = await raw(client, "GET", "/api/openapi.json")
    assert {
        "/api/v1/batch/initiate",
        "/api/v1/batch/{batch_id}",
        "/api/v1/batch/cancel/{batch_id}",
        "/api/v1/batch/{batch_id}/unlock",
    } <= set(schema["paths"])
    assert {"get", "patch"} == set(schema["paths"]["/api/v1/batch/{batch_id}"])
    batch_in = schema["components"]["schemas"]["BatchIn"]["properties"]["files"]
    assert (batch_in["minItems"], batch_in["maxItems"]) == (1, 1000)
    answers = schema["paths"]["/api/v1/batch/{batch_id}"]["get"]["responses"]
    told = answers["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [one["$ref"].rpartition("/")[2] for one in told] == ["BatchOut", "BatchLockedOut"]
