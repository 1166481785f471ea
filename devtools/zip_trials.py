"""ZIPs of batches while connections break, the disk fails and the server is killed in the middle of them.

What was received before a break and what the next range brings is together the ZIP, byte for byte, and every file in it
is what was sent. Part of `make trials`; the same code runs in the tests with small numbers.
"""

import asyncio
import errno
import hashlib
import io
import random
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.faulty_server import FaultyServer
from devtools.promises import TrialFailedError, expect, nothing_is_open

MIB = 1024 * 1024
LARGEST, MOST_FILES, MOST_BREAKS = 16 * MIB, 40, 6
KINDS = ("cut", "cut", "cut", "broken disk", "kill")
NAMES = ("a.txt", "A.TXT", "फ़ाइल.pdf", "😀.jpg", "nul", "end. ", "SHA256SUMS.txt", "<b>.html", "x" * 255)
FOLDERS = ("", "", "photos/2026", "Photos/2026", "यात्रा")
READ_AT_ONCE = 64 * 1024
CLOSE_SECONDS = 30.0


@dataclass(frozen=True)
class Break:
    """What ends a download once it has got to this part of the ZIP, from 0 to 1."""

    at: float
    kind: str


@dataclass(frozen=True)
class Plan:
    """A batch of files of these sizes, and what its download is broken by."""

    sizes: list[int]
    seed: int
    breaks: list[Break]


@dataclass
class Totals:
    trials: int = 0
    files: int = 0
    bytes: int = 0
    requests: int = 0
    breaks: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        by = ", ".join(f"{count} × {kind}" for kind, count in self.breaks.most_common())
        return f"{self.files} files, {self.bytes / MIB:.0f} MiB of ZIPs, {self.requests} requests; broken by {by}"


def drawn(random_: random.Random) -> Plan:
    sizes = [min(LARGEST, int(2 ** random_.uniform(0, 24))) for _ in range(random_.choice((1, 2, 8, MOST_FILES)))]
    breaks = [Break(random_.random(), random_.choice(KINDS)) for _ in range(random_.randint(1, MOST_BREAKS))]
    return Plan(sizes, random_.randrange(2**32), sorted(breaks, key=lambda one: one.at))


async def one_trial(server: FaultyServer, client: Client, plan: Plan, totals: Totals) -> None:
    """Send the files, and take their ZIP as the plan has it. Raises `TrialFailedError`."""
    random_ = random.Random(plan.seed)
    sources = [PatternSource(size, plan.seed + number) for number, size in enumerate(plan.sizes)]
    files = [{"filename": random_.choice(NAMES), "path": random_.choice(FOLDERS), "size": size} for size in plan.sizes]
    batch = await client.initiate_batch(files)
    await asyncio.gather(*(client.send(upload, source) for upload, source in zip(batch.uploads, sources, strict=True)))
    path = f"/api/v1/batch/download-zip/{batch.batch_id}"
    download = Download(server, client, path)
    whole, etag = await download.whole()
    has_what_was_sent(whole, [sha256_of(source) for source in sources])
    for one in plan.breaks:
        if len(download.received) < len(whole):  # small ones are there whole before anything can befall them
            await download.until_broken(int(one.at * len(whole)), one.kind)
            totals.breaks[one.kind] += 1
    if len(download.received) < len(whole):
        await download.to_the_end()
    expect(bytes(download.received) == whole, "what came in parts differs from what came at once")
    await nothing_is_open(server, within=CLOSE_SECONDS)
    await client.call("DELETE", f"files/{batch.uploads[0].file_id}", token=batch.uploads[0].token)
    await another_zip_begins_anew(client, path, etag, batch.uploads)
    for upload in batch.uploads[1:]:
        await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
    totals.trials += 1
    totals.files += len(files)
    totals.bytes += len(whole)
    totals.requests += download.requests


