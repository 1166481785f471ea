"""One file to Google Drive, by us and by `rclone copyto`, in turns and to the same emulator."""

import resource
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from bench import raw
from bench.measure import MIB, MemoryPeak, Run, Series, timed, warm_memory, work_folder
from bench.peers import OurServer
from devtools import machine, rclone
from devtools.emulator_process import EmulatorProcess
from devtools.processes import bound_to_parent

OURS, RCLONE = "DirectDriveX to Drive", "rclone copyto to Drive"


def send_by_us(emulator: EmulatorProcess, folder: Path, file: Path) -> Run:
    """Through the socket, verified; memory and processor time are our server's."""
    server = OurServer(folder, **emulator.settings)
    try:
        first = folder / "first.bin"
        first.write_bytes(bytes(MIB))
        raw.directdrivex(server.port, first)
        warm_memory(folder, file.stat().st_size)
        return timed(server.pid, file.stat().st_size, lambda: raw.directdrivex(server.port, file))
    finally:
        server.stop()


def send_by_rclone(emulator: EmulatorProcess, folder: Path, file: Path) -> Run:
    """Straight from the disk; memory and processor time are rclone's."""
    command = [machine.rclone(), "copyto", str(file), f"{rclone.REMOTE}film.bin"]
    environment = rclone.environment(emulator, folder)
    size = file.stat().st_size
    warm_memory(folder, size)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, env=environment, **bound_to_parent())
    peak = MemoryPeak(process.pid)
    code = process.wait()
    seconds = time.perf_counter() - began
    if code:
        raise RuntimeError(f"rclone ended with {code}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Run(size / seconds / 1e6, cpu / (size / 1024**3), peak.stop() / MIB, 0.0)


Way = Callable[[EmulatorProcess, Path, Path], Run]
WAYS: dict[str, Way] = {OURS: send_by_us, RCLONE: send_by_rclone}


def run_once(send: Way, home: Path, file: Path) -> Run:
    with work_folder(home) as folder, EmulatorProcess(folder / "emulator") as emulator:
        return send(emulator, folder, file)


def measure(home: Path, file: Path, runs: int) -> Iterable[Series]:
    every = {name: Series(name) for name in WAYS}
    for number in range(runs):
        for name, send in WAYS.items():
            every[name].add(number, partial(run_once, send, home, file))
    return every.values()
