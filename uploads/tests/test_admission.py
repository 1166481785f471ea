"""One memory figure and one decision (slots.md, "Memory admission"), read from files as Linux writes them."""

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection

from devtools.client import Client
from devtools.server_process import ServerProcess
from quotas.rules import SlotLimits
from uploads.intake.place import Place
from uploads.slots.admission import (
    Admission,
    MemoryReading,
    NodeMemory,
    admits,
    buffer_limit,
    memory_bounds,
    node_name,
    tightest,
)
from uploads.slots.keeper import get_keeper
from uploads.slots.manager import Claim, Waiting, WaitingFor
from uploads.slots.memory import MemorySlotManager

MIB = 1024 * 1024
GIB = 1024 * MIB
WINDOW = 8 * MIB
LIMITS = SlotLimits(all_uploads=20, per_person=5, queued=500, max_memory_percent=80, reserved_memory_bytes=512 * MIB)

MEMINFO = """\
MemTotal:       16777216 kB
MemFree:         1048576 kB
MemAvailable:   {available} kB
Buffers:          262144 kB
Cached:          9437184 kB
SwapCached:            0 kB
Active:          2097152 kB
Inactive:        8388608 kB
Shmem:             65536 kB
Slab:             524288 kB
SReclaimable:     393216 kB
SUnreclaim:       131072 kB
"""
V2_STAT = """\
anon 524288000
file 1572864000
kernel 83886080
kernel_stack 1048576
pagetables 4194304
slab_reclaimable 52428800
slab_unreclaimable 10485760
slab 62914560
workingset_refault_file 0
"""
V1_STAT = """\
cache 104857600
rss 314572800
mapped_file 20971520
hierarchical_memory_limit 2147483648
total_cache 1258291200
total_rss 629145600
total_mapped_file 20971520
"""


