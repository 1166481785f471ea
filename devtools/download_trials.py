"""Downloads that break at random: the client drops them, the server is killed, the disk or Drive fails in the middle.

What was received before a break and what the next range brings is together the file, byte for byte. Part of
`make trials`; the same code runs in the tests with small numbers.
"""

import asyncio
import errno
import hashlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.drive_site import Site
from devtools.faulty_server import FaultyServer
from devtools.promises import TrialFailedError, expect, nothing_is_open

MIB = 1024 * 1024
LARGEST, MOST_BREAKS = 32 * MIB, 8
READ_AT_ONCE = 64 * 1024
CLOSE_SECONDS = 20.0
PATIENCE_SECONDS = 60.0
DRIVE_FAULTS: list[dict[str, Any]] = [
    {"fault": "reset"},
    {"fault": "reset", "times": 3},
    {"fault": "reset", "times": -1},  # until it is removed: longer than the program's patience
    {"fault": "stall", "seconds": 30},
    {"fault": "slow", "rate": 4 * MIB},
    {"fault": "status", "status": 503},
    {"fault": "status", "status": 429, "retry_after": 0.1},
    {"fault": "status", "status": 401},
    {"fault": "status", "status": 403, "reason": "userRateLimitExceeded"},
]


@dataclass(frozen=True)
class Break:
    """What befalls a download once it has got so far, in bytes; `fault` is what Drive does there."""

    at: int
    kind: str
    fault: dict[str, Any] = field(default_factory=dict)


@dataclass
class Totals:
    trials: int = 0
    bytes: int = 0
    requests: int = 0
    breaks: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        by = ", ".join(f"{count} × {kind}" for kind, count in self.breaks.most_common())
        return f"{self.bytes / MIB:.0f} MiB, {self.requests} requests; broken by {by}"


class Download:
    """One file, taken bit by bit over as many connections as it needs."""

    def __init__(self, client: Client, upload: Upload) -> None:
        self._client, self._url = client, upload.answer["download_url"]
        self._digest = hashlib.sha256()
        self._etag = ""
        self.got = self.requests = 0
        self.size = int(upload.answer["size"])

    async def go_on(self, until: int, strike: Callable[[], Awaitable[None]] | None = None) -> None:
        """Read as far as `until`, or until the connection breaks; after `strike` on from there, as far as can be."""
        headers = {"Range": f"bytes={self.got}-", "If-Range": self._etag} if self._etag else {}
        self.requests += 1
        try:
            async with self._client.http.get(self._url, headers=headers) as answer:
                if answer.status in (429, 503):
                    return
                expect(answer.status == (206 if headers else 200), f"it was answered with {answer.status}")
                expect(answer.content_length == self.size - self.got, "another length than what is left was announced")
                self._etag = answer.headers["ETag"]
                await self._read(answer, until)
                if strike is not None:
                    await strike()
                    await self._read(answer, self.size)
                answer.close()  # in the middle: the rest of it is dropped
        except aiohttp.ClientError:
            pass

    async def _read(self, answer: aiohttp.ClientResponse, until: int) -> None:
        while self.got < until:
            block = await answer.content.read(min(READ_AT_ONCE, until - self.got))
            expect(bool(block), "it ended in good order, and not at its end")
            self._digest.update(block)
            self.got += len(block)

    async def to_the_end(self) -> str:
        """Read all that is left, on as many connections as it takes; returns the SHA-256 of all."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.got < self.size:
            expect(time.monotonic() < deadline, f"no more than {self.got} of {self.size} bytes came")
            await self.go_on(self.size)
            await asyncio.sleep(0.02)
        return self._digest.hexdigest()


def drawn(random_: random.Random, kinds: tuple[str, ...]) -> tuple[int, list[Break]]:
    """The size of a file, and what its download is broken by."""
    size = min(LARGEST, int(2 ** random_.uniform(16, 26)))
    places = sorted(random_.randrange(size) for _ in range(random_.randint(1, MOST_BREAKS)))
    return size, [Break(at, random_.choice(kinds), random_.choice(DRIVE_FAULTS)) for at in places]


Strike = Callable[[Break, Download], Awaitable[None]]


async def one_trial(client: Client, size: int, seed: int, breaks: list[Break], strike: Strike, totals: Totals) -> None:
    """Send a file, and take it as the breaks have it. Raises `TrialFailedError`."""
    source = PatternSource(size, seed)
    upload = await client.initiate("trial.bin", size)
    await client.send(upload, source, patience=PATIENCE_SECONDS)
    download = Download(client, upload)
    for one in breaks:
        if download.got >= one.at:
            continue
        if one.kind == "drop":
            await download.go_on(one.at)
        else:
            await strike(one, download)
        totals.breaks[one.kind] += 1
    expect(await download.to_the_end() == sha256_of(source), f"what came in parts differs; {size} bytes, {breaks}")
    await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
    totals.trials += 1
    totals.bytes += size
    totals.requests += download.requests


async def run(server: FaultyServer, client: Client, trials: int, seed: int) -> Totals:
    """So many trials by chance, from disk. Raises `TrialFailedError`."""

    async def kill() -> None:
        await asyncio.to_thread(server.kill)

    async def break_disk() -> None:
        await asyncio.to_thread(server.fail, "pread", errno=errno.EIO)

    async def strike(one: Break, download: Download) -> None:
        if one.kind == "kill":
            await download.go_on(one.at, kill)
            await asyncio.to_thread(server.restart)
        else:
            await download.go_on(one.at, break_disk)
            await asyncio.to_thread(server.mend)

    async with client:
        totals = await _tried(client, trials, seed, ("drop", "drop", "broken disk", "kill"), strike)
    await nothing_is_open(server, within=CLOSE_SECONDS)
    return totals


async def run_on_drive(site: Site, trials: int, seed: int) -> Totals:
    """So many trials by chance, from Drive. Raises `TrialFailedError`."""

    async def kill() -> None:
        await asyncio.to_thread(site.server.kill)

    async def strike(one: Break, download: Download) -> None:
        if one.kind == "kill":
            await download.go_on(one.at, kill)
            await asyncio.to_thread(site.server.restart)
            return
        await asyncio.to_thread(lambda: site.emulator.add_fault(**{**one.fault, "on": "download", "at": one.at}))
        await download.go_on(one.at + 1)
        await asyncio.to_thread(site.forgive)

    async with Client(site.server.url) as client:
        return await _tried(client, trials, seed, ("drop", "Drive's fault", "Drive's fault", "kill"), strike)


async def _tried(client: Client, trials: int, seed: int, kinds: tuple[str, ...], strike: Strike) -> Totals:
    random_, totals = random.Random(seed), Totals()
    for number in range(trials):
        size, breaks = drawn(random_, kinds)
        seed_of_file = random_.randrange(2**32)
        try:
            await one_trial(client, size, seed_of_file, breaks, strike, totals)
        except Exception as failure:
            raise TrialFailedError(
                f"download {number + 1} failed by {failure!r}; {size} bytes, seed {seed_of_file}, {breaks}"
            ) from failure
    return totals
