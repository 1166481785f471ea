"""`make trials`: kill the server with -9 at random moments of uploads; nothing may be lost, leaked or counted twice.

TRIALS (20) uploads, one after the other, by random numbers from SEED (the time; it is printed, so that a run can be
made again). The same code runs in the tests with smaller numbers.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.server_process import ROOT, ServerProcess, prepare, program_environment

MIB = 1024 * 1024
LARGEST = 96 * MIB
MOST_KILLS = 4
SETTLE_SECONDS = 30.0  # slots of connections that a kill cut off lapse in this time at the latest


class TrialFailedError(Exception):
    """A promise was broken; the message says which."""


def expect(true: bool, promise: str) -> None:
    if not true:
        raise TrialFailedError(promise)


@dataclass
class Totals:
    trials: int = 0
    kills: int = 0
    connections: int = 0
    bytes: int = 0
    kills_while: dict[str, int] = field(default_factory=dict)


class Killer:
    """Kills the server when an upload has come to one of the chosen points, and starts it again."""

    def __init__(self, server: ServerProcess, points: list[int], size: int, totals: Totals) -> None:
        self.server, self.points, self.size, self.totals = server, sorted(points), size, totals
        self.told = 0
        self.restarts: list[asyncio.Future[None]] = []

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            expect(
                message["offset"] >= self.told, f"ready at {message['offset']} after {self.told} were told as stored"
            )
        elif message["type"] == "progress":
            self.told = max(self.told, message["stored"])
        reached = self.size + 1 if message["type"] == "verifying" else self.told
        if message["type"] in ("progress", "verifying") and self.points and reached >= self.points[0]:
            self.points = [point for point in self.points if point > reached]
            self._kill(message["type"])

    def _kill(self, kind: str) -> None:
        self.server.kill()
        self.totals.kills += 1
        self.totals.kills_while[kind] = self.totals.kills_while.get(kind, 0) + 1
        self.restarts.append(asyncio.get_running_loop().run_in_executor(None, self.server.restart))


@dataclass(frozen=True)
class Plan:
    """One trial: `points` are the stored bytes at which the server dies; one beyond `size` means while it verifies."""

    size: int
    seed: int
    points: list[int]


def drawn(random_: random.Random) -> Plan:
    size = random_.randrange(1, LARGEST)
    points = [random_.randrange(0, int(size * 1.1) + 2) for _ in range(random_.randint(1, MOST_KILLS))]
    return Plan(size, random_.randrange(2**32), [min(point, size + 1) for point in points])


async def one_trial(server: ServerProcess, client: Client, plan: Plan, totals: Totals) -> None:
    """Send a file while the server is killed by the plan, and check all that must hold. Raises `TrialFailedError`."""
    size, source = plan.size, PatternSource(plan.size, plan.seed)
    digest = await asyncio.to_thread(sha256_of, source)
    before = await client.call("GET", "upload/quota-info")
    killer = Killer(server, plan.points, size, totals)
    upload = await client.initiate("trial.bin", size)
    success = await client.send(upload, source, sha256=digest, on_message=killer.hear)
    await asyncio.gather(*killer.restarts)
    expect(success["sha256"] == digest, "the digest of the server differs")
    expect(await client.digest_of_download(upload) == digest, "what comes back differs from what was sent")
    after = await client.call("GET", "upload/quota-info")
    if before["day"] == after["day"]:
        expect(after["used_bytes"] == before["used_bytes"] + size, "the day's use is not the size of the file")
    expect(after["reserved_bytes"] == before["reserved_bytes"], "bytes of a finished upload are still reserved")
    await expect_all_slots_free(client)
    totals.trials += 1
    totals.connections += upload.connections
    totals.bytes += size
    await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
    expect(not files_of(server, upload), "a deleted file still takes room on the disk")


def files_of(server: ServerProcess, upload: Upload) -> list[Path]:
    return [path for path in server.data_dir.rglob("*") if path.is_file() and upload.file_id in path.name]


async def expect_all_slots_free(client: Client) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        slots = (await client.call("GET", "system/upload-status"))["concurrency_manager"]
        free = slots["global_upload_slots_available"] == slots["global_upload_slots_total"]
        if free and not slots["active_uploads"] and not slots["queued_uploads"]:
            expect(slots["violations"] == 0, "the slots' invariants are violated")
            return
        expect(time.monotonic() < deadline, f"slots are not free: {slots}")
        await asyncio.sleep(0.1)


async def run(server: ServerProcess, trials: int, seed: int) -> Totals:
    """Run the trials against a server that has been started. Raises `TrialFailedError`."""
    random_, totals = random.Random(seed), Totals()
    async with Client(server.url) as client:
        for number in range(trials):
            await one_trial(server, client, drawn(random_), totals)
            print(f"trial {number + 1}: {totals.kills} kills so far", flush=True)
    return totals


def cleanup_finds_nothing(server: ServerProcess) -> None:
    """After all, the cleanup has nothing to mend. Raises `TrialFailedError`."""
    environment = program_environment({"DATA_DIR": str(server.data_dir), **server.overrides})
    done = subprocess.run(
        [sys.executable, "manage.py", "cleanup_uploads"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    expect(done.returncode == 0, f"the cleanup failed: {done.stdout}{done.stderr}")
    print(done.stdout.strip())


def main() -> int:
    trials = int(os.environ.get("TRIALS", "20"))
    seed = int(os.environ.get("SEED") or time.time())
    print(f"{trials} trials with SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="directdrivex-trials-") as data:
        overrides = {"SECRET_KEY": "trials", "LOG_LEVEL": "warning"}
        prepare({**overrides, "DATA_DIR": data})
        server = ServerProcess(Path(data), overrides)
        server.start()
        try:
            totals = asyncio.run(run(server, trials, seed))
            cleanup_finds_nothing(server)
        except TrialFailedError as failure:
            print(f"{server.text()[-4000:]}\nmake trials: {failure} (SEED={seed})")
            return 1
        finally:
            server.stop()
    print(
        f"{totals.trials} trials passed: {totals.kills} kills ({totals.kills_while}), "
        f"{totals.connections} connections, {totals.bytes / MIB:.0f} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
