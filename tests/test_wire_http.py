"""The HTTP half of wire.md for single files, against the real program, as a program of somebody else would call it."""

import asyncio
import base64
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from devtools.client import Client, PatternSource, Refused
from devtools.server_process import ServerProcess

MIB = 1024 * 1024
pytestmark = pytest.mark.every_server


@pytest.fixture
async def client(wire_server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(wire_server.url) as client:
        yield client


async def completed(client: Client, data: bytes, name: str = "file.bin", **more: Any) -> Any:
    upload = await client.initiate(name, len(data), **more)
    await client.send(upload, BytesSource(data))
    return upload


class BytesSource:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


async def refusal(awaitable: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value


async def raw(client: Client, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
    async with client.http.request(method, path, **more) as response:
        body = await response.read()
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status, response.headers, json.loads(body) if is_json else body


# --- initiate ---


async def test_initiation_answers_with_everything_that_an_upload_needs(client: Client) -> None:
    answer = (await client.initiate("report.pdf", 1000, content_type="application/pdf")).answer
    assert uuid.UUID(answer["file_id"]).version == 4
    assert answer["filename"] == "report.pdf"
    assert answer["size"] == 1000
    assert answer["status"] == "pending"
    assert answer["upload_url"] == f"/ws_api/upload_parallel/{answer['file_id']}"
    assert answer["download_url"] == f"/api/v1/download/stream/{answer['file_id']}"
    assert answer["share_url"].startswith(client.base_url)
    assert answer["gdrive_upload_url"] is None
    assert answer["expires_at"] is None
    assert answer["chunk_size"] * 2 <= answer["window"]
    assert len(answer["upload_token"]) >= 32
    assert datetime.fromisoformat(answer["upload_expires_at"]).tzinfo is not None
    assert answer["quota"]["audience"] == "anonymous"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("a\\b", "a_b"),
        ("line\r\nbreak\x00\x7f", "line__break__"),
        ("e\u0301", "\u00e9"),
        ("फ़ाइल.txt", None),
        ("😀" * 75, None),
        ("CON", "CON"),
        ("..", ".."),
    ],
)
async def test_any_name_is_stored_and_none_is_a_path(client: Client, given: str, stored: str | None) -> None:
    import unicodedata

    answer = (await client.initiate(given, 1)).answer
    assert answer["filename"] == (stored if stored is not None else unicodedata.normalize("NFC", given))


async def test_a_type_that_the_operator_does_not_want_is_refused_by_name(client: Client) -> None:
    error = await refusal(client.initiate("holiday.scr\u200f", 1))
    assert (error.code, error.extra["status"], error.extra["retryable"]) == ("file_type_blocked", 415, False)
    (named,) = error.extra["errors"]
    assert (named["field"], named["filename"]) == ("filename", "holiday.scr\u200f")
    assert (await client.initiate("setup.exe", 1)).token


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"size": 1}, "filename"),
        ({"filename": "a"}, "size"),
        ({"filename": "", "size": 1}, "filename"),
        ({"filename": "x" * 256, "size": 1}, "filename"),
        ({"filename": 5, "size": 1}, "filename"),
        ({"filename": "\ud800", "size": 1}, "filename"),
        ({"filename": "a", "size": -1}, "size"),
        ({"filename": "a", "size": 1.0}, "size"),
        ({"filename": "a", "size": "1"}, "size"),
        ({"filename": "a", "size": True}, "size"),
        ({"filename": "a", "size": None}, "size"),
        ({"filename": "a", "size": 5_497_558_138_881}, "size"),
        ({"filename": "a", "size": 1, "sha256": "A" * 64}, "sha256"),
        ({"filename": "a", "size": 1, "sha256": "abc"}, "sha256"),
        ({"filename": "a", "size": 1, "content_type": "no type"}, "content_type"),
        ({"filename": "a", "size": 1, "content_type": "text/html\r\nX: y"}, "content_type"),
        ({"filename": "a", "size": 1, "password": ""}, "password"),
        ({"filename": "a", "size": 1, "password": " \t"}, "password"),
        ({"filename": "a", "size": 1, "password": "x" * 257}, "password"),
        ({"filename": "a", "size": 1, "max_downloads": 0}, "max_downloads"),
        ({"filename": "a", "size": 1, "expires_in": 59}, "expires_in"),
    ],
)
async def test_a_bad_field_is_named(client: Client, body: dict[str, Any], field: str) -> None:
    error = await refusal(client.call("POST", "upload/initiate", json=body))
    assert (error.code, error.extra["status"]) == ("invalid_request", 422)
    assert field in [problem["field"] for problem in error.extra["errors"]]
    assert all(problem["reason"] for problem in error.extra["errors"])


