"""Timing one server at a time: runs that alternate, medians, processor time and peak memory of its process tree."""

import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import playwright.sync_api

from bench.raw import RawError
from devtools.machine import MissingToolError
from devtools.processes import cpu_seconds_of, memory_of
from devtools.server_process import ServerFailedError

MIB = 1024 * 1024
SAMPLE_SECONDS = 0.1
# What a peer or its installation can fail with: its row then says why it has no figure.
FAILURES = (
    MissingToolError,
    ServerFailedError,
    RawError,
    RuntimeError,
    OSError,
    subprocess.SubprocessError,
    playwright.sync_api.Error,
)


@dataclass(frozen=True)
class Run:
    """`rate` in MB/s (10^6 bytes), `cpu` in seconds per GiB, `memory` the peak in MiB, `idle` before the run in MiB."""

    rate: float
    cpu: float
    memory: float
    idle: float


@dataclass
class Series:
    """All runs of one thing; `failure` says why there are none."""

    name: str
    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    def median(self, what: str) -> float:
        return statistics.median(getattr(run, what) for run in self.runs)

    def add(self, number: int, run: Callable[[], Run]) -> None:
        """Run once more and say so; after a failure nothing more is tried."""
        if self.failure:
            return
        try:
            done = run()
        except FAILURES as error:
            self.fail(error)
            return
        self.runs.append(done)
        print(f"run {number + 1}  {done.rate:7.0f} MB/s  {done.cpu:5.2f} CPU s/GiB  {self.name}", flush=True)

    def fail(self, error: Exception) -> None:
        print(f"{self.name}: {error}", flush=True)
        self.failure = " ".join(str(error).split())[:200] or type(error).__name__

    @property
    def rate(self) -> float:
        return self.median("rate")


class MemoryPeak:
    """Samples a process tree's memory in a thread of its own, from construction to `stop`."""

    def __init__(self, pid: int) -> None:
        self._pid, self._stop = pid, threading.Event()
        self.idle = self.peak = memory_of(pid)
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, memory_of(self._pid))

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.peak


@contextmanager
def work_folder(home: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards; other users may pass through it (nginx's worker is one)."""
    home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=home))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def warm_memory(folder: Path, size: int) -> None:
    """Write and drop a file of the run's size.

    A virtual machine gives freed memory back to its host; touching it again costs seconds per GiB, and would be
    counted against whoever comes first.
    """
    block, path = bytes(4 * MIB), folder / "warm"
    with path.open("wb") as file:
        for _ in range(size // len(block) + 1):
            file.write(block)
    path.unlink()


def make_file(path: Path, size: int) -> Path:
    """A file of `size` random bytes, its pages in the cache and written back."""
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(left, 8 * MIB)))
        os.fsync(file.fileno())
    return path


def timed(pid: int, size: int, work: Callable[[], object]) -> Run:
    """One run against the server `pid`; `work` may return the seconds where it knows them better."""
    peak, cpu, began = MemoryPeak(pid), cpu_seconds_of(pid), time.perf_counter()
    known = work()
    seconds = known if isinstance(known, float) else time.perf_counter() - began
    cpu = cpu_seconds_of(pid) - cpu
    return Run(size / seconds / 1e6, cpu / (size / 1024**3), peak.stop() / MIB, peak.idle / MIB)
