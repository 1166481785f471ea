"""`make test`: every test there is, each group in a process of its own; what is missing is named at the end.

Most tests wait for something to happen in another process, so that four groups run side by side, and the next begins
when one is over. What the first says is shown as it comes, what the others say at the end; each closes with its slowest
tests, since the whole must stay below 15 minutes. PYTEST_ADDOPTS is passed on, as always with pytest.
"""

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from devtools import machine

NO_TESTS_COLLECTED = 5
COUNTS = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


@dataclass
class Group:
    """One pytest run. `needs` finds or installs what it stands on, and raises `MissingToolError`."""

    title: str
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


SIDE_BY_SIDE = 4
MANY_SERVERS = ["tests/bad_input", "tests/workers", "tests/emulator", "tests/deploy"]
HARDSHIP = [
    *("tests/test_commands.py", "tests/test_floods.py", "tests/test_load.py", "tests/test_rude_company.py"),
    *(f"tests/test_faults_{of}.py" for of in ("database", "disk", "process")),
    *("tests/test_slow_clients.py", "tests/test_drive_loss.py"),
    *(f"tests/test_{kind}trials.py" for kind in ("", "drive_", "zip_", "download_")),
]
UPLOADING = [f"tests/browser/test_{part}.py" for part in ("upload_page", "upload_protocol", "batches", "batch_answers")]


def without(parts: list[str]) -> list[str]:
    """The arguments that leave these out."""
    return [f"--ignore={part}" for part in parts]


# The longest first, so that none of those that run side by side is left with a long one in the end.
GROUPS = [
    Group("faults, floods and trials", HARDSHIP, needs=("postgresql", "redis")),
    Group("bad input, several workers, the emulator, deployment", MANY_SERVERS, needs=("postgresql", "redis")),
    Group(
        "the rest of the whole program, on SQLite",
        ["tests", "--ignore=tests/browser", *without([*MANY_SERVERS, *HARDSHIP])],
        needs=("postgresql", "redis"),
    ),
    Group("each app, on SQLite", ["directdrivex", "uploads", "quotas", "monitoring"], needs=("postgresql", "redis")),
    # Playwright leaves an event loop behind that later asynchronous tests trip over: processes of their own.
    Group("the upload page, in Chromium", UPLOADING, needs=("chromium",)),
    Group(
        "what must hold behind every server, behind daphne",
        ["tests", "--ignore=tests/browser", "-m", "every_server"],
        {"TEST_SERVER": "daphne"},
    ),
    Group("the other pages, in Chromium", ["tests/browser", *without(UPLOADING)], needs=("chromium",)),
    Group(
        "the wire, over two workers on PostgreSQL and Redis",
        [*(f"tests/test_wire_{part}.py" for part in ("http", "socket", "batches")), "-m", "not looks_into_sqlite"],
        {"TEST_WORKERS": "2"},
        needs=("postgresql", "redis"),
    ),
    Group(
        "the pages behind daphne, in Chromium",
        ["tests/browser", "-m", "every_server"],
        {"TEST_SERVER": "daphne"},
        needs=("chromium",),
    ),
    Group(
        "what must hold on every database, on PostgreSQL",
        ["--ignore=tests/browser", "-m", "every_database"],
        {"TEST_DATABASE": "postgresql"},
        needs=("postgresql", "redis"),
    ),
]
SLOWEST_SHOWN = 15
TOOLS = {
    "postgresql": lambda: machine.postgresql("initdb"),
    "redis": machine.redis_server,
    "chromium": machine.chromium_without_windows,
    # Few tests need these: without them they fail, and all others run.
    "rclone": machine.rclone,
    "nginx": machine.nginx,
    "wget": machine.wget,
    "aria2": machine.aria2,
    "ffmpeg": lambda: machine.ffmpeg("ffprobe"),
    "systemd": machine.systemd_analyze,
}


def missing_tools() -> dict[str, str]:
    """What could be neither found nor installed, with the sentence that says so."""
    missing = {}
    for name, find in TOOLS.items():
        try:
            find()
        except machine.MissingToolError as error:
            missing[name] = str(error)
    return missing


def run(group: Group, show: Callable[[str], None]) -> tuple[int, dict[str, int]]:
    """Run pytest and `show` each line that it prints; returns its exit code and the counts of its closing line."""
    command = [sys.executable, "-m", "pytest", f"--durations={SLOWEST_SHOWN}", "--durations-min=2", *group.arguments]
    closing = ""
    with subprocess.Popen(
        command,
        # Hundreds of processes of the program are started, and without its bytecode each compiles it anew.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **group.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            show(line)
            if COUNTS.search(line) and " in " in line:
                closing = line
    counts: dict[str, int] = {}
    for number, word in COUNTS.findall(closing):
        kind = "failed" if word.startswith("error") else word
        counts[kind] = counts.get(kind, 0) + int(number)
    return process.returncode, counts


@dataclass
class Tally:
    """What became of all groups: counts by kind, and sentences on what went wrong."""

    totals: dict[str, int] = field(default_factory=lambda: {"passed": 0, "failed": 0, "skipped": 0})
    problems: list[str] = field(default_factory=list)

    def add(self, group: Group, code: int, counts: dict[str, int]) -> None:
        for kind, number in counts.items():
            self.totals[kind] = self.totals.get(kind, 0) + number
        if code == NO_TESTS_COLLECTED:
            self.problems.append(f"no test was found for {group.title}")
        elif code:
            self.problems.append(f"pytest ended with {code} for {group.title}")


def _print_now(text: str) -> None:
    print(text, end="", flush=True)


def main() -> int:
    missing = missing_tools()
    tally = Tally(problems=[f"not everything could be tested: {sentence}" for sentence in missing.values()])
    waiting, over = deque(GROUPS), list[tuple[Group, int, dict[str, int]]]()

    def run_groups(show: Callable[[str], None]) -> None:
        while True:
            try:
                group = waiting.popleft()
            except IndexError:
                return
            show(f"\n=== {group.title}\n")
            lacking = [name for name in group.needs if name in missing]
            if lacking:
                show(f"cannot run without {', '.join(lacking)}\n")
            else:
                over.append((group, *run(group, show)))

    said: list[list[str]] = [[] for _ in range(SIDE_BY_SIDE - 1)]
    others = [threading.Thread(target=run_groups, args=(lines.append,)) for lines in said]
    for other in others:
        other.start()
    run_groups(_print_now)
    for other, lines in zip(others, said, strict=True):
        other.join()
        _print_now("".join(lines))
    for group, code, counts in over:
        tally.add(group, code, counts)
    if tally.totals["skipped"]:
        tally.problems.append(f"{tally.totals['skipped']} tests were skipped; none may be")
    print()
    for problem in tally.problems:
        print(f"make test: {problem}")
    print(f"{tally.totals['passed']} passed, {tally.totals['failed']} failed, {tally.totals['skipped']} skipped")
    return 1 if tally.problems or tally.totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