async def test_a_name_that_would_take_hours_to_compose_is_refused_at_once(client: Client) -> None:
    name = "a" + "\u0301" * 100_000 + "\u0316" * 100_000
    async with asyncio.timeout(20):
        error = await refusal(client.initiate(name, 1))
    assert (error.code, error.extra["errors"][0]["field"]) == ("invalid_request", "filename")


async def test_a_content_type_cannot_break_the_header_of_its_download(client: Client) -> None:
    error = await refusal(client.initiate("a", 1, content_type="image/png\r\n;x"))
    assert error.code == "invalid_request"


async def test_two_visitors_behind_one_address_have_keys_of_their_own(wire_server: ServerProcess) -> None:
    body, headers = {"filename": "once", "size": 5}, {"Idempotency-Key": "weak-key"}
    ids = []
    for _ in range(2):
        async with aiohttp.ClientSession(wire_server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
            await visitor.get("/")
            async with visitor.post("/api/v1/upload/initiate", json=body, headers=headers) as response:
                ids.append((await response.json())["file_id"])
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("call", "body", "made"),
    [
        ("upload/initiate", {"filename": "again", "size": 5}, "file_id"),
        ("batch/initiate", {"files": [{"filename": "again", "size": 5}]}, "batch_id"),
    ],
)
async def test_a_request_is_the_same_when_its_first_answer_brought_the_cookie(
    wire_server: ServerProcess, call: str, body: dict[str, Any], made: str
) -> None:
    async with aiohttp.ClientSession(wire_server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as visitor:
        ids = set()
        for _ in range(3):
            headers = {"Idempotency-Key": "one-and-the-same"}
            async with visitor.post(f"/api/v1/{call}", json=body, headers=headers) as response:
                ids.add((await response.json())[made])
    assert len(ids) == 1


async def test_a_proxys_own_credentials_do_not_hide_the_visitors_cookie(wire_server: ServerProcess) -> None:
    async with aiohttp.ClientSession(wire_server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as mine:
        async with mine.post("/api/v1/upload/initiate", json={"filename": "a", "size": 1}) as response:
            file_id = (await response.json())["file_id"]
        headers = {"Authorization": "Basic cHJveHk6cGFzcw=="}
        async with mine.get(f"/api/v1/upload/status/{file_id}", headers=headers) as response:
            assert response.status == 200


async def test_unknown_fields_are_ignored(client: Client) -> None:
    assert (await client.initiate("a", 1, colour="green", nested={"deep": [1]})).file_id


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b'"x"', b"\xff\xfe", b"[" * 100_000, b"null"])
async def test_a_body_that_is_no_object_is_invalid(client: Client, body: bytes) -> None:
    status, headers, problem = await raw(
        client, "POST", "/api/v1/upload/initiate", data=body, headers={"Content-Type": "application/json"}
    )
    assert (status, problem["code"]) == (422, "invalid_request")
    assert headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_a_body_is_json_and_nothing_else(client: Client, kind: str) -> None:
    body = json.dumps({"filename": "a", "size": 1})
    status, _, problem = await raw(client, "POST", "/api/v1/upload/initiate", data=body, headers={"Content-Type": kind})
    assert (status, problem["code"]) == (422, "invalid_request")


async def test_a_large_body_is_refused_before_it_is_read(client: Client) -> None:
    status, _, problem = await raw(
        client,
        "POST",
        "/api/v1/upload/initiate",
        data=b"x" * (2 * MIB + 1),
        headers={"Content-Type": "application/json"},
    )
    assert (status, problem["code"]) == (413, "body_too_large")


