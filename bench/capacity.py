"""`python -m bench.capacity`: what one upload costs each part of a whole installation, for docs/capacity.md.

nginx with TLS, one worker, PostgreSQL and Redis, each private and as `deploy/` has them, but that PostgreSQL does not
sync. CAPACITY_UPLOADS (300) small uploads tell what an upload costs, a few large ones what its bytes cost, and a crowd
of all sizes whether the two figures together say what that costs. CAPACITY_WAITING (2000) sockets that wait in line
tell what waiting costs; 0 leaves that out.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from bench.peers import OurServer
from devtools.client import Client, Upload
from devtools.load.__main__ import run
from devtools.load.plan import KIB, MIB, Options
from devtools.load.tally import Tally
from devtools.nginx import PrivateNginx
from devtools.postgres import PrivatePostgres
from devtools.processes import cpu_seconds_of, memory_of
from devtools.redis import PrivateRedis

UPLOADS = int(os.environ.get("CAPACITY_UPLOADS", "300"))
GIB = 1024 * MIB
LARGE, LARGE_UPLOADS = 256 * MIB, 8
CROWD, LARGEST_OF_CROWD = 120, 64 * MIB
WAITING, PER_PERSON = int(os.environ.get("CAPACITY_WAITING", "2000")), 20
WAIT_SECONDS = 20.0
SETTINGS = {
    "ENVIRONMENT": "staging",
    "ENABLE_UPLOAD_LIMITS": "false",
    "TRUSTED_PROXIES": "127.0.0.1",
    "MAX_CONCURRENT_UPLOADS_PER_USER": "50",
    "RATE_INITIATE_PER_MINUTE": "100000",
    "RATE_CONNECT_PER_MINUTE": "100000",
}


@dataclass(frozen=True)
class Reading:
    """Processor seconds of each part, statements and transactions of PostgreSQL, calls of Redis by name."""

    cpu: dict[str, float]
    memory: dict[str, int]
    statements: int
    transactions: int
    calls: dict[str, int]
    redis_seconds: float
    at: float


class Installation:
    """All parts, running. `pids` has each part's process by its name."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        self.postgres = PrivatePostgres(shared_preload_libraries="pg_stat_statements")
        stack.callback(self.postgres.stop)
        self.redis = PrivateRedis()
        stack.callback(self.redis.stop)
        stores = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
        self.program = OurServer(folder, **SETTINGS, **stores, **settings)
        stack.callback(self.program.stop)
        self.nginx = PrivateNginx([self.program.port])
        stack.callback(self.nginx.stop)
        self.pids = {
            "program": self.program.pid,
            "nginx": self.nginx.pid,
            "PostgreSQL": self.postgres.pid,
            "Redis": self.redis.pid,
        }
        self._sql = stack.enter_context(psycopg.connect(self.postgres.url, autocommit=True))
        self._sql.execute("CREATE EXTENSION pg_stat_statements")
        self._calls: Any = stack.enter_context(redis.Redis.from_url(self.redis.url, decode_responses=True))

    def _one(self, query: str) -> int:
        row = self._sql.execute(query).fetchone()
        assert row
        return int(row[0] or 0)

    def read(self) -> Reading:
        commands = self._calls.info("commandstats")
        return Reading(
            {name: cpu_seconds_of(pid) for name, pid in self.pids.items()},
            {name: memory_of(pid) for name, pid in self.pids.items()},
            self._one("SELECT sum(calls) FROM pg_stat_statements WHERE query !~ '^(BEGIN|COMMIT|SAVEPOINT|RELEASE)'"),
            self._one("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"),
            {name.removeprefix("cmdstat_"): int(facts["calls"]) for name, facts in commands.items()},
            sum(float(facts["usec"]) for facts in commands.values()) / 1e6,
            time.monotonic(),
        )


@contextmanager
def installation(**settings: str) -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="directdrivex-capacity-") as folder, ExitStack() as stack:
        yield Installation(Path(folder), stack, **settings)


def spent(before: Reading, after: Reading) -> dict[str, float]:
    """Processor seconds of each part between two readings."""
    return {name: seconds - before.cpu[name] for name, seconds in after.cpu.items()}


def show(title: str, before: Reading, after: Reading, count: float, unit: str) -> None:
    """What lay between two readings, for each of `count` units."""
    print(f"\n{title}: per {unit}")
    for name, seconds in spent(before, after).items():
        print(f"  {name:11} {1000 * seconds / count:9.2f} ms of a processor")
    print(f"  PostgreSQL  {(after.statements - before.statements) / count:9.2f} statements")
    print(f"              {(after.transactions - before.transactions) / count:9.2f} transactions")
    calls = {name: after.calls[name] - before.calls.get(name, 0) for name in after.calls}
    busiest = sorted(calls.items(), key=lambda item: -item[1])[:5]
    print(f"  Redis       {1000 * (after.redis_seconds - before.redis_seconds) / count:9.3f} ms in commands")
    print(f"              {', '.join(f'{calls / count:.2f} {name}' for name, calls in busiest if calls > 0)}")


