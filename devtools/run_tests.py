"""`make test`: every test there is, each group in a process of its own; what is missing is named at the end.

Most tests wait for something to happen in another process, so that two groups run side by side. What the one says is
shown as it comes, what the other says when it is over. PYTEST_ADDOPTS is passed on, as always with pytest.
"""

import os
import re
import subprocess
import sys
import threading
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


ON_SQLITE = Group("the program, on SQLite", ["--ignore=tests/browser"], needs=("postgresql", "redis"))
BESIDE_IT = [
    # Playwright leaves an event loop behind that later asynchronous tests trip over: a process of its own.
    Group("the pages, in Chromium", ["tests/browser"], needs=("chromium",)),
    Group(
        "what must hold on every database, on PostgreSQL",
        ["--ignore=tests/browser", "-m", "every_database"],
        {"TEST_DATABASE": "postgresql"},
        needs=("postgresql", "redis"),
    ),
    Group(
        "what must hold behind every server, behind daphne",
        ["tests", "--ignore=tests/browser", "-m", "every_server"],
        {"TEST_SERVER": "daphne"},
    ),
    Group(
        "the pages behind daphne, in Chromium",
        ["tests/browser", "-m", "every_server"],
        {"TEST_SERVER": "daphne"},
        needs=("chromium",),
    ),
]
TOOLS = {
    "postgresql": lambda: machine.postgresql("initdb"),
    "redis": machine.redis_server,
    "chromium": machine.chromium,
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
    command = [sys.executable, "-m", "pytest", *group.arguments]
    closing = ""
    with subprocess.Popen(
        command,
        env={**os.environ, **group.environment},
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
    beside: list[str] = []

    def run_those_beside() -> None:
        for group in BESIDE_IT:
            beside.append(f"\n=== {group.title}\n")
            lacking = [name for name in group.needs if name in missing]
            if lacking:
                beside.append(f"cannot run without {', '.join(lacking)}\n")
            else:
                tally.add(group, *run(group, beside.append))

    others = threading.Thread(target=run_those_beside)
    others.start()
    _print_now(f"\n=== {ON_SQLITE.title}\n")
    tally.add(ON_SQLITE, *run(ON_SQLITE, _print_now))
    others.join()
    _print_now("".join(beside))
    if tally.totals["skipped"]:
        tally.problems.append(f"{tally.totals['skipped']} tests were skipped; none may be")
    print()
    for problem in tally.problems:
        print(f"make test: {problem}")
    print(f"{tally.totals['passed']} passed, {tally.totals['failed']} failed, {tally.totals['skipped']} skipped")
    return 1 if tally.problems or tally.totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
