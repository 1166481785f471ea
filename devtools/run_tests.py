"""`make test`: every test there is, each group in a process of its own; what is missing is named at the end.

PYTEST_ADDOPTS is passed on, as always with pytest.
"""

import os
import re
import subprocess
import sys
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


GROUPS = [
    Group("the program, on SQLite", ["--ignore=tests/browser"], needs=("postgresql",)),
    Group(
        "what must hold on every database, on PostgreSQL",
        ["--ignore=tests/browser", "-m", "every_database"],
        {"TEST_DATABASE": "postgresql"},
        needs=("postgresql",),
    ),
    # Playwright leaves an event loop behind that later asynchronous tests trip over: a process of its own.
    Group("the pages, in Chromium", ["tests/browser"], needs=("chromium",)),
]
TOOLS = {"postgresql": lambda: machine.postgresql("initdb"), "chromium": machine.chromium}


def missing_tools() -> dict[str, str]:
    """What could be neither found nor installed, with the sentence that says so."""
    missing = {}
    for name, find in TOOLS.items():
        try:
            find()
        except machine.MissingToolError as error:
            missing[name] = str(error)
    return missing


def run(group: Group) -> tuple[int, dict[str, int]]:
    """Run pytest, show its output as it comes; returns its exit code and the counts of its closing line."""
    command = [sys.executable, "-m", "pytest", *group.arguments]
    closing = ""
    with subprocess.Popen(
        command, env={**os.environ, **group.environment}, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            if COUNTS.search(line) and " in " in line:
                closing = line
    counts: dict[str, int] = {}
    for number, word in COUNTS.findall(closing):
        kind = "failed" if word.startswith("error") else word
        counts[kind] = counts.get(kind, 0) + int(number)
    return process.returncode, counts


def main() -> int:
    missing = missing_tools()
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    problems = [f"not everything could be tested: {sentence}" for sentence in missing.values()]
    for group in GROUPS:
        print(f"\n=== {group.title}", flush=True)
        lacking = [name for name in group.needs if name in missing]
        if lacking and group is not GROUPS[0]:
            print(f"cannot run without {', '.join(lacking)}")
            continue
        code, counts = run(group)
        for kind, number in counts.items():
            totals[kind] = totals.get(kind, 0) + number
        if code == NO_TESTS_COLLECTED:
            problems.append(f"no test was found for {group.title}")
        elif code:
            problems.append(f"pytest ended with {code} for {group.title}")
    if totals["skipped"]:
        problems.append(f"{totals['skipped']} tests were skipped; none may be")
    print()
    for problem in problems:
        print(f"make test: {problem}")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if problems or totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