async def test_a_large_body_of_unknown_length_is_refused(client: Client) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    status, _, problem = await raw(
        client, "POST", "/api/v1/upload/initiate", data=endless(), headers={"Content-Type": "application/json"}
    )
    assert (status, problem["code"]) == (413, "body_too_large")


async def test_a_body_just_below_the_limit_is_read(client: Client) -> None:
    body = json.dumps({"filename": "a", "size": 1, "padding": "x" * (2 * MIB - 100)}).encode()
    status, _, _ = await raw(
        client, "POST", "/api/v1/upload/initiate", data=body, headers={"Content-Type": "application/json"}
    )
    assert status == 200


async def test_the_same_key_and_body_give_the_same_file_with_a_new_token(client: Client) -> None:
    body, headers = {"filename": "once", "size": 5}, {"Idempotency-Key": str(uuid.uuid4())}
    first = await client.call("POST", "upload/initiate", json=body, headers=headers)
    second = await client.call("POST", "upload/initiate", json=body, headers=headers)
    assert second["file_id"] == first["file_id"]
    assert second["upload_token"] != first["upload_token"]
    old, new = client.upload_from(first), client.upload_from(second)
    assert (await refusal(client.status(old))).code == "unauthorized"
    assert (await client.status(new))["status"] == "pending"


async def test_the_same_key_twice_at_once_makes_one_file(client: Client) -> None:
    body, headers = {"filename": "once", "size": 5}, {"Idempotency-Key": str(uuid.uuid4())}
    answers = await asyncio.gather(
        *(client.call("POST", "upload/initiate", json=body, headers=headers) for _ in range(10))
    )
    assert len({answer["file_id"] for answer in answers}) == 1


async def test_the_same_key_with_another_body_is_another_file(client: Client) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = await client.call("POST", "upload/initiate", json={"filename": "a", "size": 5}, headers=headers)
    second = await client.call("POST", "upload/initiate", json={"filename": "b", "size": 5}, headers=headers)
    assert second["file_id"] != first["file_id"]


async def test_a_file_larger_than_the_disk_has_room_for_is_refused_at_once(client: Client) -> None:
    error = await refusal(client.initiate("all of it", 5_497_558_138_880))
    assert (error.code, error.extra["status"], error.extra["retryable"]) == ("storage_full", 507, True)


# --- who may ---


@pytest.mark.parametrize(("method", "path"), [("GET", "upload/status"), ("POST", "upload/cancel"), ("DELETE", "files")])
async def test_a_call_on_an_upload_needs_its_token(client: Client, method: str, path: str) -> None:
    upload = await client.initiate("mine", 5)
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {upload.token}"},
        {"Authorization": ""},
    ):
        error = await refusal(client.call(method, f"{path}/{upload.file_id}", headers=headers))
        assert (error.code, error.extra["status"]) == ("unauthorized", 401)
    assert (await client.status(upload))["status"] == "pending"


