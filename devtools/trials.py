"""`make trials`: uploads while all kinds of blows fall on the server; nothing may be lost, leaked or counted twice.

TRIALS (20) of them by random numbers from SEED (the time; it is printed, so that a run can be made again), turn by turn
on SQLite and on PostgreSQL; then long outages, each on a server of its own, side by side; then talks at random
on the upload socket, held against a model; then as many ZIPs and as many files whose download breaks again and again;
then as many uploads to Google Drive with its faults mixed by chance, as many kills in the middle of one, and as many
downloads from there that break; then a crowd on several workers while those, Redis and PostgreSQL are killed and
stopped, on local disk and on Drive, where as many workers are killed in mid-file before; then one large file through
the page in a browser to Drive, read back by rclone. SERVER is passed on. The same code runs in the tests with smaller
numbers.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from devtools import (
    blows,
    download_trials,
    drive_trials,
    fleet_trials,
    page_to_drive,
    wire_model,
    worker_kills,
    zip_trials,
)
from devtools.blows import KINDS, Blow, CutClient, Field
from devtools.client import Batch, PatternSource, Upload, sha256_of
from devtools.drive_site import Site
from devtools.faulty_server import FaultyServer
from devtools.postgres import PrivatePostgres
from devtools.promises import TrialFailedError, expect, open_files
from devtools.server_process import ROOT, prepare, program_environment

MIB = 1024 * 1024
LARGEST = 48 * MIB
MOST_FILES, MOST_BLOWS = 6, 3
TALKS_A_TRIAL = 5
SETTLE_SECONDS = 30.0  # slots of connections that a kill cut off lapse in this time at the latest
SETTINGS = {"SECRET_KEY": "trials", "LOG_LEVEL": "warning", "SLOT_LEASE_SECONDS": "6"}


@dataclass
class Totals:
    trials: int = 0
    connections: int = 0
    files: int = 0
    bytes: int = 0
    blows: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        struck = ", ".join(f"{count} × {kind}" for kind, count in self.blows.most_common())
        return f"{self.files} files, {self.bytes / MIB:.0f} MiB, {self.connections} connections; {struck or 'no blows'}"


@dataclass(frozen=True)
class Plan:
    """One trial: files of these sizes sent at once, as a batch or singly, and what befalls the server meanwhile."""

    sizes: list[int]
    seed: int
    blows: list[Blow]
    as_batch: bool = False


def drawn(random_: random.Random) -> Plan:
    sizes = [min(LARGEST, int(2 ** random_.uniform(0, 26))) for _ in range(random_.choice((1, 1, 2, 3, MOST_FILES)))]
    struck = [blows.drawn(random_, sum(sizes)) for _ in range(random_.randint(1, MOST_BLOWS))]
    return Plan(sizes, random_.randrange(2**32), struck, as_batch=random_.random() < 0.5)


class Strikes:
    """Listens to what the uploads are told, and strikes when the next point is reached; one blow at a time."""

    def __init__(self, ground: Field, plan: Plan, totals: Totals) -> None:
        self._ground, self._totals = ground, totals
        self._left = sorted(plan.blows, key=lambda blow: blow.at)
        self._codes = frozenset().union(*(KINDS[blow.kind].codes for blow in plan.blows))
        self._may_drop = any(blow.kind == "broken disk" for blow in plan.blows)
        self._total = sum(plan.sizes)
        self._told: Counter[str] = Counter()
        self._one_at_a_time = asyncio.Lock()
        self._striking: list[asyncio.Task[None]] = []

    def hear(self, upload: Upload, message: dict[str, Any]) -> None:
        key, kind = upload.file_id, message["type"]
        if kind == "ready":
            told, offset = self._told[key], message["offset"]
            # What a disk drops that fails is told by `rewind`; but a client that is cut off just then cannot be told.
            expect(offset >= told or self._may_drop, f"ready at {offset} after {told} were told as stored")
            self._told[key] = offset
        elif kind == "rewind":
            self._told[key] = message["offset"]
        elif kind == "progress":
            self._told[key] = max(self._told[key], message["stored"])
        elif kind == "error":
            expect(message["code"] in self._codes, f"{message['code']} was told, and only {set(self._codes)} may be")
        reached = self._total + 1 if kind == "verifying" else sum(self._told.values())
        while self._left and reached >= self._left[0].at:
            self._striking.append(asyncio.create_task(self._strike(self._left.pop(0))))

    async def _strike(self, blow: Blow) -> None:
        async with self._one_at_a_time:
            self._totals.blows[blow.kind] += 1
            await KINDS[blow.kind].strike(self._ground, blow)

    async def over(self) -> None:
        """Return when the last one has passed, and was mended."""
        await asyncio.gather(*self._striking)


async def one_trial(ground: Field, plan: Plan, totals: Totals) -> None:
    """Send the files while the blows fall by the plan, and check all that must hold. Raises `TrialFailedError`."""
    client, size = ground.client, sum(plan.sizes)
    sources = [PatternSource(one, plan.seed + number) for number, one in enumerate(plan.sizes)]
    digests = await asyncio.gather(*(asyncio.to_thread(sha256_of, source) for source in sources))
    before = await client.call("GET", "upload/quota-info")
    batch, uploads = await announced(client, plan)
    strikes = Strikes(ground, plan, totals)
    try:
        successes = await asyncio.gather(
            *(
                client.send(upload, source, sha256=digest, on_message=partial(strikes.hear, upload))
                for upload, source, digest in zip(uploads, sources, digests, strict=True)
            )
        )
    finally:
        await strikes.over()
    for upload, success, digest in zip(uploads, successes, digests, strict=True):
        expect(success["sha256"] == digest, "the digest of the server differs")
        expect(await client.digest_of_download(upload) == digest, "what comes back differs from what was sent")
    if batch is not None:
        state = await client.batch(batch.batch_id)
        expect((state["status"], state["total_size"]) == ("completed", size), f"the batch is {state}")
    after = await client.call("GET", "upload/quota-info")
    if before["day"] == after["day"]:
        expect(after["used_bytes"] == before["used_bytes"] + size, "the day's use is not the size of the files")
        expect(after["files"] == before["files"] + len(uploads), "the day's files are not those that were sent")
    expect(after["reserved_bytes"] == before["reserved_bytes"], "bytes of a finished upload are still reserved")
    await expect_all_slots_free(client)
    for upload in uploads:
        await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
        expect(not files_of(ground.server, upload), "a deleted file still takes room on the disk")
    expect(not open_files(ground.server), f"the server still has {open_files(ground.server)} open")
    totals.trials += 1
    totals.files += len(uploads)
    totals.connections += sum(upload.connections for upload in uploads)
    totals.bytes += size


async def announced(client: CutClient, plan: Plan) -> tuple[Batch | None, list[Upload]]:
    if plan.as_batch:
        batch = await client.initiate_batch([{"filename": "trial.bin", "size": size} for size in plan.sizes])
        return batch, batch.uploads
    return None, [await client.initiate("trial.bin", size) for size in plan.sizes]


def files_of(server: FaultyServer, upload: Upload) -> list[Path]:
    return [path for path in server.data_dir.rglob("*") if path.is_file() and upload.file_id in path.name]


async def expect_all_slots_free(client: CutClient) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        slots = (await client.call("GET", "system/upload-status"))["concurrency_manager"]
        free = slots["global_upload_slots_available"] == slots["global_upload_slots_total"]
        if free and not slots["active_uploads"] and not slots["queued_uploads"]:
            expect(slots["violations"] == 0, "the slots' invariants are violated")
            return
        expect(time.monotonic() < deadline, f"slots are not free: {slots}")
        await asyncio.sleep(0.1)


def nothing_is_left_to_mend(server: FaultyServer) -> None:
    """After all, the slots are sound and the cleanup has nothing to do. Raises `TrialFailedError`."""
    environment = program_environment({"DATA_DIR": str(server.data_dir), **server.overrides})
    for command in (["slots", "--check"], ["cleanup_uploads"]):
        done = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        expect(done.returncode == 0, f"{command} failed: {done.stdout}{done.stderr}")
    lines = done.stdout.strip().splitlines()
    expect(all(line.endswith(": 0") for line in lines), f"the cleanup had something to do: {done.stdout}")


# --- the long runs ---


@contextmanager
def ground_of(folder: Path, *, on_postgresql: bool = False, **settings: str) -> Iterator[Field]:
    """A server that was prepared and started, on SQLite or on a PostgreSQL of its own. A failure shows its log."""
    passed_on = {"SERVER": os.environ["SERVER"]} if os.environ.get("SERVER") else {}
    values = {**SETTINGS, **passed_on, **settings}
    with ExitStack() as stack:
        postgres = None
        if on_postgresql:
            postgres = PrivatePostgres()
            stack.callback(postgres.stop)
            values["DATABASE_URL"] = postgres.url
        folder.mkdir(mode=0o700)
        prepare({**values, "DATA_DIR": str(folder)})
        server = stack.enter_context(FaultyServer(folder, values))
        try:
            yield Field(server, CutClient(server.url), postgres)
        except TrialFailedError:
            print(server.text()[-4000:])
            raise


async def run(grounds: Sequence[Field], trials: int, seed: int) -> Totals:
    """Run trials by chance on these servers, turn by turn. Raises `TrialFailedError`."""
    random_, totals = random.Random(seed), Totals()
    async with AsyncExitStack() as stack:
        for ground in grounds:
            await stack.enter_async_context(ground.client)
        for number in range(trials):
            plan = drawn(random_)
            try:
                await one_trial(grounds[number % len(grounds)], plan, totals)
            except Exception as failure:
                raise TrialFailedError(f"trial {number + 1} failed by {failure!r}; {plan}") from failure
            print(f"trial {number + 1}: {', '.join(blow.kind for blow in plan.blows)}", flush=True)
    return totals


@dataclass(frozen=True)
class Outage:
    """A blow of its own length, on a server of its own."""

    name: str
    blows: tuple[Blow, ...]
    on_postgresql: bool = False
    lease_seconds: int = 6

    async def happen(self, ground: Field, totals: Totals) -> None:
        plan = Plan([24 * MIB, 40 * MIB, 1], seed=len(self.name), blows=list(self.blows), as_batch=True)
        try:
            async with ground.client:
                await one_trial(ground, plan, totals)
        except Exception as failure:
            raise TrialFailedError(f"{self.name}: failed by {failure!r}") from failure
        print(f"{self.name}: all equal", flush=True)


OUTAGES = [
    Outage("SQLite locked for 30 s", (Blow(MIB, "lost database", 30),)),
    Outage("PostgreSQL frozen for 30 s", (Blow(MIB, "lost database", 30, seed=0),), on_postgresql=True),
    Outage("PostgreSQL gone for 30 s", (Blow(MIB, "lost database", 30, seed=1),), on_postgresql=True),
    Outage("the disk broken for 30 s", (Blow(MIB, "broken disk", 30),)),
    Outage("stopped for longer than a lease lasts", (Blow(MIB, "stop", 35),), lease_seconds=30),
    Outage("cut off, and stopped for longer than the grace", (Blow(MIB, "cut", 0), Blow(MIB, "stop", 17))),
]


async def happen(outages: Sequence[Outage], grounds: Sequence[Field]) -> Totals:
    """All these outages side by side, each on its server. Raises `TrialFailedError`."""
    totals = Totals()
    await asyncio.gather(*(outage.happen(ground, totals) for outage, ground in zip(outages, grounds, strict=True)))
    return totals


def main() -> int:
    trials = int(os.environ.get("TRIALS", "20"))
    seed = int(os.environ.get("SEED") or time.time())
    print(f"{trials} trials with SEED={seed}", flush=True)
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="directdrivex-trials-") as data:
            with ground_of(Path(data, "sqlite")) as one, ground_of(Path(data, "pg"), on_postgresql=True) as other:
                totals = asyncio.run(run([one, other], trials, seed))
                nothing_is_left_to_mend(one.server)
                nothing_is_left_to_mend(other.server)
            print(f"{totals.trials} trials passed, all equal: {totals}", flush=True)
            with ExitStack() as stack:
                grounds = [
                    stack.enter_context(
                        ground_of(
                            Path(data, str(number)),
                            on_postgresql=outage.on_postgresql,
                            SLOT_LEASE_SECONDS=str(outage.lease_seconds),
                        )
                    )
                    for number, outage in enumerate(OUTAGES)
                ]
                longer = asyncio.run(happen(OUTAGES, grounds))
                for ground in grounds:
                    nothing_is_left_to_mend(ground.server)
            print(f"{longer.trials} long outages passed, all equal: {longer}")
            talks = TALKS_A_TRIAL * trials
            with ground_of(Path(data, "talks"), on_postgresql=False, **wire_model.ENVIRONMENT) as ground:
                wire_model.compare(ground.server, examples=talks, steps=30, with_seed=seed)
            print(f"{talks} talks on the upload socket went as the model of the wire has it", flush=True)
            with ground_of(Path(data, "zips")) as ground:
                zips = asyncio.run(zip_trials.run(ground.server, ground.client, trials, seed))
                nothing_is_left_to_mend(ground.server)
            print(f"{zips.trials} ZIPs broken again and again, all equal: {zips}", flush=True)
            with ground_of(Path(data, "downloads")) as ground:
                taken = asyncio.run(download_trials.run(ground.server, ground.client, trials, seed))
                nothing_is_left_to_mend(ground.server)
            print(f"{taken.trials} downloads broken again and again, all equal: {taken}", flush=True)
            site = Site(Path(data, "drive"), accounts=2)
            try:
                mixed = asyncio.run(drive_trials.run(site, trials, seed))
                print(f"{mixed.trials} trials on Drive passed: {mixed}", flush=True)
                killed = asyncio.run(drive_trials.kill_again_and_again(site, trials, seed))
                print(f"{killed.trials} kills in mid-file on Drive passed, all equal: {killed}", flush=True)
                taken = asyncio.run(download_trials.run_on_drive(site, trials, seed))
                print(f"{taken.trials} downloads from Drive broken again and again, all equal: {taken}", flush=True)
            finally:
                site.stop()
            with fleet_trials.fleet_of(Path(data, "fleet"), fleet_trials.LONG) as fleet:
                crowd = asyncio.run(fleet_trials.run(fleet, seed))
                print(f"a crowd on {fleet.size.workers} workers came to its end, all equal: {crowd}", flush=True)
            with fleet_trials.fleet_of(Path(data, "drive-fleet"), fleet_trials.ON_DRIVE, on_drive=True) as fleet:
                killed_workers = asyncio.run(worker_kills.run(fleet, trials, seed))
                print(
                    f"{killed_workers.kills} workers killed in mid-file on Drive, all equal: {killed_workers}",
                    flush=True,
                )
                crowd = asyncio.run(fleet_trials.run(fleet, seed))
                print(f"a crowd on {fleet.size.workers} workers with Drive, all equal: {crowd}", flush=True)
            journey = page_to_drive.run(Path(data, "page"), page_to_drive.LARGE_BYTES, seed)
            print(f"a file went through the page to Drive and came back equal by rclone: {journey}", flush=True)
    except (TrialFailedError, AssertionError) as failure:
        print(f"make trials: {failure} (SEED={seed})")
        return 1
    print(f"{trials} trials with SEED={seed}: all equal, in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
