"""What an honest upload still gets beside each kind of hostile client: its rate against that of the same one alone."""

import asyncio
import statistics
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from bench.measure import FAILURES, MIB, warm_memory, work_folder
from bench.peers import OurServer
from bench.scale import Figure
from devtools.client import Client, PatternSource
from devtools.rude import HONEST_ADDRESS, RUDE, company

BESIDE = "an honest upload beside a hostile client"
SIZE = 512 * MIB  # so long that it is their share that counts, and not what they had ahead
# Those of every installation but one on a developer's machine.
RATES = {"RATE_INITIATE_PER_MINUTE": "600", "RATE_CONNECT_PER_MINUTE": "600", "RATE_REQUESTS_PER_MINUTE": "6000"}
SETTLE_SECONDS = 2.0
ROUNDS = 3


async def seconds_of(url: str, kind: str | None, folder: Path) -> float:
    """Seconds that an honest upload takes, beside a client that is rude in this way or alone."""
    warm_memory(folder, SIZE)
    async with Client(url, address=HONEST_ADDRESS) as honest:
        upload = await honest.initiate("honest.bin", SIZE)
        with company(kind, url, upload.file_id) if kind else nullcontext() as rude:
            await asyncio.sleep(SETTLE_SECONDS)
            began = time.perf_counter()
            await honest.send(upload, PatternSource(SIZE))
            seconds = time.perf_counter() - began
            if rude is not None and rude.poll() is not None:
                raise RuntimeError("the rude client gave up")
            return seconds


def beside(folder: Path, kind: str) -> float:
    """The honest rate in this company over the rate alone: the median of turns that alternate."""
    server = OurServer(folder, **RATES)
    try:
        url = f"http://127.0.0.1:{server.port}"
        shares = []
        for _ in range(ROUNDS):
            alone = asyncio.run(seconds_of(url, None, folder))
            shares.append(alone / asyncio.run(seconds_of(url, kind, folder)))
        return statistics.median(shares)
    finally:
        server.stop()


def measure(home: Path, file: Path, runs: int) -> Iterable[Figure]:
    """One figure: each kind with what is left to the honest one."""
    parts = []
    for kind in RUDE:
        with work_folder(home) as folder:
            try:
                parts.append(f"{kind}: {beside(folder, kind):.2f} ×")
            except FAILURES as failure:
                parts.append(f"{kind}: no figure: {' '.join(str(failure).split())[:200]}")
        print(parts[-1], flush=True)
    yield Figure(BESIDE, "; ".join(parts))
