"""The runner of the matrix: every cell is one request or one conversation, and names the code that it deserves.

What a cell may meet is read from the table of wire.md, not from the program.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bad_input.http import Answer

WIRE = Path(__file__).parents[2] / "docs" / "wire.md"
ROW = re.compile(r"^\| `(\w+)` \| (\d+|–) \| (\d+|–|stays open) \| (yes|no|) ?\|")
AT_ONCE = 8  # as many batches or passwords of one person as may wait
SOCKETS_AT_ONCE = 8
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "retryable", "retry_after"}

NO_REQUEST = "no request"  # what is no HTTP at all: the server's own 400 or 431, or just a closed connection


@dataclass(frozen=True)
class Row:
    """One row of wire.md's table."""

    http: int | None
    close: int | None
    retryable: bool


def _table() -> dict[str, Row]:
    rows = {}
    for line in WIRE.read_text().splitlines():
        if match := ROW.match(line):
            code, http, close, retryable = match.groups()
            rows[code] = Row(
                int(http) if http.isdigit() else None, int(close) if close.isdigit() else None, retryable == "yes"
            )
    return rows


TABLE = _table()


@dataclass
class Tally:
    """How many cells were tried in this run, by surface."""

    cells: dict[str, int]

    def count(self, surface: str, number: int) -> None:
        self.cells[surface] = self.cells.get(surface, 0) + number


TALLY = Tally({})


def faults_of(answer: Answer | None, expected: int | str) -> str | None:
    """What is wrong with an HTTP answer; None where it is as expected.

    `expected` is a status of success, a code of the table, or `NO_REQUEST`.
    """
    if expected == NO_REQUEST:
        return None if answer is None or answer.status in (400, 431) else f"answered {answer.status}"
    if answer is None:
        return "closed without an answer"
    if isinstance(expected, int):
        return None if answer.status == expected else f"answered {answer.status} {answer.body[:200]!r}"
    return _faults_of_problem(answer, expected)


def _faults_of_problem(answer: Answer, code: str) -> str | None:
    row = TABLE[code]
    if answer.status != row.http:
        return f"answered {answer.status} {answer.body[:200]!r}, not {row.http}"
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return f"is no problem document, but {answer.headers.get('content-type')}"
    if not answer.body:
        return None  # to HEAD
    problem = answer.problem
    if missing := PROBLEM_MEMBERS - set(problem):
        return f"lacks {missing}"
    if (problem["code"], problem["status"], problem["retryable"]) != (code, row.http, row.retryable):
        return f"says {problem['code']}, {problem['status']}, retryable: {problem['retryable']}"
    if not problem["detail"] or not problem["title"]:
        return "has no sentence for a person"
    if code == "invalid_request" and not all(fault["field"] and fault["reason"] for fault in problem["errors"]):
        return f"names no field or no reason: {problem['errors']}"
    if code == "invalid_request" and not problem["errors"]:
        return "names no field"
    return None


async def all_cells(
    surface: str,
    cells: Iterable[tuple[str, Any]],
    try_one: Callable[[Any], Awaitable[str | None]],
    at_once: int = AT_ONCE,
) -> None:
    """Try every cell, some at a time, and fail with the list of those that are wrong.

    A cell is its name and what `try_one` needs; that returns what is wrong, or None.
    """
    __tracebackhide__ = True
    room = asyncio.Semaphore(at_once)

    async def judged(name: str, cell: Any) -> str | None:
        async with room:
            try:
                fault = await try_one(cell)
            except TimeoutError:
                fault = "hangs"
        return f"{name}: {fault}" if fault else None

    listed = list(cells)
    assert listed
    wrong = [fault for fault in await asyncio.gather(*(judged(*cell) for cell in listed)) if fault]
    TALLY.count(surface, len(listed))
    assert not wrong, f"{len(wrong)} of {len(listed)} cells are wrong:\n" + "\n".join(wrong)
