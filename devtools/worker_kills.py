"""Files to Google Drive whose worker is killed anywhere in the middle, and with which another worker goes on.

Each ends equal and once on Drive, and little is sent again. Part of `make trials`; the same code runs in the tests with
small numbers.
"""

import asyncio
import os
import random
import re
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.fleet_trials import Fleet, Gone
from devtools.promises import expect

MIB = 1024 * 1024
SMALLEST, LARGEST = 4 * MIB, 24 * MIB
RATE = 12 * MIB  # of the link to Drive, so that there is a middle
LONGEST_CHUNK = 16 * MIB
CHECKPOINT = "SELECT hashed_bytes FROM uploads_driveupload WHERE key = %s"


@dataclass
class Totals:
    kills: int = 0
    files: int = 0
    bytes: int = 0
    sent_again: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        again = f", at most {max(self.sent_again) / MIB:.1f} MiB sent again after one" if self.sent_again else ""
        return f"{self.files} files, {self.bytes / MIB:.0f} MiB, {self.kills} workers killed{again}"


class Killing:
    """Kills the worker that has an upload once `at` bytes of it were received, and judges where it goes on."""

    def __init__(self, fleet: Fleet, upload: Upload, at: int, totals: Totals) -> None:
        self._fleet, self._upload, self._at, self._totals = fleet, upload, at, totals
        self._received = 0
        self._kill: asyncio.Task[int] | None = None

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "progress" and self._kill is None:
            self._received = message["received"]
            if self._received >= self._at:
                self._kill = asyncio.create_task(asyncio.to_thread(self._strike))

    def _strike(self) -> int:
        """The checkpoint that the killed worker left in the row."""
        holders = re.findall(rf"slot_held\b.* upload={self._upload.file_id} worker=(\d+)", self._fleet.server.text())
        worker = int(holders[-1])
        self._fleet.gone.append(Gone(worker, time.time()))
        os.kill(worker, signal.SIGKILL)
        self._totals.kills += 1
        with psycopg.connect(self._fleet.postgres.url) as connection:
            row = connection.execute(CHECKPOINT, [self._upload.file_id]).fetchone()
        return int(row[0]) if row else 0

    async def judge(self) -> None:
        """Hold where it went on against the checkpoint. Raises `TrialFailedError`."""
        expect(self._kill is not None, "nobody was killed")
        assert self._kill is not None
        checkpoint = await self._kill
        for ready in self._upload.of_type("ready")[1:2]:
            expect(
                ready["offset"] >= checkpoint - LONGEST_CHUNK, f"on at {ready['offset']} after {checkpoint} were kept"
            )
            self._totals.sent_again.append(max(0, self._received - ready["offset"]))


async def run(fleet: Fleet, times: int, seed: int) -> Totals:
    """So many kills, each in a file of its own. Raises `TrialFailedError`."""
    assert fleet.drive
    random_, totals = random.Random(seed), Totals()
    fleet.drive.add_fault("slow", rate=RATE, times=-1)
    async with Client(fleet.server.url) as client:
        for number in range(times):
            source = PatternSource(random_.randrange(SMALLEST, LARGEST), seed + number)
            upload = await client.initiate("film.mkv", source.size)
            killing = Killing(fleet, upload, random_.randrange(source.size), totals)
            success = await client.send(upload, source, on_message=killing.hear)
            await killing.judge()
            await is_there_once(fleet, client, upload, success, sha256_of(source))
            totals.files, totals.bytes = totals.files + 1, totals.bytes + source.size
    fleet.drive.clear_faults()
    return totals


async def is_there_once(fleet: Fleet, client: Client, upload: Upload, success: dict[str, Any], sha256: str) -> None:
    assert fleet.drive
    found = fleet.drive.files(f"appProperties has {{ key='key' and value='{upload.file_id}' }}")
    expect(len(found) == 1, f"the file is on Drive {len(found)} times")
    expect(found[0]["sha256Checksum"] == success["sha256"] == sha256, "what is on Drive differs from what was sent")
    expect(await client.digest_of_download(upload, patience=30) == sha256, "what comes back differs from what was sent")
    await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
