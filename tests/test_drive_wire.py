"""Files through the socket to Google Drive, over the emulator: each of its faults alone, in the real program.

Whatever happens, a file ends equal and once on Drive, or failed with its true cause, and nothing is left behind.
"""

import asyncio
import hashlib
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import websockets

from devtools.client import Client, PatternSource, Refused, Upload, sha256_of
from devtools.drive_site import SECOND_REFRESH_TOKEN, Site
from tests.doors_rig import NAME, PASSWORD
from tests.test_admin_steering import Admin, hear
from uploads.tests.test_zip_body import taken

MIB = 1024 * 1024
SIZE = 3 * MIB + 17
# What nobody may ever read: a session's address, an access token, refresh tokens, a client's secret.
SECRET = re.compile(r"upload_id|/upload/drive|ya29\.|1//first-refresh|" + SECOND_REFRESH_TOKEN + "|client secret")

pytestmark = pytest.mark.every_server


@pytest.fixture(scope="module")
def all_messages() -> list[dict[str, Any]]:
    """What clients were told in this module."""
    return []


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory, all_messages: list[dict[str, Any]]) -> Iterator[Site]:
    admin = {"ADMIN_EMAIL": NAME, "ADMIN_PASSWORD": PASSWORD}
    site = Site(tmp_path_factory.mktemp("drive"), accounts=2, LOG_LEVEL="debug", **admin)
    yield site
    assert SECRET.search(site.emulator.token()), "tokens look otherwise: the search below would find none"
    events = site.database("SELECT detail FROM uploads_fileevent")
    rows = site.database("SELECT * FROM uploads_storedfile") + site.database(
        "SELECT last_error FROM uploads_driveaccount"
    )
    site.stop()
    told = json.dumps(all_messages)
    for where, text in {"log": site.server.text(), "events": repr(events), "rows": repr(rows), "told": told}.items():
        assert not SECRET.findall(text), where
    assert "Unclosed" not in site.server.text()
    assert "never retrieved" not in site.server.text()


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    yield running_site
    running_site.forgive()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Client]:
    async with Client(site.server.url) as client:
        yield client


class Sending:
    """One file on its way: its source, its upload and how it ended."""

    def __init__(self, size: int, seed: int) -> None:
        self.source = PatternSource(size, seed)
        self.upload: Upload
        self.success: dict[str, Any] = {}


@pytest.fixture
def send(client: Client, all_messages: list[dict[str, Any]]) -> Any:
    seeds = iter(range(1000))

    async def send(size: int = SIZE, **how: Any) -> Sending:
        sending = Sending(size, next(seeds))
        sending.upload = await client.initiate("film.mkv", size)
        try:
            sending.success = await client.send(sending.upload, sending.source, patience=20, **how)
        finally:
            all_messages.extend(sending.upload.messages)
        return sending

    return send


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, SIZE, 20 * MIB])
async def test_a_file_goes_to_drive_and_comes_back(site: Site, client: Client, send: Any, size: int) -> None:
    sent = await send(size, sha256=sha256_of(PatternSource(size, 0)))
    await site.is_there_once(client, sent.upload, sent.source)
    digests = {maker: made["sha256"] for maker, made in sent.success["receipt"].items()}
    assert digests == dict.fromkeys(["browser", "server", "storage"], sha256_of(sent.source))


async def test_a_range_of_it_can_be_downloaded_and_then_it_can_be_deleted(
    site: Site, client: Client, send: Any
) -> None:
    sent = await send()
    url = sent.upload.answer["download_url"]
    async with client.http.get(url, headers={"Range": f"bytes={MIB - 3}-{2 * MIB + 4}"}) as answer:
        assert answer.status == 206
        assert await answer.read() == sent.source.read(MIB - 3, MIB + 8)
    await client.call("DELETE", f"files/{sent.upload.file_id}", token=sent.upload.token)
    assert not site.files_of(sent.upload)