class Machine:
    """A made-up /proc and /sys/fs/cgroup, of a machine with 16 GiB."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        self.cgroups.mkdir()
        (self.proc / "self").mkdir(parents=True)
        self.available(12 * GIB)

    def available(self, size: int) -> None:
        (self.proc / "meminfo").write_text(MEMINFO.format(available=size // 1024))

    def process_in(self, *lines: str) -> None:
        (self.proc / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def group(self, path: str, **files: object) -> None:
        folder = self.cgroups / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(f"{content}\n" if name != "memory__stat" else str(content))

    def reading(self) -> MemoryReading:
        return tightest(memory_bounds(self.cgroups, self.proc))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(machine.proc))
    return machine


# --- what is read ---


def test_a_machine_without_containers_is_read_by_what_is_available(machine: Machine) -> None:
    assert machine.reading() == MemoryReading(16 * GIB, 12 * GIB, 4 * GIB, 25.0, "machine")


def test_a_container_counts_its_use_without_page_cache(machine: Machine) -> None:
    machine.process_in("0::/")
    machine.group("", memory__max=2 * GIB, memory__current=1_700_000_000, memory__stat=V2_STAT)
    used = 1_700_000_000 - 1572864000 - 52428800
    assert machine.reading() == MemoryReading(2 * GIB, 2 * GIB - used, used, 3.5, "cgroup")


def test_the_tightest_of_all_ancestors_decides(machine: Machine) -> None:
    machine.process_in("0::/system.slice/directdrivex.service")
    machine.group("system.slice", memory__max=3 * GIB, memory__current=2 * GIB, memory__stat="file 0\n")
    machine.group(
        "system.slice/directdrivex.service", memory__max=2 * GIB, memory__current=GIB // 4, memory__stat="file 0\n"
    )
    reading = machine.reading()
    assert (reading.total, reading.used) == (3 * GIB, 2 * GIB)


def test_a_group_without_a_limit_says_nothing(machine: Machine) -> None:
    machine.process_in("0::/user.slice")
    machine.group("user.slice", memory__max="max", memory__high="max", memory__current=15 * GIB, memory__stat="")
    assert machine.reading().source == "machine"


def test_processes_that_share_memory_are_on_one_node_and_others_are_not(machine: Machine, tmp_path: Path) -> None:
    boot = machine.proc / "sys" / "kernel" / "random"
    boot.mkdir(parents=True)
    (boot / "boot_id").write_text("3f2a\n")
    machine.group("roomy", memory__max="max", memory__current=0, memory__stat="")
    for name in ("one", "other"):
        machine.group(name, memory__max=GIB, memory__current=0, memory__stat="")
    nodes = {}
    for name in ("", "roomy", "one", "one", "other"):
        machine.process_in(f"0::/{name}")
        nodes[name] = node_name(machine.cgroups, machine.proc)
    assert nodes[""] == nodes["roomy"] == "3f2a"  # of the machine
    assert nodes["one"] == f"3f2a.{(machine.cgroups / 'one').stat().st_ino}"
    assert len(set(nodes.values())) == 3
    inside = tmp_path / "inside"  # a container sees its own tree only, and the same number
    inside.symlink_to(machine.cgroups / "one")
    machine.process_in("0::/docker/0123456789ab")
    assert node_name(inside, machine.proc) == nodes["one"]


def test_what_is_told_of_a_node_is_what_its_own_decision_goes_by(machine: Machine) -> None:
    admission = Admission(
        lambda: LIMITS, lambda: 3 * WINDOW, bounds=lambda: memory_bounds(machine.cgroups, machine.proc)
    )
    assert admission.figures() == NodeMemory(12 * GIB - LIMITS.reserved_memory_bytes, 800 * MIB, 3 * WINDOW)
    machine.available(GIB)  # more than 80 percent in use
    full = Admission(lambda: LIMITS, lambda: 0, bounds=lambda: memory_bounds(machine.cgroups, machine.proc))
    assert full.figures().free == -1
    assert not full.admits(1, 0)


def test_a_throttling_limit_counts_as_a_limit(machine: Machine) -> None:
    machine.process_in("0::/service")
    machine.group("service", memory__max="max", memory__high=GIB, memory__current=GIB // 2, memory__stat="file 0\n")
    assert machine.reading() == MemoryReading(GIB, GIB // 2, GIB // 2, 50.0, "cgroup")


def test_a_full_machine_is_tighter_than_an_empty_container(machine: Machine) -> None:
    machine.available(GIB // 4)
    machine.process_in("0::/")
    machine.group("", memory__max=2 * GIB, memory__current=0, memory__stat="file 0\n")
    assert machine.reading().source == "machine"
    assert machine.reading().available == GIB // 4


def test_the_older_cgroups_are_read_as_well(machine: Machine) -> None:
    machine.process_in("5:cpu,cpuacct:/service", "4:memory:/service", "0::/")
    machine.group(
        "memory/service",
        memory__limit_in_bytes=2 * GIB,
        memory__usage_in_bytes=1_900_000_000,
        memory__stat=V1_STAT,
    )
    used = 1_900_000_000 - 1258291200
    assert machine.reading() == MemoryReading(2 * GIB, 2 * GIB - used, used, 29.9, "cgroup")


def test_the_older_cgroups_say_no_limit_by_a_huge_number(machine: Machine) -> None:
    machine.process_in("4:memory:/service")
    machine.group(
        "memory/service",
        memory__limit_in_bytes=9223372036854771712,
        memory__usage_in_bytes=GIB,
        memory__stat=V1_STAT,
    )
    assert machine.reading().source == "machine"


@pytest.mark.parametrize("path", ["/docker/0123456789abcdef", "/../../elsewhere"])
def test_a_container_that_sees_only_its_own_tree_is_read_there(machine: Machine, path: str) -> None:
    machine.process_in(f"4:memory:{path}")
    machine.group("memory", memory__limit_in_bytes=GIB, memory__usage_in_bytes=GIB // 2, memory__stat="total_cache 0\n")
    assert machine.reading().total == GIB


def test_more_cache_than_use_is_no_negative_use(machine: Machine) -> None:
    machine.process_in("0::/")
    machine.group("", memory__max=GIB, memory__current=100, memory__stat="file 4096\n")
    assert machine.reading() == MemoryReading(GIB, GIB, 0, 0.0, "cgroup")


def test_this_very_machine_can_be_read() -> None:
    reading = tightest(memory_bounds())
    assert 0 < reading.used < reading.total
    assert reading.used + reading.available == reading.total
    assert reading.total <= psutil.virtual_memory().total


# --- what is decided ---


def reading_of(available: int, total: int = 4 * GIB) -> MemoryReading:
    used = total - available
    return MemoryReading(total, available, used, round(100 * used / total, 1), "machine")


def decide(reading: MemoryReading, *, promised: int = 0, held: int = 0, ceiling: int = 240 * MIB) -> bool:
    return admits(reading, LIMITS, window=WINDOW, promised=promised, held=held, ceiling=ceiling)


def test_there_must_be_room_for_the_window_above_what_is_kept_free() -> None:
    # Of 8 GiB at most 80 % are used here, so that only the bytes decide.
    limits = SlotLimits(20, 5, 500, 100, 512 * MIB)
    enough = 512 * MIB + WINDOW

    def decided(available: int) -> bool:
        return admits(reading_of(available), limits, window=WINDOW, promised=0, held=0, ceiling=240 * MIB)

    assert decided(enough)
    assert not decided(enough - 1)


def test_the_ceiling_in_percent_is_inclusive() -> None:
    total = 10 * GIB
    assert decide(reading_of(2 * GIB, total))
    assert not decide(reading_of(2 * GIB - 1, total))


def test_windows_promised_but_not_filled_yet_are_kept_free() -> None:
    limits = SlotLimits(20, 5, 500, 100, 0)
    available = reading_of(4 * WINDOW)

    def decided(promised: int, held: int) -> bool:
        return admits(available, limits, window=WINDOW, promised=promised, held=held, ceiling=240 * MIB)

    assert decided(promised=3 * WINDOW, held=0)
    assert not decided(promised=4 * WINDOW, held=0)
    assert decided(promised=4 * WINDOW, held=WINDOW)  # that window is in the reading already


def test_more_bytes_held_than_promised_give_no_credit() -> None:
    limits = SlotLimits(20, 5, 500, 100, 0)
    short = reading_of(WINDOW - 1)
    assert not admits(short, limits, window=WINDOW, promised=0, held=GIB, ceiling=240 * MIB)


def test_all_windows_together_stay_below_the_ceiling_of_buffers() -> None:
    plenty = reading_of(3 * GIB)
    assert decide(plenty, promised=2 * WINDOW, ceiling=3 * WINDOW)
    assert not decide(plenty, promised=2 * WINDOW + 1, ceiling=3 * WINDOW)


@pytest.mark.parametrize(
    ("size", "ceiling"),
    [(GIB, 240), (4 * GIB, 240), (4 * GIB + 1, 400), (8 * GIB, 400), (8 * GIB + 1, 800), (64 * GIB, 800)],
)
def test_the_ceiling_of_buffers_follows_the_size_of_the_server(size: int, ceiling: int) -> None:
    assert buffer_limit(size) == ceiling * MIB
    assert buffer_limit(size, override=77 * MIB) == 77 * MIB


def test_the_ceiling_follows_the_container_even_while_the_machine_is_tighter(machine: Machine) -> None:
    machine.available(GIB)
    machine.process_in("0::/")
    machine.group("", memory__max=3 * GIB, memory__current=0, memory__stat="file 0\n")
    admission = Admission(lambda: LIMITS, lambda: 0, bounds=lambda: memory_bounds(machine.cgroups, machine.proc))
    assert admission.reading().source == "machine"
    assert admission.ceiling == 240 * MIB


def test_one_reading_serves_half_a_second(machine: Machine) -> None:
    now = [100.0]
    admission = Admission(
        lambda: LIMITS, lambda: 0, bounds=lambda: memory_bounds(machine.cgroups, machine.proc), clock=lambda: now[0]
    )
    assert admission.admits(WINDOW, 0)
    machine.available(MIB)
    now[0] += 0.4
    assert admission.admits(WINDOW, 0)
    now[0] += 0.1
    assert not admission.admits(WINDOW, 0)


def test_without_a_descriptor_to_read_by_the_last_reading_stands_and_no_container_is_overlooked(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    machine.process_in("0::/")
    machine.group("", memory__max=2 * GIB, memory__current=0, memory__stat="file 0\n")
    admission = Admission(
        lambda: LIMITS, lambda: 0, bounds=lambda: memory_bounds(machine.cgroups, machine.proc), clock=lambda: now[0]
    )
    before = admission.reading()
    assert before.source == "cgroup"

    def exhausted(path: Path, *_: object) -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", exhausted)
        now[0] += 10
        assert admission.reading() == before
    machine.available(GIB)
    now[0] += 10
    assert admission.reading().source == "machine"


def test_a_window_above_the_ceiling_runs_alone_instead_of_never(machine: Machine) -> None:
    admission = Admission(lambda: LIMITS, lambda: 0, bounds=lambda: memory_bounds(machine.cgroups, machine.proc))
    large = 1000 * MIB
    assert large > admission.ceiling
    assert admission.admits(large, 0)
    assert not admission.admits(large, WINDOW)


# --- what an upload costs ---


async def admitted_of(files: int, machine: Machine) -> tuple[int, int]:
    """(uploads granted, bytes promised) where each of `files` people sends one file: its size has no way in."""
    admission = Admission(lambda: LIMITS, lambda: 0, bounds=lambda: memory_bounds(machine.cgroups, machine.proc))
    slots = MemorySlotManager(lambda: LIMITS, admission)
    for number in range(files):
        await slots.acquire(Claim(f"upload{number}", f"owner{number}", f"person{number}", WINDOW))
    leases = (await slots.snapshot()).leases
    return len(leases), sum(lease.window for lease in leases)


async def test_failure_1_an_upload_of_1_mb_and_of_1_tb_cost_the_same(
    start_server: Callable[..., ServerProcess],
) -> None:
    """With room for one window, the file that was once refused runs; beside it even the smallest waits."""
    window = 256 * 1024
    server = start_server(
        UPLOAD_WINDOW_BYTES=str(window), UPLOAD_CHUNK_BYTES=str(window // 2), UPLOAD_BUFFER_BYTES=str(window)
    )
    async with Client(server.url) as client:

        async def started(size: int) -> ClientConnection:
            upload = await client.initiate("film.mkv", size)
            socket = await client.connect(upload)
            await socket.send(json.dumps({"type": "start", "token": upload.token}))
            return socket

        async def heard(socket: ClientConnection, kind: str) -> dict[str, Any]:
            async with asyncio.timeout(30):
                while (message := json.loads(await socket.recv()))["type"] != kind:
                    pass
            return dict(message)

        for size in (3_624_892_618, 1_000_000):
            running = await started(size)
            ready = await heard(running, "ready")
            assert (ready["window"], ready["size"]) == (window, size)
            waiting = await started(1)
            assert (await heard(waiting, "queued"))["waiting_for"] == "memory"
            await waiting.close()
            await running.close()


async def test_failure_1_a_small_server_runs_as_many_as_have_room_for_their_windows(machine: Machine) -> None:
    machine.process_in("0::/")
    machine.group("", memory__max=2 * GIB, memory__current=2 * GIB - 620 * MIB, memory__stat="file 0\n")
    # 620 MiB are available, 512 of them are kept free, and at most 80 % may be in use: 70 % are.
    assert await admitted_of(20, machine) == (13, 13 * WINDOW)


async def test_failure_5_the_figure_that_admits_is_the_machines_own_and_not_4_gb(machine: Machine) -> None:
    machine.available(600 * MIB)  # of 16 GiB: a fixed total of 4 GiB would see 85 % of it free
    assert await admitted_of(1, machine) == (0, 0)
    machine.available(12 * GIB)
    machine.process_in("0::/")
    machine.group("", memory__max=GIB, memory__current=GIB - 100 * MIB, memory__stat="file 0\n")
    assert await admitted_of(1, machine) == (0, 0)


@pytest.mark.django_db(transaction=True)  # the limits are read in a thread that may have a connection open
async def test_failure_5_what_is_shown_is_what_admits(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One system approved and another refused: now the dashboard asks the admission itself."""
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr("quotas.services.slot_limits", lambda: LIMITS)
    monkeypatch.setattr("uploads.slots.keeper._keepers", {})
    admission = get_keeper().admission
    await get_keeper().limits_changed()
    monkeypatch.setattr(admission, "reading", lambda: reading_of(512 * MIB + WINDOW - 1, 2 * GIB))
    assert not admission.admits(WINDOW, 0)
    place = Place("f", "address:192.0.2.7")
    await place.enter(paused=False)
    assert isinstance(place.standing, Waiting)
    assert place.standing.waiting_for == WaitingFor.MEMORY
    await place.give_up(keep=False)
    await get_keeper().stop()


