"""What many uploads at once cost: memory of sockets, processor time of a hundred uploads, time of an initiation."""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from bench import raw
from bench.measure import FAILURES, MIB, make_file, work_folder
from bench.peers import OurServer
from devtools.processes import cpu_seconds_of, memory_of
from devtools.redis import PrivateRedis
from quotas.rules import SlotLimits
from uploads.slots.admission import NodeMemory
from uploads.slots.manager import Claim, SlotManager
from uploads.slots.memory import MemorySlotManager
from uploads.slots.redis import Caller, RedisSlotManager
from uploads.slots.store import Store

MANY = 100
QUEUED = 500
PER_PERSON = 50  # places in the line that one person may hold
RUNNING = 20
INITIATIONS = 300
SETTLE_SECONDS = 1.0
TURNS = 300
WINDOW = 8 * MIB
PART = 32 * MIB
CHUNK, RATE = MIB, 5e6
SLOW_STORAGE = ("-m", "bench.servers.slow_storage")
ROOMY = {"MAX_CONCURRENT_UPLOADS": "100", "MAX_CONCURRENT_UPLOADS_PER_USER": "100"}


@dataclass(frozen=True)
class Figure:
    """One number for the table of targets, or why there is none."""

    name: str
    text: str


WORKERS, LANES, RATE_SECONDS = 2, 16, 5.0
SOCKET, BUSY = "memory of a queued socket", "memory of a busy upload"
GROWTH, INITIATION = "processor time at 100 uploads", "initiation with 20 running"
SLOTS, REDIS_SLOTS = "slots with 10,000 waiting", "slots in Redis with 10,000 waiting"
REDIS_RATE = "slots in Redis a second"


class Waiting:
    """A connection that asked for a slot; `person` is the address that it says it comes from."""

    def __init__(self, port: int, size: int, person: str = "") -> None:
        headers = {"X-Forwarded-For": person} if person else {}
        self.upload = raw.initiate(port, "many.bin", size, headers)
        self.websocket = raw.WebSocket(port, self.upload["upload_url"], headers)
        self.websocket.say(type="start", token=self.upload["upload_token"])


def queued_socket(folder: Path, file: Path) -> str:
    """Memory that each of many queued connections adds, in KiB."""
    server = OurServer(folder, MAX_CONCURRENT_UPLOADS="1", TRUSTED_PROXIES="127.0.0.1")
    try:
        sockets = [Waiting(server.port, MIB, "10.0.0.1") for _ in range(2)]  # one has the slot; the code is warm
        before = memory_of(server.pid)
        for number in range(QUEUED - 2):
            sockets.append(Waiting(server.port, MIB, f"10.1.{number // PER_PERSON}.1"))
        raw.next_message(sockets[-1].websocket, "queued")
        time.sleep(SETTLE_SECONDS)
        each = (memory_of(server.pid) - before) / (QUEUED - 2) / 1024
        for waiting in sockets:
            waiting.websocket.close()
        return f"{each:.0f} KiB ({QUEUED} queued)"
    finally:
        server.stop()


def upload_many(server: OurServer, part: Path, count: int, at_once: int) -> float:
    """Processor seconds per GiB of `count` uploads of `part`, so many at once."""
    before = cpu_seconds_of(server.pid)
    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(raw.directdrivex, server.port, part) for _ in range(count)]:
            done.result()
    return (cpu_seconds_of(server.pid) - before) / (part.stat().st_size * count / 1024**3)


def cost_growth(folder: Path, file: Path) -> str:
    """The same files, one after the other and all at once."""
    part = make_file(folder / "part.bin", PART)
    server = OurServer(folder, **ROOMY, UPLOAD_BUFFER_BYTES=str(MANY * WINDOW))
    try:
        upload_many(server, part, 2, 1)
        one, many = upload_many(server, part, MANY, 1), upload_many(server, part, MANY, MANY)
        return f"{many / one:.2f} × ({one:.2f} to {many:.2f} CPU s/GiB)"
    finally:
        server.stop()