async def test_a_zip_comes_from_drive_and_goes_on_after_drive_was_away_in_the_middle_of_it(
    site: Site, client: Client
) -> None:
    sizes = [8 * MIB, 0, 1000, 8 * MIB, 8 * MIB + 17]
    sources = [PatternSource(size, number) for number, size in enumerate(sizes)]
    batch = await client.initiate_batch([{"filename": "same.bin", "size": size} for size in sizes])
    for upload, source in zip(batch.uploads, sources, strict=True):
        await client.send(upload, source, patience=20)
    path = f"/api/v1/batch/download-zip/{batch.batch_id}"
    passing = site.emulator.add_fault("status", status=503, on="download")
    async with client.http.get(path) as answer:
        whole, etag = await answer.read(), answer.headers["ETag"]
    assert site.emulator.fired(passing) == 1
    archive = zipfile.ZipFile(io.BytesIO(whole))
    names = archive.namelist()[:-1]
    assert [hashlib.sha256(archive.read(name)).hexdigest() for name in names] == list(map(sha256_of, sources))

    async with client.http.get(path) as answer:
        received = bytearray(await answer.content.readexactly(MIB))
        site.emulator.add_fault("status", status=503, on="download", times=-1)
        with pytest.raises(aiohttp.ClientPayloadError):
            await taken(answer.content.iter_any(), received)
    assert len(received) < len(whole)
    async with client.http.get(path) as answer:
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
    site.forgive()
    headers = {"Range": f"bytes={len(received)}-", "If-Range": etag}
    async with client.http.get(path, headers=headers) as answer:
        assert answer.status == 206
        assert received + await answer.read() == whole


FAULTS: dict[str, dict[str, Any]] = {
    "half a chunk is kept": {"fault": "short", "at": MIB},
    "the session goes": {"fault": "gone", "at": MIB},
    "the session goes at once": {"fault": "gone"},
    "the last answer is lost": {"fault": "lost"},
    "the connection is reset": {"fault": "reset", "at": MIB},
    "nothing is answered": {"fault": "stall", "at": MIB, "seconds": 30},
    "nothing is answered from the start": {"fault": "stall", "seconds": 30},
    "the link is slow": {"fault": "slow", "rate": 4 * MIB},
    "500": {"fault": "status", "status": 500, "at": MIB},
    "503 and a pause": {"fault": "status", "status": 503, "retry_after": 0.2, "at": MIB},
    "429": {"fault": "status", "status": 429, "at": MIB},
    "429 at the start": {"fault": "status", "status": 429, "on": "start"},
    "a rate in mid-file": {"fault": "status", "status": 403, "reason": "userRateLimitExceeded", "at": MIB},
    "a token that is refused in mid-file": {"fault": "status", "status": 401, "at": MIB},
    "a token that is refused at the start": {"fault": "status", "status": 401, "on": "start"},
    "a token that is refused on the way out": {"fault": "status", "status": 401, "on": "download"},
    "503 on the way out": {"fault": "status", "status": 503, "on": "download"},
    "the connection is reset on the way out": {"fault": "reset", "on": "download", "at": MIB + 1},
    "nothing comes on the way out": {"fault": "stall", "on": "download", "at": 2 * MIB, "seconds": 30},
    "the link is slow on the way out": {"fault": "slow", "on": "download", "at": 0, "rate": 8 * MIB},
}


@pytest.mark.parametrize("what", FAULTS)
async def test_a_fault_that_passes_is_not_seen_by_the_sender(site: Site, client: Client, send: Any, what: str) -> None:
    fault = site.emulator.add_fault(**FAULTS[what])
    sent = await send()
    assert sent.upload.connections == 1
    await site.is_there_once(client, sent.upload, sent.source)
    assert site.emulator.fired(fault) == 1