async def test_a_visitor_sees_their_own_files_and_nobody_elses(client: Client, wire_server: ServerProcess) -> None:
    async with (
        aiohttp.ClientSession(wire_server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as mine,
        aiohttp.ClientSession(wire_server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as theirs,
    ):
        ids = []
        for number in range(3):
            async with mine.post("/api/v1/upload/initiate", json={"filename": f"{number}", "size": 1}) as response:
                assert response.status == 200
                ids.append((await response.json())["file_id"])
        async with mine.get("/api/v1/files") as response:
            answer = await response.json()
        assert [item["file_id"] for item in answer["items"]] == ids[::-1]
        assert answer["next"] is None
        await theirs.post("/api/v1/upload/initiate", json={"filename": "other", "size": 1})
        async with theirs.get("/api/v1/files") as response:
            assert len((await response.json())["items"]) == 1
        async with mine.get(f"/api/v1/upload/status/{ids[0]}") as response:
            assert response.status == 200
        async with theirs.get(f"/api/v1/upload/status/{ids[0]}") as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (403, "forbidden")


async def test_what_a_cookie_authorises_needs_the_csrf_token(wire_server: ServerProcess) -> None:
    async with aiohttp.ClientSession(wire_server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as mine:
        async with mine.get("/") as page:
            assert page.status == 200
        async with mine.post("/api/v1/upload/initiate", json={"filename": "a", "size": 1}) as response:
            file_id = (await response.json())["file_id"]
        async with mine.post(f"/api/v1/upload/cancel/{file_id}") as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (403, "forbidden")
        token = {cookie.key: cookie.value for cookie in mine.cookie_jar}["csrftoken"]
        async with mine.post(f"/api/v1/upload/cancel/{file_id}", headers={"X-CSRFToken": token}) as response:
            assert response.status == 200


async def test_a_cookie_that_was_tampered_with_is_nobody(client: Client) -> None:
    upload = await client.initiate("a", 1)
    error = await refusal(
        client.call("GET", f"upload/status/{upload.file_id}", headers={"Cookie": "ddx_visitor=forged:cookie"})
    )
    assert error.code == "unauthorized"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_another_sites_page_changes_nothing(client: Client, origin: str) -> None:
    upload = await client.initiate("a", 1)
    error = await refusal(
        client.call("POST", f"upload/cancel/{upload.file_id}", token=upload.token, headers={"Origin": origin})
    )
    assert (error.code, error.extra["status"]) == ("forbidden", 403)
    error = await refusal(
        client.call("POST", "upload/initiate", json={"filename": "a", "size": 1}, headers={"Origin": origin})
    )
    assert error.code == "forbidden"
    assert (await client.status(upload))["status"] == "pending"


async def test_our_own_page_may(client: Client) -> None:
    answer = await client.call(
        "POST", "upload/initiate", json={"filename": "a", "size": 1}, headers={"Origin": client.base_url}
    )
    assert answer["file_id"]


# --- what is not there ---


@pytest.mark.parametrize(
    "path",
    [
        "upload/status/no-uuid",
        "upload/status/00000000-0000-4000-8000-000000000000",
        "files/no-uuid/meta",
        "download/stream/no-uuid",
        "download/stream/00000000-0000-4000-8000-000000000000",
        "no/such/call",
        "upload/quota-info/",
        "",
        "files/urn:uuid:00000000-0000-4000-8000-000000000000/meta",
    ],
)
async def test_what_is_not_there_is_not_found_as_a_problem(client: Client, path: str) -> None:
    status, headers, problem = await raw(client, "GET", f"/api/v1/{path}")
    assert (status, problem["code"], problem["status"]) == (404, "not_found", 404)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert {"type", "title", "status", "detail", "code", "retryable", "retry_after"} <= set(problem)


async def test_a_wrong_method_is_told_which_are_right(client: Client) -> None:
    status, headers, problem = await raw(client, "GET", "/api/v1/upload/initiate")
    assert (status, problem["code"]) == (405, "method_not_allowed")
    assert headers["Allow"] == "POST"


# --- the life of an upload ---


async def test_status_and_meta_tell_where_an_upload_is(client: Client) -> None:
    upload = await client.initiate("a.txt", 5, content_type="text/plain")
    assert await client.status(upload) == {
        "file_id": upload.file_id,
        "status": "pending",
        "offset": 0,
        "size": 5,
        "upload_expires_at": upload.answer["upload_expires_at"],
    }
    await client.send(upload, BytesSource(b"hello"))
    status = await client.status(upload)
    assert (status["status"], status["offset"]) == ("completed", 5)
    meta = await client.call("GET", f"files/{upload.file_id}/meta")
    assert meta["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert (meta["filename"], meta["size"], meta["content_type"]) == ("a.txt", 5, "text/plain")
    assert (meta["status"], meta["password_required"], meta["expires_at"]) == ("completed", False, None)
    assert not {"upload_token", "person", "visitor", "owner"} & set(meta)


async def test_cancel_ends_an_upload_and_can_be_said_again(client: Client) -> None:
    upload = await client.initiate("a", 5)
    for _ in range(2):
        assert await client.cancel(upload) == {"file_id": upload.file_id, "status": "cancelled"}
    assert (await client.status(upload))["status"] == "cancelled"
    error = await refusal(client.digest_of_download(upload))
    assert error.code == "gone"


async def test_a_completed_upload_cannot_be_cancelled_but_deleted(client: Client) -> None:
    upload = await completed(client, b"data")
    error = await refusal(client.cancel(upload))
    assert (error.code, error.extra["status"]) == ("wrong_state", 409)
    assert await client.call("DELETE", f"files/{upload.file_id}", token=upload.token) is None
    for call in (
        client.call("DELETE", f"files/{upload.file_id}", token=upload.token),
        client.call("GET", f"files/{upload.file_id}/meta"),
        client.status(upload),
        client.cancel(upload),
        client.digest_of_download(upload),
    ):
        assert (await refusal(call)).code == "gone"


async def test_a_person_who_follows_a_dead_download_link_lands_on_its_page(client: Client) -> None:
    upload = await client.initiate("a", 5)
    async with client.http.get(
        upload.answer["download_url"], headers={"Sec-Fetch-Mode": "navigate"}, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (302, f"/f/{upload.file_id}")


async def test_an_unfinished_upload_cannot_be_downloaded_or_deleted(client: Client) -> None:
    upload = await client.initiate("a", 5)
    assert (await refusal(client.digest_of_download(upload))).code == "wrong_state"
    error = await refusal(client.call("DELETE", f"files/{upload.file_id}", token=upload.token))
    assert error.code == "wrong_state"


async def test_quota_info_counts_what_was_announced_and_what_was_sent(client: Client) -> None:
    before = await client.call("GET", "upload/quota-info")
    assert set(before) == {
        "enforced", "audience", "day", "resets_at", "limits", "used_bytes", "reserved_bytes", "remaining_bytes",
        "files",
    }  # fmt: skip
    assert set(before["limits"]) == {"file_bytes", "daily_bytes", "daily_files", "concurrent"}
    upload = await client.initiate("a", 1000)
    during = await client.call("GET", "upload/quota-info")
    assert during["reserved_bytes"] == before["reserved_bytes"] + 1000
    await client.send(upload, PatternSource(1000))
    after = await client.call("GET", "upload/quota-info")
    assert after["reserved_bytes"] == before["reserved_bytes"]
    assert after["used_bytes"] == before["used_bytes"] + 1000
    assert after["files"] == before["files"] + 1


# --- download ---


async def test_a_download_says_all_about_the_bytes_and_never_runs(client: Client) -> None:
    data = os.urandom(3 * MIB + 17)
    upload = await completed(client, data, name='नमस्ते "quoted"\r\nX-Evil: 1.html', content_type="text/html")
    status, headers, body = await raw(client, "GET", upload.answer["download_url"])
    digest = hashlib.sha256(data)
    assert (status, body) == (200, data)
    assert headers["Content-Length"] == str(len(data))
    assert headers["ETag"] == f'"{digest.hexdigest()}"'
    assert headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Content-Disposition"].startswith("attachment")
    assert "X-Evil" not in headers
    assert "Set-Cookie" not in headers


async def test_any_range_can_be_asked_for(client: Client) -> None:
    data = os.urandom(2 * MIB)
    upload = await completed(client, data)
    for header, start, end in [
        ("bytes=0-0", 0, 1),
        ("bytes=1048575-1048577", MIB - 1, MIB + 2),
        ("bytes=2097151-", 2 * MIB - 1, 2 * MIB),
        ("bytes=-100", 2 * MIB - 100, 2 * MIB),
    ]:
        status, headers, body = await raw(client, "GET", upload.answer["download_url"], headers={"Range": header})
        assert (status, body) == (206, data[start:end])
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(data)}"
        assert headers["Content-Length"] == str(end - start)


async def test_a_range_outside_the_file_is_416(client: Client) -> None:
    upload = await completed(client, b"12345")
    status, headers, problem = await raw(client, "GET", upload.answer["download_url"], headers={"Range": "bytes=5-"})
    assert (status, problem["code"], headers["Content-Range"]) == (416, "range_invalid", "bytes */5")


async def test_conditions_on_a_download(client: Client) -> None:
    upload = await completed(client, b"12345")
    url = upload.answer["download_url"]
    etag = f'"{hashlib.sha256(b"12345").hexdigest()}"'
    status, headers, body = await raw(client, "GET", url, headers={"If-None-Match": etag})
    assert (status, body, headers["ETag"]) == (304, b"", etag)
    status, _, body = await raw(client, "GET", url, headers={"Range": "bytes=0-1", "If-Range": etag})
    assert (status, body) == (206, b"12")
    status, _, _ = await raw(client, "GET", url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert status == 200
    status, headers, body = await raw(client, "HEAD", url)
    assert (status, headers["Content-Length"], body) == (200, "5", b"")
    modified = headers["Last-Modified"]
    for method in ("GET", "HEAD"):
        for condition in ({"If-Match": '"other"'}, {"If-Unmodified-Since": "Mon, 23 Nov 2020 10:00:00 GMT"}):
            async with client.http.request(method, url, headers=condition) as answer:
                assert answer.status == 412
                assert method == "HEAD" or (await answer.json())["code"] == "precondition_failed"
        status, headers, body = await raw(client, method, url, headers={"If-Modified-Since": modified})
        assert (status, body, headers["Cache-Control"]) == (304, b"", "private, no-cache")
        assert headers["Content-Length"] == "5", "that of the bytes which do not come, or none"
        assert not {"Content-Type", "Content-Disposition"} & set(headers)
    holds = {"If-Match": etag, "If-Unmodified-Since": modified, "If-Range": modified, "Range": "bytes=1-2"}
    status, headers, body = await raw(client, "GET", url, headers=holds)
    assert (status, body, headers["Content-Range"]) == (206, b"23", "bytes 1-2/5")
    status, headers, _ = await raw(client, "HEAD", url, headers={"Range": "bytes=9-"})
    assert (status, headers["Content-Length"]) == (200, "5"), "a range is asked for by GET alone"


async def test_an_empty_file_goes_up_and_comes_down(client: Client) -> None:
    upload = await completed(client, b"")
    status, headers, body = await raw(client, "GET", upload.answer["download_url"])
    assert (status, headers["Content-Length"], body) == (200, "0", b"")


# --- around it ---


async def test_the_openapi_page_knows_every_call(client: Client) -> None:
    status, _, schema = await raw(client, "GET", "/api/openapi.json")
    assert status == 200
    paths = set(schema["paths"])
    assert {
        "/api/v1/upload/initiate",
        "/api/v1/upload/status/{file_id}",
        "/api/v1/upload/cancel/{file_id}",
        "/api/v1/upload/quota-info",
        "/api/v1/files/{file_id}/meta",
        "/api/v1/files/{file_id}/unlock",
        "/api/v1/files/{file_id}",
        "/api/v1/files",
        "/api/v1/download/stream/{file_id}",
        "/api/v1/system/upload-status",
    } <= paths
    assert (await raw(client, "GET", "/api/docs"))[0] == 200


async def test_the_list_of_my_files_is_paged(wire_server: ServerProcess) -> None:
    async with aiohttp.ClientSession(wire_server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as mine:
        ids = set()
        for number in range(53):
            async with mine.post("/api/v1/upload/initiate", json={"filename": f"{number}", "size": 0}) as response:
                ids.add((await response.json())["file_id"])
        async with mine.get("/api/v1/files") as response:
            first = await response.json()
        async with mine.get("/api/v1/files", params={"cursor": first["next"]}) as response:
            second = await response.json()
        assert (len(first["items"]), len(second["items"]), second["next"]) == (50, 3, None)
        assert {item["file_id"] for item in first["items"] + second["items"]} == ids
        async with mine.get("/api/v1/files", params={"cursor": "nonsense"}) as response:
            assert response.status == 422


async def test_errors_speak_the_persons_language(client: Client) -> None:
    path = "/api/v1/files/no-uuid/meta"
    english = (await raw(client, "GET", path))[2]
    hindi = (await raw(client, "GET", path, headers={"Accept-Language": "hi"}))[2]
    assert english["code"] == hindi["code"]
    assert english["detail"] != hindi["detail"]
