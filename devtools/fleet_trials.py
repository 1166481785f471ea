"""Crowds on several workers, while workers, Redis and PostgreSQL are killed, stopped and started again.

No more uploads than may ever hold a slot, as Redis says and, apart from it, as the workers' own logs say; every upload
comes to its end, equal; nobody keeps a slot or a reservation. Part of `make trials`; the same code runs in the tests
with small numbers.
"""

import asyncio
import contextlib
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
import redis.asyncio

from devtools.client import Client
from devtools.emulator_process import FILES, EmulatorProcess
from devtools.load.__main__ import run as run_people
from devtools.load.plan import Options
from devtools.load.tally import Tally, percentiles
from devtools.postgres import PrivatePostgres
from devtools.promises import TrialFailedError, expect
from devtools.redis import PrivateRedis
from devtools.server_process import ROOT, ServerProcess, prepare, program_environment
from uploads.slots.hold import DEADLINE_MARGIN_SECONDS
from uploads.slots.scripts import HASH_TAG

MIB = 1024 * 1024
LEASE_SECONDS = 6
# By its own clock a holder stops so long after its last renewal, well before its lease can be another's.
HELD_SECONDS = max(LEASE_SECONDS - DEADLINE_MARGIN_SECONDS, LEASE_SECONDS / 2)
SAMPLE_SECONDS = 0.05
CALM_SECONDS = 60.0  # after the last blow: slots of workers that are gone lapse, and nothing else happens

SLOT_LINE = re.compile(r"^(\S+Z) .*?slot_(held|let_go)\b(.*)$", re.MULTILINE)
VALUE = re.compile(r"(\w+)=(\S+)")


@dataclass(frozen=True)
class Size:
    """How large a trial is: sizes in bytes, `pause` the seconds between two blows, drawn between both.

    `slow_people` of the people (a share) send at `slow_rate` bytes a second, the others as fast as it goes.
    """

    uploads: int
    people: int
    smallest: int
    largest: int
    workers: int = 4
    slots: int = 20
    slots_a_person: int = 5
    pause: tuple[float, float] = (3.0, 8.0)
    slow_people: float = 0.1
    slow_rate: float = 20.0 * MIB
    patience_seconds: float = 3600.0


LONG = Size(200, 30, 5 * MIB, 2048 * MIB)
ON_DRIVE = Size(80, 12, 64 * 1024, 48 * MIB, workers=4, slots=8, slots_a_person=3, slow_rate=4.0 * MIB)
SHORT = Size(
    40,
    8,
    64 * 1024,
    12 * MIB,
    workers=2,
    slots=6,
    slots_a_person=2,
    pause=(0.3, 1.0),
    slow_people=0.5,
    slow_rate=1.0 * MIB,
    patience_seconds=240,
)


@dataclass
class Totals:
    blows: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    most_in_redis: int = 0
    most_in_logs: int = 0
    tally: Tally = field(default_factory=Tally)

    def __str__(self) -> str:
        tally = self.tally
        waits = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in percentiles(tally.waits).items())
        return (
            f"{tally.equal} uploads equal and {tally.cancelled} cancelled as planned, {tally.bytes / MIB:.0f} MiB in "
            f"{tally.elapsed:.0f} s, {tally.connections} connections; "
            f"{', '.join(f'{count} × {kind}' for kind, count in self.blows.most_common())}; "
            f"at most {self.most_in_redis} slots in {self.samples} looks at Redis and {self.most_in_logs} by the logs; "
            f"waits {waits}"
        )


@dataclass(frozen=True)
class Gone:
    """A worker held nothing any longer from `at` on, whatever its log says: it was killed, or stopped for too long."""

    worker: int
    at: float