def send_for_ever(port: int, file: Path) -> None:
    """Twenty uploads of 5 MB/s each, again and again: a busy day, and no race for the processor."""

    def one() -> None:
        while True:
            raw.directdrivex(port, file, pause=CHUNK / RATE)

    with ThreadPoolExecutor(RUNNING) as pool:
        for done in [pool.submit(one) for _ in range(RUNNING)]:
            done.result()


def initiation(folder: Path, file: Path) -> str:
    """The slowest hundredth of initiations while 20 uploads run, sent by a process of its own."""
    server = OurServer(folder, **ROOMY)
    sender = multiprocessing.get_context("fork").Process(target=send_for_ever, args=(server.port, file), daemon=True)
    try:
        raw.initiate(server.port, "first.bin", MIB)
        sender.start()
        time.sleep(SETTLE_SECONDS)
        times = []
        for _ in range(INITIATIONS):
            began = time.perf_counter()
            raw.initiate(server.port, "one.bin", MIB)
            times.append(1000 * (time.perf_counter() - began))
        return f"p99 {statistics.quantiles(times, n=100)[98]:.0f} ms, median {statistics.median(times):.0f} ms"
    finally:
        sender.terminate()
        sender.join()
        server.stop()


def busy_upload(folder: Path, file: Path) -> str:
    """Memory that each of a hundred uploads of 10 GB holds while its storage is slower than the network."""
    server = OurServer(folder, program=SLOW_STORAGE, **ROOMY, UPLOAD_BUFFER_BYTES=str(MANY * WINDOW))
    try:
        uploads = [Waiting(server.port, 10**10) for _ in range(MANY)]
        chunk = int(raw.next_message(uploads[0].websocket, "ready")["chunk_size"])
        raw.next_message(uploads[-1].websocket, "ready")
        before = peak = memory_of(server.pid)
        with ThreadPoolExecutor(MANY) as pool, file.open("rb") as opened:
            sending = [pool.submit(fill_window, upload, opened.fileno(), chunk) for upload in uploads]
            while not all(done.done() for done in sending):
                peak = max(peak, memory_of(server.pid))
                time.sleep(SETTLE_SECONDS / 10)
            for done in sending:
                done.result()
        for upload in uploads:
            upload.websocket.close()
        each = (peak - before) / MANY / MIB
        return (
            f"{each:.1f} MiB with a window of {WINDOW // MIB} MiB; {MANY} uploads of 10 GB: {peak / MIB:.0f} MiB in all"
        )
    finally:
        server.stop()


def fill_window(upload: Waiting, file: int, chunk: int) -> None:
    """Send five windows, each as soon as the last is reported as received."""
    received = offset = 0
    while offset < 5 * WINDOW:
        while offset + chunk > received + WINDOW:
            received = int(raw.next_message(upload.websocket, "progress")["received"])
        upload.websocket.send_from(file, offset % WINDOW, chunk)
        offset += chunk


ROOMY_LIMITS = SlotLimits(2, 2, queued=100_000, max_memory_percent=100, reserved_memory_bytes=0)


async def fill_line(manager: SlotManager, waiting: int) -> None:
    for number in range(waiting + 2):
        await manager.acquire(Claim(f"u{number}", "owner", f"person {number // 10}", 1))


async def seconds_of_a_turn(manager: SlotManager, number: int) -> float:
    """How long it takes to ask for a slot, in vain, and to leave the line again."""
    claim = Claim(f"late {number}", "owner", f"late person {number}", 1)
    began = time.perf_counter()
    await manager.acquire(claim)
    await manager.release(claim.upload_id, claim.owner)
    return time.perf_counter() - began


async def growth(short: SlotManager, long: SlotManager) -> str:
    """The turns of a short and of a long line, one by one in alternation, so that the machine's moods meet both."""
    times: dict[int, list[float]] = {10: [], 10_000: []}
    lines = {10: short, 10_000: long}
    for waiting, manager in lines.items():
        await fill_line(manager, waiting)
    for number in range(TURNS):
        for waiting, manager in lines.items():
            times[waiting].append(await seconds_of_a_turn(manager, number))
    for manager in lines.values():
        await manager.close()
    few, many = (statistics.median(of) for of in times.values())
    return f"{many / few:.2f} × ({few * 1e6:.0f} to {many * 1e6:.0f} µs)"