async def test_chunks_that_break_again_and_again_end_the_connection_and_the_sender_comes_back(
    site: Site, client: Client, send: Any
) -> None:
    site.emulator.add_fault("status", status=503, at=MIB, times=4)
    sent = await send()
    assert {told["code"] for told in sent.upload.of_type("error")} == {"storage_unavailable"}
    assert sent.upload.connections == 2
    await site.is_there_once(client, sent.upload, sent.source)


OUT = ["storageQuotaExceeded", "quotaExceeded", "dailyLimitExceeded", "teamDriveFileLimitExceeded"]


@pytest.mark.parametrize("reason", OUT)
async def test_an_account_that_is_out_at_the_start_is_replaced_unseen(
    site: Site, client: Client, send: Any, reason: str
) -> None:
    site.emulator.add_fault("status", status=403, reason=reason, on="start")
    sent = await send()
    assert not sent.upload.of_type("rewind")
    assert site.account_of(sent.upload) == "second"
    await site.is_there_once(client, sent.upload, sent.source)


@pytest.mark.parametrize("reason", OUT)
async def test_an_account_that_is_out_in_mid_file_is_replaced_and_the_sender_told_why(
    site: Site, client: Client, send: Any, reason: str
) -> None:
    site.emulator.add_fault("status", status=403, reason=reason, at=2 * MIB)
    sent = await send()
    assert [(told["offset"], told["reason"]) for told in sent.upload.of_type("rewind")] == [(0, "storage_full")]
    assert site.account_of(sent.upload) == "second"
    await site.is_there_once(client, sent.upload, sent.source)


async def test_a_flipped_bit_fails_the_file_and_leaves_nothing_on_drive(site: Site, client: Client, send: Any) -> None:
    site.emulator.add_fault("flip", at=MIB)
    with pytest.raises(Refused) as refused:
        await send()
    assert refused.value.code == "checksum_mismatch"
    [[file_id, cause]] = site.database(
        "SELECT id, error_detail FROM uploads_storedfile WHERE error_code = 'checksum_mismatch'"
    )
    assert "the storage has" in cause
    assert not site.emulator.files(f"name contains '{file_id[:8]}'")
    await site.nothing_is_held(client)


async def test_what_drive_refuses_for_good_stops_with_its_own_words_beside_the_file(site: Site, client: Client) -> None:
    site.emulator.add_fault("status", status=403, reason="insufficientFilePermissions", on="any", times=-1)
    upload = await client.initiate("film.mkv", SIZE)
    with pytest.raises(websockets.ConnectionClosed):
        await client.send(upload, PatternSource(SIZE), patience=0.5)
    assert {told["code"] for told in upload.of_type("error")} == {"storage_unavailable"}
    causes = site.database("SELECT detail FROM uploads_fileevent WHERE file_id = ?", upload.file_id.replace("-", ""))
    assert any("insufficientFilePermissions" in cause for (cause,) in causes)
    site.forgive()
    await client.send(upload, PatternSource(SIZE), patience=20)
    await site.is_there_once(client, upload, PatternSource(SIZE))


def day_is_spent(site: Site, *, over_in: float) -> None:
    """Every account has taken 750 GB, of which the last counts no longer in so many seconds."""
    hour = datetime.now(UTC) - timedelta(hours=25) + timedelta(seconds=over_in)
    site.database(
        "INSERT INTO uploads_drivehour (account_id, hour, length) SELECT id, ?, 750000000000 FROM uploads_driveaccount",
        hour.strftime("%Y-%m-%d %H:%M:%S.%f"),
    )


async def test_when_every_day_is_spent_an_upload_waits_in_line_and_is_told_how_long(
    site: Site, client: Client, send: Any
) -> None:
    day_is_spent(site, over_in=4)
    sent = await send()
    queued = [told for told in sent.upload.of_type("queued") if told["waiting_for"] == "storage"]
    assert queued
    assert queued[0]["position"] == 1
    assert 1 <= queued[0]["eta_seconds"] <= 4
    assert not sent.upload.of_type("error")
    await site.is_there_once(client, sent.upload, sent.source)