class Fleet:
    """Several workers of one program on a PostgreSQL and a Redis of their own, and what can befall them."""

    def __init__(self, folder: Path, size: Size, *, on_drive: bool = False) -> None:
        self.size = size
        self.drive = EmulatorProcess(folder / "drive") if on_drive else None
        if self.drive:
            self.drive.start()
        self.postgres, self.redis = PrivatePostgres(), PrivateRedis()
        self.environment = {
            "SECRET_KEY": "fleet",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "WORKERS": str(size.workers),
            "SLOT_LEASE_SECONDS": str(LEASE_SECONDS),
            "MAX_CONCURRENT_UPLOADS": str(size.slots),
            "MAX_CONCURRENT_UPLOADS_PER_USER": str(size.slots_a_person),
            "LOG_LEVEL": "info",
            **(self.drive.settings if self.drive else {}),
        }
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        prepare({**self.environment, "DATA_DIR": str(folder)})
        self.server = ServerProcess(folder, self.environment)
        self.server.start()
        self.gone: list[Gone] = []
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blows")

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.server.pid).children()

    def command(self, *words: str) -> str:
        """What one of the program's own commands prints. Raises `TrialFailedError` where it ends with a fault."""
        environment = program_environment({"DATA_DIR": str(self.folder), **self.environment, "LOG_LEVEL": "warning"})
        done = subprocess.run(
            [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        expect(done.returncode == 0, f"{words[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def end(self) -> None:
        self._threads.shutdown()
        for part in (self.server, self.redis, self.postgres, self.drive):
            if part is not None:
                part.stop()

    def left(self) -> int:
        """How many files of uploads that were deleted still take room."""
        if self.drive:
            return len(self.drive.files(FILES, fields="nextPageToken,files(id)"))
        return sum(path.is_file() and path.stat().st_size > 0 for path in self.folder.joinpath("storage").rglob("*"))

    # --- what befalls them; each returns when it is over ---

    async def kill_a_worker(self, random_: random.Random) -> None:
        if workers := self.workers():
            victim = random_.choice(workers)
            self.gone.append(Gone(victim.pid, time.time()))
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()

    async def stop_a_worker(self, random_: random.Random) -> None:
        """For longer than its leases last: others go on with its uploads, and it must leave them alone afterwards."""
        if workers := self.workers():
            victim = random_.choice(workers)
            self.gone.append(Gone(victim.pid, time.time() + HELD_SECONDS))
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGSTOP)
                try:
                    await asyncio.sleep(LEASE_SECONDS + random_.uniform(1, 4))
                finally:
                    victim.send_signal(signal.SIGCONT)

    async def kill_redis(self, random_: random.Random) -> None:
        self.redis.kill()
        await asyncio.sleep(random_.uniform(0, 2))
        await self._apart(self.redis.revive)

    async def restart_postgresql(self, random_: random.Random) -> None:
        await self._apart(self.postgres.halt)
        await asyncio.sleep(random_.uniform(0, 2))
        await self._apart(self.postgres.revive)

    async def _apart(self, work: Callable[[], object]) -> None:
        """In a thread that the crowd's digests, which take minutes, cannot keep waiting."""
        await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def blows(self) -> dict[str, Callable[[random.Random], Awaitable[None]]]:
        return {
            "worker killed": self.kill_a_worker,
            "worker stopped": self.stop_a_worker,
            "Redis killed": self.kill_redis,
            "PostgreSQL restarted": self.restart_postgresql,
        }


async def strike(fleet: Fleet, random_: random.Random, totals: Totals) -> None:
    """One blow after another, each kind once before any comes twice, until cancelled."""
    while True:
        kinds = list(fleet.blows().items())
        random_.shuffle(kinds)
        for kind, blow in kinds:
            await asyncio.sleep(random_.uniform(*fleet.size.pause))
            totals.blows[kind] += 1
            striking = asyncio.ensure_future(blow(random_))
            try:
                await asyncio.shield(striking)
            except asyncio.CancelledError:
                await striking  # nothing stays dead or stopped
                raise


async def look_into_redis(fleet: Fleet, totals: Totals) -> None:
    """Read how many hold a slot, in all and of each person, until cancelled. Raises `TrialFailedError`."""
    size = fleet.size
    async with redis.asyncio.Redis.from_url(fleet.redis.url) as client:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            try:
                async with client.pipeline(transaction=True) as both:
                    both.zcard(f"{HASH_TAG}:leases")
                    both.hvals(f"{HASH_TAG}:granted")
                    leases, granted = await both.execute()
            except (redis.RedisError, OSError):
                continue  # it was killed
            totals.samples += 1
            totals.most_in_redis = max(totals.most_in_redis, leases)
            expect(leases <= size.slots, f"Redis has {leases} leases, and {size.slots} are allowed")
            most = max(map(int, granted), default=0)
            expect(most <= size.slots_a_person, f"one person has {most} slots, and {size.slots_a_person} are allowed")


def most_held(log: str, gone: list[Gone]) -> int:
    """How many uploads held slots at once at most, as the workers' logs have it."""
    # At the same moment, what ends goes first: the worker says so before it lets go, and after it was given.
    events: list[tuple[float, int, str, int, str, int]] = [(each.at, 0, "gone", each.worker, "", 0) for each in gone]
    for moment, kind, rest in SLOT_LINE.findall(log):
        values = dict(VALUE.findall(rest))
        at = datetime.fromisoformat(moment).timestamp()
        order = 1 if kind == "let_go" else 2
        events.append((at, order, kind, int(values["worker"]), values["upload"], int(values["fence"])))
    held: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    newest: dict[str, int] = {}
    most = 0
    for _at, _order, kind, worker, upload, fence in sorted(events):
        match kind:
            case "gone":
                held[worker].clear()
            case "let_go":
                held[worker].discard((upload, fence))
            case "held" if fence > newest.get(upload, 0):
                # Who had it before has lost it to another connection, and may not have heard of that.
                for some in held.values():
                    some.discard((upload, newest.get(upload, 0)))
                held[worker].add((upload, fence))
                newest[upload] = fence
        most = max(most, sum(map(len, held.values())))
    return most


async def run(fleet: Fleet, seed: int) -> Totals:
    """Let the crowd come while the blows fall, and check all that must hold. Raises `TrialFailedError`."""
    size, totals, random_ = fleet.size, Totals(), random.Random(seed)
    options = Options(
        url=fleet.server.url,
        uploads=size.uploads,
        people=size.people,
        at_once=size.slots_a_person + 2,
        smallest=size.smallest,
        largest=size.largest,
        slow_people=size.slow_people,
        slow_rate=size.slow_rate,
        downloads=1.0,
        seconds=size.patience_seconds,
        seed=seed,
    )
    looking = asyncio.create_task(look_into_redis(fleet, totals))
    striking = asyncio.create_task(strike(fleet, random_, totals))
    crowd = asyncio.create_task(run_people(options, totals.tally))
    try:
        await asyncio.wait({looking, striking, crowd}, return_when=asyncio.FIRST_COMPLETED)
        await _over(striking)
        if crowd.done():
            await _settled(fleet)
        await _over(looking)
    finally:
        for task in (looking, striking, crowd):
            task.cancel()
        await asyncio.gather(looking, striking, crowd, return_exceptions=True)
    crowd.result()
    report = totals.tally.report(size.uploads)
    expect(not report["faults"], f"{len(report['faults'])} uploads came to no good end: {report['faults'][:5]}")
    totals.most_in_logs = most_held(fleet.server.text(), fleet.gone)
    expect(totals.most_in_logs <= size.slots, f"by the logs {totals.most_in_logs} uploads had a slot at once")
    expect(totals.most_in_logs > 0, "the logs say nothing of slots")
    expect(not (left := fleet.left()), f"{left} files of deleted uploads still take room")
    fleet.command("slots", "--check")
    cleaned = fleet.command("cleanup_uploads")
    expect(all(line.endswith(": 0") for line in cleaned.splitlines()), f"the cleanup had something to do: {cleaned}")
    return totals


async def _over(task: asyncio.Task[None]) -> None:
    """End it; what it failed by is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _settled(fleet: Fleet) -> None:
    """Return when nobody has a slot or a place any longer, and Redis has recovered."""
    deadline = time.monotonic() + CALM_SECONDS
    async with Client(fleet.server.url) as client:
        while True:
            slots = (await client.call("GET", "system/upload-status"))["concurrency_manager"]
            left = slots["active_uploads"] + slots["queued_uploads"]
            if slots["healthy"] and not left:
                expect(slots["violations"] == 0, "the slots' invariants are violated")
                break
            expect(time.monotonic() < deadline, f"{left} uploads that are over still have a slot or a place: {slots}")
            await asyncio.sleep(0.2)
    await asyncio.sleep(LEASE_SECONDS)  # in which a Redis that was just restarted hears of those that it does not know


@contextlib.contextmanager
def fleet_of(folder: Path, size: Size, *, on_drive: bool = False) -> Iterator[Fleet]:
    """A fleet that ends with the block; a failure shows the end of its log."""
    fleet = Fleet(folder, size, on_drive=on_drive)
    try:
        yield fleet
    except TrialFailedError:
        print(fleet.server.text()[-6000:])
        raise
    finally:
        fleet.end()
