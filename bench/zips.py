"""The ZIP of a thousand files by one plain client, beside a single file of about its size from the same server."""

import asyncio
import statistics
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from bench import raw
from bench.measure import FAILURES, MIB, Run, Series, timed, warm_memory, work_folder
from bench.peers import OurServer
from bench.scale import Figure
from devtools.client import Client, PatternSource

FILES, EACH = 1000, MIB
OURS, SINGLE = "ZIP of 1,000 files of 1 MiB", "the single file beside the ZIP"
FIRST_BYTE = "first byte of the ZIP"
FIRST_BYTES = 20
AT_ONCE = 5


def measure(home: Path, file: Path, runs: int) -> Iterable[Series | Figure]:
    zipped, single = Series(OURS), Series(SINGLE)
    first_byte = "no figure"
    with work_folder(home) as folder:
        server = OurServer(folder)
        try:
            batch_id = asyncio.run(send_batch(server))
            ours = f"/api/v1/batch/download-zip/{batch_id}", zip_size(server, batch_id)
            beside = str(raw.directdrivex(server.port, file)["value"]), file.stat().st_size
            raw.download(server.port, *ours)  # from now on its files are in the page cache, as the single one is
            for number in range(runs):
                for series, (path, size) in ((zipped, ours), (single, beside)):
                    warm_memory(home, 64 * MIB)
                    series.add(number, partial(run_once, server, path, size))
            seconds = sorted(raw.first_byte(server.port, ours[0]) for _ in range(FIRST_BYTES))
            first_byte = f"{statistics.median(seconds) * 1e3:.0f} ms, at most {seconds[-1] * 1e3:.0f} ms"
        except FAILURES as error:
            zipped.fail(error)
        finally:
            server.stop()
    return [zipped, single, Figure(FIRST_BYTE, first_byte)]


def run_once(server: OurServer, path: str, size: int) -> Run:
    return timed(server.pid, size, lambda: raw.download(server.port, path, size))


def zip_size(server: OurServer, batch_id: str) -> int:
    return int(raw.request(server.port, "HEAD", f"/api/v1/batch/download-zip/{batch_id}", {})["content-length"])


async def send_batch(server: OurServer) -> str:
    """A batch of FILES files, a few sent at a time; returns its id."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with Client(f"http://127.0.0.1:{server.port}") as client:
        batch = await client.initiate_batch([{"filename": f"{n}.bin", "size": EACH} for n in range(FILES)])

        async def send(number: int) -> None:
            async with gate:
                await client.send(batch.uploads[number], PatternSource(EACH, number))

        await asyncio.gather(*map(send, range(FILES)))
    return batch.batch_id