def load(place: Installation, **options: Any) -> Tally:
    """Drive uploads straight on; raises `RuntimeError` for any that is not equal."""
    tally = Tally()
    chosen = {"slow_people": 0.0, "disconnects": 0.0, "pauses": 0.0, "cancels": 0.0, "downloads": 0.0, "keep": True}
    planned = Options(place.nginx.url, trusting=place.nginx.trusting(), **{**chosen, **options})
    asyncio.run(run(planned, tally))
    if tally.equal != planned.uploads:
        raise RuntimeError(f"{tally.equal} of {planned.uploads} are equal: {tally.faults[:3]}")
    return tally


def uploads(place: Installation) -> None:
    """What an upload costs, what its bytes cost, and whether that adds up to what a crowd costs."""
    small: dict[str, Any] = {"people": 20, "arrive_within": 0.1, "smallest": 4 * KIB, "largest": 4 * KIB}
    load(place, uploads=40, seed=2, **small)
    before = place.read()
    tally = load(place, uploads=UPLOADS, seed=3, **small)
    after = place.read()
    show("small uploads", before, after, UPLOADS, "upload")
    print(f"  {UPLOADS / tally.elapsed:.1f} uploads/s")
    each = {name: seconds / UPLOADS for name, seconds in spent(before, after).items()}
    before = place.read()
    tally = load(place, uploads=LARGE_UPLOADS, people=4, arrive_within=0.1, smallest=LARGE, largest=LARGE, seed=4)
    after, gib = place.read(), LARGE * LARGE_UPLOADS / GIB
    show("large uploads", before, after, gib, "GiB")
    print(f"  {tally.bytes / tally.elapsed / MIB:.0f} MiB/s")
    per_gib = {name: (seconds - LARGE_UPLOADS * each[name]) / gib for name, seconds in spent(before, after).items()}
    check(place, each, per_gib)


def check(place: Installation, each: dict[str, float], per_gib: dict[str, float]) -> None:
    """Hold what the two figures make of a crowd against what it costs."""
    before = place.read()
    crowd = {"people": 20, "arrive_within": 0.1, "smallest": 4 * KIB, "largest": LARGEST_OF_CROWD}
    tally = load(place, uploads=CROWD, seed=5, **crowd)
    print(
        f"\n{CROWD} uploads of all sizes, {tally.bytes / MIB:.0f} MiB: seconds of a processor, calculated and measured"
    )
    for name, measured in spent(before, place.read()).items():
        calculated = CROWD * each[name] + tally.bytes / GIB * per_gib[name]
        print(f"  {name:11} {calculated:6.2f} {measured:6.2f}   {measured / calculated:.2f} ×")


async def wait_in_line(place: Installation) -> None:
    """One upload has the only slot, the others wait."""
    async with ExitStackOfPeople(place) as people:
        first, _ = await people.connect(0)
        await until(first, "ready")
        empty = place.read()
        waiting = [await people.connect(1 + number // PER_PERSON) for number in range(WAITING)]
        for socket, _upload in waiting:
            await until(socket, "queued")
        await asyncio.sleep(2)
        full = place.read()
        print(f"\nwaiting sockets: memory of each of {WAITING}")
        for name in ("program", "nginx"):
            print(f"  {name:11} {(full.memory[name] - empty.memory[name]) / WAITING / KIB:9.0f} KiB")
        await asyncio.sleep(WAIT_SECONDS)
        later = place.read()
        show(f"{WAITING} waiting sockets", full, later, later.at - full.at, "second")


async def until(socket: Any, kind: str) -> None:
    async for message in socket:
        if f'"type":"{kind}"' in str(message).replace(" ", ""):
            return


class ExitStackOfPeople:
    """Clients by number, each from an address of its own."""

    def __init__(self, place: Installation) -> None:
        self._place, self._clients, self._sockets = place, dict[int, Client](), list[Any]()

    async def __aenter__(self) -> "ExitStackOfPeople":
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(socket.close() for socket in self._sockets))
        await asyncio.gather(*(client.__aexit__() for client in self._clients.values()))

    async def connect(self, number: int) -> tuple[Any, Upload]:
        if number not in self._clients:
            address, trusting = f"127.2.0.{number + 1}", self._place.nginx.trusting()
            self._clients[number] = Client(self._place.nginx.url, address=address, trusting=trusting)
            await self._clients[number].__aenter__()
        client = self._clients[number]
        upload = await client.initiate("waiting.bin", MIB)
        socket = await client.connect(upload)
        self._sockets.append(socket)
        await socket.send(f'{{"type": "start", "token": "{upload.token}"}}')
        return socket, upload


def main() -> int:
    with installation(MAX_CONCURRENT_UPLOADS="50", UPLOAD_BUFFER_BYTES=str(50 * 8 * MIB)) as place:
        memory = place.read().memory
        print("memory before any upload: " + ", ".join(f"{name} {size / MIB:.0f} MiB" for name, size in memory.items()))
        uploads(place)
    if WAITING:
        with installation(MAX_CONCURRENT_UPLOADS="1", MAX_QUEUED_UPLOADS="2000", UPLOAD_IDLE_SECONDS="3600") as place:
            asyncio.run(wait_in_line(place))
    return 0


if __name__ == "__main__":
    sys.exit(main())
