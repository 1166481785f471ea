"""What many uploads at once cost: memory of sockets, processor time of a hundred uploads, time of an initiation."""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import raw
from bench.measure import FAILURES, MIB, make_file, work_folder
from bench.peers import OurServer
from devtools.processes import cpu_seconds_of, memory_of
from quotas.rules import SlotLimits
from uploads.slots.manager import Claim
from uploads.slots.memory import MemorySlotManager

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


SOCKET, BUSY = "memory of a queued socket", "memory of a busy upload"
GROWTH, SLOTS, INITIATION = "processor time at 100 uploads", "slots with 10,000 waiting", "initiation with 20 running"


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


async def seconds_of_a_turn(waiting: int) -> float:
    """How long it takes to acquire and to release a slot with so many uploads in the line."""
    limits = SlotLimits(2, 2, queued=100_000, max_memory_percent=100, reserved_memory_bytes=0)
    manager = MemorySlotManager(lambda: limits, AlwaysAdmits())
    for number in range(waiting + 2):
        await manager.acquire(Claim(f"u{number}", "owner", f"person {number // 10}", 1))
    times = []
    for number in range(TURNS):
        claim = Claim(f"late {number}", "owner", f"late person {number}", 1)
        began = time.perf_counter()
        await manager.acquire(claim)
        await manager.release(claim.upload_id, claim.owner)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


class AlwaysAdmits:
    ceiling = 2**62

    def admits(self, window: int, promised: int) -> bool:
        return True


def slot_growth(folder: Path, file: Path) -> str:
    few, many = (asyncio.run(seconds_of_a_turn(waiting)) for waiting in (10, 10_000))
    return f"{many / few:.2f} × ({few * 1e6:.0f} to {many * 1e6:.0f} µs)"


WAYS: dict[str, Callable[[Path, Path], str]] = {
    SOCKET: queued_socket,
    BUSY: busy_upload,
    GROWTH: cost_growth,
    SLOTS: slot_growth,
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
