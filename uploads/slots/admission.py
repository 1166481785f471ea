"""Memory: what this node really has, and whether one more upload may run on it (slots.md). Needs no Django.

An upload costs its window, whatever its size. There is one reading and one decision for the whole program.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from quotas.rules import SlotLimits

MIB = 1024 * 1024
GIB = 1024 * MIB
READING_SECONDS = 0.5  # how long one reading serves


@dataclass(frozen=True)
class MemoryReading:
    """Memory in bytes; `source` is `cgroup` where a container's limit is tighter than the machine, else `machine`."""

    total: int
    available: int
    used: int
    percent: float
    source: str


def _reading(total: int, used: int, source: str) -> MemoryReading:
    used = min(max(used, 0), total)
    return MemoryReading(total, total - used, used, round(100 * used / total, 1) if total else 100.0, source)


def read_memory(root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self/cgroup")) -> MemoryReading:
    """The tightest of the machine and every cgroup with a limit that this process is in.

    Page cache is not use: it is given back on demand, and counting it would stall everyone during one large write.
    """
    machine = psutil.virtual_memory()
    readings = [_reading(machine.total, machine.total - machine.available, "machine")]
    for total, used in _cgroups(root, proc):
        if total < machine.total:
            readings.append(_reading(total, used, "cgroup"))
    return min(readings, key=lambda reading: reading.available)


def _cgroups(root: Path, proc: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes in use without page cache) of each cgroup with a limit, from this process's up to the root."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _ancestors(root, path, "memory.max", "memory.current", ("file", "slab_reclaimable"))
        elif "memory" in controllers.split(","):
            mount = root / "memory"
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _ancestors(mount, path, *names, ("total_cache",))


def _ancestors(
    mount: Path, path: str, limit_name: str, usage_name: str, reclaimable: tuple[str, ...]
) -> Iterator[tuple[int, int]]:
    folder = mount / path.strip("/")
    # Inside a container the path is often that of the host, while the mount shows the container's own tree.
    folders = [folder, *folder.parents] if folder.is_dir() else [mount]
    for candidate in folders:
        if candidate != mount and mount not in candidate.parents:
            return
        try:
            limit = (candidate / limit_name).read_text().strip()
            usage = int((candidate / usage_name).read_text())
            stat = dict(line.split() for line in (candidate / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit.isdigit():  # `max` means none; v1 has a huge number instead, which is above any machine
            yield int(limit), usage - sum(int(stat.get(name, 0)) for name in reclaimable)


def buffer_limit(total: int, override: int | None = None) -> int:
    """What all windows on this node may come to, in bytes: 240, 400 or 800 MiB on up to 4, up to 8, more GiB."""
    if override is not None:
        return override
    if total <= 4 * GIB:
        return 15 * 16 * MIB
    return (25 if total <= 8 * GIB else 50) * 16 * MIB


def admits(reading: MemoryReading, limits: SlotLimits, *, window: int, promised: int, held: int, ceiling: int) -> bool:
    """May an upload of `window` bytes run on this node?

    `promised` are the windows of the uploads that run, of which `held` bytes are really in memory and so in the
    reading already; the rest may still be taken. `ceiling` bounds all windows together.
    """
    still_to_come = max(0, promised - held)
    free = reading.available - limits.reserved_memory_bytes - still_to_come
    return reading.percent <= limits.max_memory_percent and free >= window and promised + window <= ceiling


class Admission:
    """The decision for this node, by a reading that is at most half a second old."""

    def __init__(
        self,
        limits: Callable[[], SlotLimits],
        held_bytes: Callable[[], int],
        *,
        override: int | None = None,
        read: Callable[[], MemoryReading] = read_memory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._held_bytes, self._override = limits, held_bytes, override
        self._read, self._clock = read, clock
        self._last, self._last_at = read(), clock()

    def reading(self) -> MemoryReading:
        """The memory of this node, at most half a second old."""
        if self._clock() - self._last_at >= READING_SECONDS:
            self._last, self._last_at = self._read(), self._clock()
        return self._last

    @property
    def ceiling(self) -> int:
        """What all windows together may come to, in bytes."""
        return buffer_limit(self._last.total, self._override)

    def admits(self, window: int, promised: int) -> bool:
        """May an upload of `window` run beside those whose windows sum up to `promised`? Sizes in bytes."""
        return admits(
            self.reading(),
            self._limits(),
            window=window,
            promised=promised,
            held=self._held_bytes(),
            ceiling=self.ceiling,
        )