# --- page cache is not use ---


def cached_bytes() -> int:
    """What the machine holds in page cache now."""
    return psutil.virtual_memory().cached


def test_a_page_cache_full_of_a_large_file_keeps_nobody_out(tmp_path: Path) -> None:
    """The readings with the file in the cache and, milliseconds later, without it hardly differ.

    Others use this machine too, so that the closest of three tries counts.
    """
    size = 384 * MIB
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(4096) * 256)
        file.flush()
        os.fsync(file.fileno())

    differences = []
    for _ in range(3):
        with path.open("rb") as file:
            while file.read(MIB):
                pass
            full_cache, with_cache = cached_bytes(), tightest(memory_bounds())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            empty_cache, without_cache = cached_bytes(), tightest(memory_bounds())
        assert full_cache - empty_cache > size / 2, "the file was never in the cache"
        differences.append(abs(with_cache.used - without_cache.used))
        # With limits that leave half of the file's size: whoever counted the cache would refuse.
        kept_free = max(0, without_cache.available - WINDOW - size // 2)
        limits = SlotLimits(20, 5, 500, 100, kept_free)
        admitted = admits(with_cache, limits, window=WINDOW, promised=0, held=0, ceiling=240 * MIB)
        if admitted and differences[-1] < size / 4:
            return
    pytest.fail(f"the page cache was counted as use: {differences}")