class AlwaysAdmits:
    ceiling = 2**50

    def admits(self, window: int, promised: int) -> bool:
        return True

    def figures(self) -> NodeMemory:
        return NodeMemory(self.ceiling, self.ceiling, 0)


class NeverSeen:
    """No run of Redis was seen before."""

    async def last(self) -> str:
        return ""

    async def keep(self, run: str) -> bool:
        return True


def memory_manager() -> MemorySlotManager:
    return MemorySlotManager(lambda: ROOMY_LIMITS, AlwaysAdmits())


def slot_growth(folder: Path, file: Path) -> str:
    return asyncio.run(growth(memory_manager(), memory_manager()))


def redis_manager(url: str, worker: str = "bench", limits: SlotLimits = ROOMY_LIMITS) -> RedisSlotManager:
    return RedisSlotManager(
        Store({"address": url}, seconds=10),
        lambda: limits,
        AlwaysAdmits(),
        NeverSeen(),
        caller=Caller("bench", worker),
        tell=lambda others: None,
        lease_seconds=3600,
    )


def redis_slot_growth(folder: Path, file: Path) -> str:
    one, other = PrivateRedis(), PrivateRedis()

    async def measured() -> str:
        return await growth(redis_manager(one.url), redis_manager(other.url))

    try:
        return asyncio.run(measured())
    finally:
        one.stop()
        other.stop()


async def _turns(url: str, worker: int, until: float) -> int:
    """Turns of acquire and release, several at a time, until the clock says `until`."""
    manager, turns = redis_manager(url, f"worker {worker}", replace(ROOMY_LIMITS, all_uploads=1000)), 0

    async def one(lane: int) -> None:
        nonlocal turns
        while time.monotonic() < until:
            claim = Claim(f"{worker} {lane} {turns}", "owner", f"person {worker} {lane}", 1)
            await manager.acquire(claim)
            await manager.release(claim.upload_id, claim.owner)
            turns += 1

    await asyncio.gather(*(one(lane) for lane in range(LANES)))
    await manager.close()
    return turns


def turns_of_a_worker(url: str, worker: int, until: float) -> int:
    return asyncio.run(_turns(url, worker, until))


def redis_rate(folder: Path, file: Path) -> str:
    """Slots granted and given back in a second by several workers; and what of it is Redis's own work."""
    redis = PrivateRedis()
    try:
        with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
            began, before = time.monotonic() + SETTLE_SECONDS, cpu_seconds_of(redis.pid)
            until = began + RATE_SECONDS
            jobs = [pool.submit(turns_of_a_worker, redis.url, worker, until) for worker in range(WORKERS)]
            turns = sum(job.result() for job in jobs)
        each = (cpu_seconds_of(redis.pid) - before) / turns
        most = f"Redis itself {each * 1e6:.0f} µs each: {1 / each:.0f} grants/s at most"
        return f"{turns / RATE_SECONDS:.0f} grants/s by {WORKERS} workers here; {most}"
    finally:
        redis.stop()


WAYS: dict[str, Callable[[Path, Path], str]] = {
    SOCKET: queued_socket,
    BUSY: busy_upload,
    GROWTH: cost_growth,
    SLOTS: slot_growth,
    REDIS_SLOTS: redis_slot_growth,
    REDIS_RATE: redis_rate,
    INITIATION: initiation,
}


def measure(home: Path, file: Path, runs: int) -> Iterable[Figure]:
    for name, way in WAYS.items():
        with work_folder(home) as folder:
            try:
                figure = Figure(name, way(folder, file))
            except FAILURES as error:
                figure = Figure(name, f"no figure: {' '.join(str(error).split())[:200]}")
        print(f"{figure.name}: {figure.text}", flush=True)
        yield figure