async def test_who_waits_for_a_day_to_end_keeps_the_place_and_holds_nobody_up(site: Site, client: Client) -> None:
    site.database("UPDATE uploads_driveaccount SET daily_bytes = 10000000")
    day_is_spent(site, over_in=3600)
    site.database("UPDATE uploads_drivehour SET length = 6000000")
    large = await client.initiate("large.mkv", 5 * MIB)
    waits = asyncio.Event()
    sending = asyncio.create_task(
        client.send(large, PatternSource(5 * MIB), on_message=lambda m: m["type"] == "queued" and waits.set())
    )
    async with asyncio.timeout(20):
        await waits.wait()
        small = await client.initiate("small.mkv", MIB)
        await client.send(small, PatternSource(MIB), patience=20)
        assert not small.of_type("queued")
        while await site.uploads_now(client) != {"active_uploads": 0, "queued_uploads": 1}:
            await asyncio.sleep(0.1)  # it may be a second old
        await client.cancel(large)
        with pytest.raises(Refused):
            await sending
    assert large.of_type("queued")[0]["waiting_for"] == "storage"
    await site.is_there_once(client, small, PatternSource(MIB))


async def test_while_every_account_fails_it_is_told_when_to_come_back(site: Site, client: Client) -> None:
    later = (datetime.now(UTC) + timedelta(seconds=100)).strftime("%Y-%m-%d %H:%M:%S.%f")
    site.database(
        "UPDATE uploads_driveaccount SET failures = 3, failing_since = ?, openings = 1, retry_at = ?", later, later
    )
    upload = await client.initiate("film.mkv", SIZE)
    with pytest.raises(websockets.ConnectionClosed):
        await client.send(upload, PatternSource(SIZE), patience=0.5)
    told = upload.of_type("error")[0]
    assert told["code"] == "storage_unavailable"
    assert 90 <= told["retry_after"] <= 100
    async with client.http.get("/readyz") as answer:
        assert answer.status == 503
        assert (await answer.json())["checks"]["storage"]["reason"] == "unavailable"
    site.forgive()
    await client.send(upload, PatternSource(SIZE), patience=20)


async def on_its_way(site: Site, client: Client) -> tuple[Upload, asyncio.Task[Any]]:
    """An upload over a slow link to Drive, of which something has come, and the task that goes on sending it."""
    site.emulator.add_fault("slow", rate=MIB, times=-1)
    upload = await client.initiate("film.mkv", SIZE)
    moving = asyncio.Event()
    sending = asyncio.create_task(
        client.send(upload, PatternSource(SIZE), on_message=lambda m: m["type"] == "progress" and moving.set())
    )
    async with asyncio.timeout(20):
        await moving.wait()
    return upload, sending


async def test_a_cancelled_upload_leaves_nothing_on_drive_and_what_came_of_it_counts(
    site: Site, client: Client
) -> None:
    def used() -> int:
        [[total]] = site.database("SELECT COALESCE(SUM(used_bytes), 0) FROM quotas_dailyusage")
        return int(total)

    before = used()
    upload, sending = await on_its_way(site, client)
    async with asyncio.timeout(20):
        told = upload.received
        await client.cancel(upload)
        with pytest.raises(Refused):
            await sending
    assert not site.files_of(upload)
    assert used() - before >= told > 0, "or whoever cancels in time sends as much as they like"
    await site.nothing_is_held(client)


