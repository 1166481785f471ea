"""The ZIP of a batch from the real program, by the programs that people download with."""

import asyncio
import hashlib
import io
import random
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from devtools import machine
from devtools.client import Batch, Client, PatternSource, sha256_of
from devtools.server_process import ServerProcess
from tests.programs import run

MIB = 1024 * 1024
SIZES = [0, 1, 3 * MIB, 8 * MIB + 17, *[MIB] * 5, *[1000] * 20]
pytestmark = pytest.mark.every_server


@pytest.fixture
async def client(wire_server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(wire_server.url) as client:
        yield client


@dataclass(frozen=True)
class Sent:
    batch: Batch
    url: str
    sources: list[PatternSource]


_sent: dict[str, Sent] = {}


@pytest.fixture
async def sent(client: Client, wire_server: ServerProcess) -> Sent:
    """One batch for all tests of this module, which only read it."""
    if wire_server.url not in _sent:
        sources = [PatternSource(size, number) for number, size in enumerate(SIZES)]
        files = [{"filename": "same.bin", "path": f"यात्रा/{n % 3}", "size": size} for n, size in enumerate(SIZES)]
        batch = await client.initiate_batch(files, "Trip")
        await asyncio.gather(
            *(client.send(upload, source) for upload, source in zip(batch.uploads, sources, strict=True))
        )
        url = f"{wire_server.url}/api/v1/batch/download-zip/{batch.batch_id}"
        _sent[wire_server.url] = Sent(batch, url, sources)
    return _sent[wire_server.url]


async def whole(client: Client, sent: Sent) -> bytes:
    async with client.http.get(sent.url) as answer:
        assert answer.status == 200
        data = await answer.read()
        assert len(data) == answer.content_length
        return data


async def test_what_was_sent_comes_back_equal_file_by_file(client: Client, sent: Sent) -> None:
    archive = zipfile.ZipFile(io.BytesIO(await whole(client, sent)))
    *names, manifest = archive.namelist()
    assert manifest == "SHA256SUMS.txt"
    assert names[0] == "यात्रा/0/same.bin"
    assert names[3] == "यात्रा/0/same (2).bin"
    digests = [sha256_of(source) for source in sent.sources]
    assert [hashlib.sha256(archive.read(name)).hexdigest() for name in names] == digests
    lines = [f"{digest}  {name}" for digest, name in zip(digests, names, strict=True)]
    assert archive.read(manifest).decode().splitlines() == lines


async def test_a_download_that_breaks_anywhere_goes_on_there(client: Client, sent: Sent) -> None:
    expected = await whole(client, sent)
    places = random.Random(11)
    received = bytearray()
    headers: dict[str, str] = {}
    connections = 0
    while len(received) < len(expected):
        connections += 1
        stop = min(len(expected), len(received) + places.randrange(1, 2 * MIB))
        # A connection of its own, which is dropped in the middle of the body.
        async with aiohttp.ClientSession() as http, http.get(sent.url, headers=headers) as answer:
            assert answer.status == (206 if received else 200)
            headers["If-Range"] = answer.headers["ETag"]
            while len(received) < stop:
                received += await answer.content.read(stop - len(received))
            answer.close()
        headers["Range"] = f"bytes={len(received)}-"
    assert received == expected
    assert connections > 10


async def test_curl_goes_on_with_what_it_has(client: Client, sent: Sent, tmp_path: Path) -> None:
    expected = await whole(client, sent)
    for length in (0, 100, 5 * MIB + 3, len(expected) - 1):
        (tmp_path / "trip.zip").write_bytes(expected[:length])
        await run("curl", "-sS", "--fail", "-C", "-", "-o", "trip.zip", sent.url, cwd=tmp_path)
        assert (tmp_path / "trip.zip").read_bytes() == expected
    await run("curl", "-sS", "--fail", "-OJ", sent.url, cwd=tmp_path)
    assert (tmp_path / "Trip.zip").read_bytes() == expected


async def test_aria2_takes_it_by_sixteen_connections(client: Client, sent: Sent, tmp_path: Path) -> None:
    options = ["-x16", "-s16", "-k1M", "--allow-overwrite=true", "--console-log-level=warn", "--summary-interval=0"]
    await run(machine.aria2(), *options, "-o", "trip.zip", sent.url, cwd=tmp_path)
    assert (tmp_path / "trip.zip").read_bytes() == await whole(client, sent)
    await run(machine.unzip(), "-tq", "trip.zip", cwd=tmp_path)


async def test_one_that_is_not_complete_is_not_inside_and_comes_with_the_next(client: Client) -> None:
    batch = await client.initiate_batch([{"filename": name, "size": 1000} for name in ("a", "b")])
    path = f"/api/v1/batch/download-zip/{batch.batch_id}"
    async with client.http.get(path) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (409, "wrong_state")
    etags, names = [], []
    for upload in batch.uploads:
        await client.send(upload, PatternSource(1000))
        async with client.http.get(path) as answer:
            etags.append(answer.headers["ETag"])
            names.append(zipfile.ZipFile(io.BytesIO(await answer.read())).namelist())
    assert names == [["a", "SHA256SUMS.txt"], ["a", "b", "SHA256SUMS.txt"]]
    for upload in batch.uploads:
        await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
    async with client.http.get(path, headers={"If-None-Match": etags[1]}) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (410, "gone")
