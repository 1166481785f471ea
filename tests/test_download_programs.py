"""Files from the real program by the programs that people download with: whole, in parts, and from where they were."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools import machine
from devtools.client import Client, FileSource, PatternSource, Source, Upload, sha256_of
from devtools.server_process import ServerProcess
from tests.programs import run

MIB = 1024 * 1024
SOURCE = PatternSource(24 * MIB + 7, seed=8)
WHOLE = SOURCE.read(0, SOURCE.size)
NAME = "फ़िल्म एक.mkv"
HALVES = (0, 1, 5 * MIB + 3, SOURCE.size - 1)

pytestmark = pytest.mark.every_server


@pytest.fixture
async def client(wire_server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(wire_server.url) as client:
        yield client


@dataclass(frozen=True)
class Sent:
    upload: Upload
    url: str


_sent: dict[str, Sent] = {}


async def sent_by(client: Client, name: str, source: Source) -> Sent:
    """One file for all tests of this module, which only read it."""
    key = f"{client.base_url} {name}"
    if key not in _sent:
        upload = await client.initiate(name, source.size)
        await client.send(upload, source)
        _sent[key] = Sent(upload, client.base_url + upload.answer["download_url"])
    return _sent[key]


@pytest.fixture
async def sent(client: Client) -> Sent:
    return await sent_by(client, NAME, SOURCE)


async def test_curl_goes_on_takes_ranges_and_keeps_the_name(sent: Sent, tmp_path: Path) -> None:
    file = tmp_path / "film.mkv"
    for half in HALVES:
        file.write_bytes(WHOLE[:half])
        await run("curl", "-sS", "--fail", "-C", "-", "-o", file.name, sent.url, cwd=tmp_path)
        assert file.read_bytes() == WHOLE
    await run("curl", "-sS", "--fail", "--range", "1000-1999999", "-o", "part", sent.url, cwd=tmp_path)
    assert (tmp_path / "part").read_bytes() == WHOLE[1000:2000000]
    await run("curl", "-sS", "--fail", "--range", "-5", "-o", "end", sent.url, cwd=tmp_path)
    assert (tmp_path / "end").read_bytes() == WHOLE[-5:]
    await run("curl", "-sS", "--fail", "-OJ", "--etag-save", "etag", sent.url, cwd=tmp_path)
    assert (tmp_path / "file.mkv").read_bytes() == WHOLE, "of a name outside ASCII it knows what stands beside it"
    await run("curl", "-sS", "--fail", "--etag-compare", "etag", "-o", "again", sent.url, cwd=tmp_path)
    assert not (tmp_path / "again").exists() or not (tmp_path / "again").read_bytes(), "it has it already"


async def test_wget_goes_on_and_knows_when_it_has_all(sent: Sent, tmp_path: Path) -> None:
    file = tmp_path / "film.mkv"
    for half in HALVES:
        file.write_bytes(WHOLE[:half])
        await run(machine.wget(), "-nv", "-c", "-O", file.name, sent.url, cwd=tmp_path)
        assert file.read_bytes() == WHOLE
    told = await run(machine.wget(), "-c", "-O", file.name, sent.url, cwd=tmp_path)
    assert "fully retrieved" in told
    await run(machine.wget(), "-nv", "--content-disposition", sent.url, cwd=tmp_path)
    assert (tmp_path / NAME).read_bytes() == WHOLE


async def test_aria2_takes_it_by_sixteen_connections_three_files_at_once(
    client: Client, sent: Sent, tmp_path: Path
) -> None:
    digest = hashlib.sha256(WHOLE).hexdigest()
    (tmp_path / "list").write_text(
        "".join(f"{sent.url}\n  out=film-{number}\n  checksum=sha-256={digest}\n" for number in range(3))
    )
    split = ("-x16", "-s16", "-k1M", "-j3", "--file-allocation=none", "--no-conf", "-q")
    await run(machine.aria2(), *split, "-i", "list", cwd=tmp_path)
    assert all((tmp_path / f"film-{number}").read_bytes() == WHOLE for number in range(3))


async def test_sixteen_connections_unlock_a_file_and_take_its_only_download(client: Client, tmp_path: Path) -> None:
    upload = await client.initiate(NAME, SOURCE.size, password="open sesame", max_downloads=1)
    await client.send(upload, SOURCE)
    path = f"files/{upload.file_id}"
    token = (await client.call("POST", f"{path}/unlock", json={"password": "open sesame"}))["token"]
    url = client.base_url + upload.answer["download_url"]
    split = ("-x16", "-s16", "-k1M", "--file-allocation=none", "--no-conf", "-q")
    command = (machine.aria2(), *split, f"--header=Authorization: Bearer {token}", "-o", "film", url)
    await run(*command, cwd=tmp_path)
    assert (tmp_path / "film").read_bytes() == WHOLE
    assert (await client.call("PATCH", path, token=upload.token, json={}))["controls"]["downloads"] == 1
    again = await asyncio.create_subprocess_exec("curl", "-sS", "-o", "again", "-w", "%{http_code}", url, "-H",
        f"Authorization: Bearer {token}", cwd=tmp_path, stdout=subprocess.PIPE)  # fmt: skip
    assert (await again.communicate())[0] == b"410"


async def test_aria2_goes_on_after_it_was_killed(sent: Sent, tmp_path: Path) -> None:
    split = ("-x16", "-s16", "-k1M", "--file-allocation=none", "--no-conf", "--auto-save-interval=1", "-o", "film")
    slow = await asyncio.create_subprocess_exec(
        machine.aria2(), *split, "--max-download-limit=4M", "-q", sent.url, cwd=tmp_path
    )
    async with asyncio.timeout(30):
        while not (tmp_path / "film.aria2").exists():
            await asyncio.sleep(0.05)
    slow.kill()
    await slow.wait()
    assert (tmp_path / "film").read_bytes() != WHOLE
    await run(machine.aria2(), *split, "-c", "-q", sent.url, cwd=tmp_path)
    assert (tmp_path / "film").read_bytes() == WHOLE


async def test_a_player_finds_the_end_of_a_film_and_seeks_in_it(client: Client, tmp_path: Path) -> None:
    """Its table of contents lies behind the pictures, so that a player begins with the end."""
    film = tmp_path / "film.mp4"
    pictures = ("-f", "lavfi", "-i", "testsrc=duration=20:size=1280x720:rate=25", "-c:v", "mpeg4", "-q:v", "2")
    await run(machine.ffmpeg("ffmpeg"), "-v", "error", *pictures, film.name, cwd=tmp_path)
    source = FileSource(film)
    assert source.size > 2 * MIB
    sent = await sent_by(client, film.name, source)
    shown = ("-of", "json", "-show_entries", "packet=pts_time,data_hash:format=duration", "-show_data_hash", "sha256")
    look = (machine.ffmpeg("ffprobe"), "-v", "error", *shown, "-read_intervals", "15%+1")
    there = json.loads(await run(*look, sent.url, cwd=tmp_path))
    assert there == json.loads(await run(*look, film.name, cwd=tmp_path))
    assert float(there["format"]["duration"]) == 20
    assert len(there["packets"]) >= 25
    assert await client.digest_of_download(sent.upload) == sha256_of(source)