async def test_no_page_and_no_figure_tells_a_secret_while_a_session_is_open(site: Site, client: Client) -> None:
    upload, sending = await on_its_way(site, client)
    session, account = site.emulator.open_session_ids()[-1], "/admin/uploads/driveaccount/"
    [[number]] = site.database("SELECT id FROM uploads_driveaccount WHERE name = 'env'")
    for_staff = [account, f"{account}{number}/change/", f"/admin/uploads/storedfile/{upload.file_id}/change/"]
    for_all = ["/metrics", "/readyz", "/api/v1/system/upload-status", f"/f/{upload.file_id}"]
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(site.server.url, cookie_jar=jar) as http:
        admin = Admin(http, site.server)
        await admin.sign_in()
        told = {address: await admin.page(address) for address in [*for_staff, "/admin/monitoring/live/"]}
        async with admin.live() as socket:
            told["live"] = str(await hear(socket, lambda message: bool(message["running"])))
    for address in for_all:
        async with client.http.get(address) as answer:
            told[address] = await answer.text()
    told["status"] = json.dumps(await client.status(upload))
    told["rows"] = repr([site.database(f"SELECT * FROM uploads_{table}") for table in ("driveupload", "driveaccount")])
    told["log"] = site.server.text()
    await client.cancel(upload)
    with pytest.raises(Refused):
        await sending
    told["messages"] = json.dumps(upload.messages)
    assert "film.mkv" in told["live"]
    assert "env" in told[account]
    secrets = (session, "/upload/drive", "ya29.", "1//first-refresh", SECOND_REFRESH_TOKEN, upload.token)
    found = {(where, secret) for where, text in told.items() for secret in secrets if secret in text}
    assert not found


# --- On the way out ---


async def test_what_drive_does_not_give_in_the_middle_breaks_the_connection_and_the_next_range_goes_on(
    site: Site, client: Client, send: Any
) -> None:
    sent = await send()
    url = sent.upload.answer["download_url"]
    for fault in ({"fault": "reset"}, {"fault": "short"}):
        # A file that has become shorter shows when it is asked for anew.
        site.emulator.add_fault("reset", on="download", at=MIB)
        async with client.http.get(url) as answer:
            assert (answer.status, answer.content_length) == (200, SIZE)
            got = bytearray(await answer.content.readexactly(MIB // 2))
            site.emulator.add_fault(**fault, on="download", at=MIB + 1, times=-1)
            with pytest.raises(aiohttp.ClientError):
                await read_into(got, answer)
        assert got == sent.source.read(0, len(got))
        assert len(got) <= MIB + 1
        site.forgive()
        async with client.http.get(url, headers={"Range": f"bytes={len(got)}-"}) as answer:
            assert answer.status == 206
            assert got + await answer.read() == sent.source.read(0, SIZE)


async def read_into(got: bytearray, answer: aiohttp.ClientResponse) -> None:
    while block := await answer.content.readany():
        got += block


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "notFound"),
        (410, "gone"),
        (403, "downloadQuotaExceeded"),
        (429, "rateLimitExceeded"),
        (503, "backendError"),
    ],
)
async def test_what_drive_refuses_at_the_start_is_told_by_its_code(
    site: Site, client: Client, send: Any, status: int, reason: str
) -> None:
    sent = await send()
    site.emulator.add_fault("status", status=status, reason=reason, on="download", times=-1)
    with pytest.raises(Refused) as refused:
        await client.digest_of_download(sent.upload)
    assert refused.value.code == "storage_unavailable"


async def test_a_recipient_who_takes_nothing_makes_drive_wait_and_one_who_goes_lets_go_of_it(
    site: Site, client: Client, send: Any
) -> None:
    sent = await send(48 * MIB)
    await site.nothing_is_held(client)
    process = psutil.Process(site.server.pid)
    before = process.io_counters().read_chars
    async with client.http.get(sent.upload.answer["download_url"]) as answer:
        await answer.content.readexactly(1)
        seen = -1
        while seen != (seen := process.io_counters().read_chars):
            await asyncio.sleep(0.5)
        assert seen - before < sent.source.size / 2
        [waiting] = full_connections_to(site.emulator.port)
        answer.close()
    async with asyncio.timeout(10):
        while waiting in full_connections_to(site.emulator.port):
            await asyncio.sleep(0.05)


def full_connections_to(port: int) -> list[str]:
    """The near ends of connections to this port with bytes that nobody takes."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [near for _, near, far, _, queues, *_ in lines if far.endswith(f":{port:04X}") and int(queues[9:], 16)]