class Download:
    """One ZIP, taken bit by bit."""

    def __init__(self, server: FaultyServer, client: Client, path: str) -> None:
        self._server, self._client, self._path = server, client, path
        self.received = bytearray()
        self.requests = 0
        self._etag = ""

    async def whole(self) -> tuple[bytes, str]:
        async with self._client.http.get(self._path) as answer:
            expect(answer.status == 200, f"the ZIP was answered with {answer.status}")
            data = await answer.read()
            expect(len(data) == answer.content_length, "the length was not the one announced")
            return data, answer.headers["ETag"]

    async def to_the_end(self) -> None:
        async with self._next() as answer:
            self._check(answer)
            async for block in answer.content.iter_any():
                self.received += block

    async def until_broken(self, at: int, kind: str) -> None:
        """Go on up to offset `at`, and let this befall the connection there; what still comes is taken."""
        async with self._next() as answer:
            self._check(answer)
            while len(self.received) < at and (block := await answer.content.read(READ_AT_ONCE)):
                self.received += block
            match kind:
                case "cut":
                    answer.close()
                    return
                case "kill":
                    self._server.kill()
                case "broken disk":
                    await asyncio.to_thread(self._server.fail, "pread", errno=errno.EIO, path="/storage/files/")
            await self._take_what_comes(answer)
        match kind:
            case "kill":
                await asyncio.to_thread(self._server.restart)
            case "broken disk":
                await asyncio.to_thread(self._server.mend)

    async def _take_what_comes(self, answer: aiohttp.ClientResponse) -> None:
        """To an end that is not clean, unless it is the true one."""
        left = (answer.content_length or 0) - (len(self.received) - self._began)
        try:
            async for block in answer.content.iter_any():
                self.received += block
                left -= len(block)
        except aiohttp.ClientError:
            return
        expect(left == 0, f"a broken download ended cleanly, and {left} bytes were missing")

    def _next(self) -> Any:
        self.requests += 1
        self._began = len(self.received)
        headers = {"Range": f"bytes={self._began}-", "If-Range": self._etag} if self.received else {}
        return self._client.http.get(self._path, headers=headers)

    def _check(self, answer: aiohttp.ClientResponse) -> None:
        expect(answer.status == (206 if self._began else 200), f"going on was answered with {answer.status}")
        self._etag = answer.headers["ETag"]


def has_what_was_sent(data: bytes, digests: list[str]) -> None:
    archive = zipfile.ZipFile(io.BytesIO(data))
    *names, manifest = archive.namelist()
    expect(manifest == "SHA256SUMS.txt" and manifest not in names, "the manifest is not where it belongs")
    expect(len({name.casefold() for name in names}) == len(names) == len(digests), "names are alike, or missing")
    found = [hashlib.sha256(archive.read(name)).hexdigest() for name in names]
    expect(found == digests, "a file in the ZIP differs from what was sent")
    lines = [f"{digest}  {name}" for digest, name in zip(digests, names, strict=True)]
    expect(archive.read(manifest).decode().splitlines() == lines, "the manifest is wrong")


async def another_zip_begins_anew(client: Client, path: str, etag: str, uploads: list[Upload]) -> None:
    async with client.http.get(path, headers={"Range": "bytes=10-", "If-Range": etag}) as answer:
        if len(uploads) == 1:
            expect(answer.status == 410, f"of a batch that was deleted the ZIP is answered with {answer.status}")
            return
        expect(answer.status == 200, f"another ZIP was gone on with: {answer.status}")
        expect(answer.headers["ETag"] != etag, "another ZIP has the same ETag")
        archive = zipfile.ZipFile(io.BytesIO(await answer.read()))
        expect(len(archive.namelist()) == len(uploads), "a deleted file is in the ZIP")


async def run(server: FaultyServer, client: Client, trials: int, seed: int) -> Totals:
    """So many trials by chance, one after the other. Raises `TrialFailedError`."""
    random_, totals = random.Random(seed), Totals()
    async with client:
        for number in range(trials):
            plan = drawn(random_)
            try:
                await one_trial(server, client, plan, totals)
            except Exception as failure:
                raise TrialFailedError(f"trial {number + 1} of ZIPs failed by {failure!r}; {plan}") from failure
            print(f"trial {number + 1} of ZIPs: {', '.join(one.kind for one in plan.breaks)}", flush=True)
    return totals
