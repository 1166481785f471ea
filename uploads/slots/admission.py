"""Memory: what this node really has, and whether one more upload may run on it (slots.md). Needs no Django.

An upload costs its window, whatever its size. There is one reading and one decision for the whole program.
"""

import errno
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from quotas.rules import SlotLimits

MIB = 1024 * 1024
GIB = 1024 * MIB
READING_SECONDS = 0.5  # how long one reading serves
CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


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


def memory_bounds(cgroups: Path = CGROUPS, proc: Path = PROC) -> list[MemoryReading]:
    """The machine, and every cgroup with a limit that this process is in.

    Page cache is not use: it is given back on demand, and counting it would stall everyone during one large write.
    Raises `OSError` where no descriptor is left to read them by.
    """
    machine = psutil.virtual_memory()
    bounds = [_reading(machine.total, machine.total - machine.available, "machine")]
    bounds += [_reading(limit, used, "cgroup") for _, limit, used in _limits_below(machine.total, cgroups, proc)]
    return bounds


def node_name(cgroups: Path = CGROUPS, proc: Path = PROC) -> str:
    """The node whose memory this process uses: the same for all that share it, and for no others on any machine.

    A machine is known by its boot, a container by the number that the kernel gave its innermost limited cgroup: both
    are the same inside and outside of it.
    """
    machine = (_text(proc / "sys" / "kernel" / "random" / "boot_id") or socket.gethostname()).strip()
    for folder, _, _ in _limits_below(psutil.virtual_memory().total, cgroups, proc):
        return f"{machine}.{folder.stat().st_ino}"
    return machine


def tightest(bounds: list[MemoryReading]) -> MemoryReading:
    """The one that leaves the fewest bytes; of two, the fuller."""
    return min(bounds, key=lambda bound: (bound.available, -bound.percent))


def _limits_below(total: int, cgroups: Path, proc: Path) -> Iterator[tuple[Path, int, int]]:
    for folder, limit, used in _limited_cgroups(cgroups, proc):
        if limit < total:  # v1 says "none" by a number above any machine
            yield folder, limit, used


def _limited_cgroups(cgroups: Path, proc: Path) -> Iterator[tuple[Path, int, int]]:
    """Folder, limit, bytes in use without page cache: each cgroup with a limit, from this process's up to the root."""
    for line in (_text(proc / "self" / "cgroup") or "").splitlines():
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for folder in _ancestors(cgroups, path):
                yield from _read_v2(folder)
        elif "memory" in controllers.split(","):
            for folder in _ancestors(cgroups / "memory", path):
                yield from _read_v1(folder)


def _ancestors(mount: Path, path: str) -> list[Path]:
    folder = mount / path.strip("/")
    # Inside a container the path is often that of the host, while the mount shows the container's own tree.
    if ".." in folder.parts or not folder.is_dir():
        return [mount]
    return [folder, *(parent for parent in folder.parents if parent == mount or mount in parent.parents)]


def _read_v2(folder: Path) -> Iterator[tuple[Path, int, int]]:
    limits = [number for name in ("memory.max", "memory.high") if (number := _number(folder / name)) is not None]
    usage = _number(folder / "memory.current")
    if limits and usage is not None:
        stat = _stat(folder)
        yield folder, min(limits), usage - stat.get("file", 0) - stat.get("slab_reclaimable", 0)


def _read_v1(folder: Path) -> Iterator[tuple[Path, int, int]]:
    limit, usage = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
    if limit is not None and usage is not None:
        yield folder, limit, usage - _stat(folder).get("total_cache", 0)


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no such file, as at the root, or no limit (`max`)."""
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str | None:
    """None where there is nothing to read. That no descriptor is left says nothing about the file, and is raised."""
    try:
        return path.read_text()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None


def _stat(folder: Path) -> dict[str, int]:
    lines = (_text(folder / "memory.stat") or "").splitlines()
    return {name: int(value) for name, _, value in (line.partition(" ") for line in lines) if value.isdigit()}


def buffer_limit(total: int, override: int | None = None) -> int:
    """What all windows on this node may come to, in bytes: 240, 400 or 800 MiB on up to 4, up to 8, more GiB."""
    if override is not None:
        return override
    if total <= 4 * GIB:
        return 15 * 16 * MIB
    return (25 if total <= 8 * GIB else 50) * 16 * MIB


@dataclass(frozen=True)
class NodeMemory:
    """What a node has for windows, in bytes: left free, at most in all, and held in memory by one process's uploads."""

    free: int
    ceiling: int
    held: int


def free_for_windows(reading: MemoryReading, limits: SlotLimits) -> int:
    """The bytes that windows may still take; -1 where too much is in use already."""
    full = reading.used * 100 > limits.max_memory_percent * reading.total  # `percent` is rounded for people
    return -1 if full else reading.available - limits.reserved_memory_bytes


def admits(reading: MemoryReading, limits: SlotLimits, *, window: int, promised: int, held: int, ceiling: int) -> bool:
    """May an upload of `window` bytes run on this node?

    `promised` are the windows of the uploads that run, of which `held` bytes are really in memory and so in the
    reading already; the rest may still be taken. `ceiling` bounds all windows together.
    """
    still_to_come = max(0, promised - held)
    return free_for_windows(reading, limits) - still_to_come >= window and promised + window <= ceiling


class Admission:
    """The decision for this node, by a reading that is at most half a second old."""

    def __init__(
        self,
        limits: Callable[[], SlotLimits],
        held_bytes: Callable[[], int],
        *,
        override: int | None = None,
        bounds: Callable[[], list[MemoryReading]] = memory_bounds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._held_bytes, self._override = limits, held_bytes, override
        self._bounds, self._clock = bounds, clock
        self._last, self._last_at = bounds(), clock()

    def reading(self) -> MemoryReading:
        """The memory of this node, at most half a second old; the last one known while it cannot be read."""
        if self._clock() - self._last_at >= READING_SECONDS:
            self._last_at = self._clock()
            with suppress(OSError):  # no descriptor is left to read it by
                self._last = self._bounds()
        return tightest(self._last)

    @property
    def ceiling(self) -> int:
        """What all windows together may come to, in bytes; by the size of the machine or its smallest container."""
        self.reading()
        return buffer_limit(min(bound.total for bound in self._last), self._override)

    def figures(self) -> NodeMemory:
        """What a shared store decides by, for all processes on this node (lua/shared/memory.lua)."""
        return NodeMemory(free_for_windows(self.reading(), self._limits()), self.ceiling, self._held_bytes())

    def admits(self, window: int, promised: int) -> bool:
        """May an upload of `window` run beside those whose windows sum up to `promised`? Sizes in bytes."""
        return admits(
            self.reading(),
            self._limits(),
            window=window,
            promised=promised,
            held=self._held_bytes(),
            ceiling=max(self.ceiling, window),  # a window set above the ceiling lets one upload run at a time
        )
