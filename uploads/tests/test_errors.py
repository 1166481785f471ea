"""The table of errors is the one of wire.md, and nothing slips past it."""

import re
from pathlib import Path

import pytest

from uploads.errors import UploadError, every_error
from uploads.intake.faults import TABLE, translate
from uploads.problems import problem
from uploads.slots import manager
from uploads.storage import base

WIRE = Path(__file__).parents[2] / "docs" / "wire.md"
ROW = re.compile(r"^\| `(\w+)` \| (\d+|–) \| (\d+|–|stays open) \| (yes|no|) ?\|")


def rows() -> dict[str, tuple[int | None, int | None, bool]]:
    found = {}
    for line in WIRE.read_text().splitlines():
        if match := ROW.match(line):
            code, http, close, retryable = match.groups()
            found[code] = (
                int(http) if http.isdigit() else None,
                int(close) if close.isdigit() else None,
                retryable == "yes",
            )
    return found


def test_every_code_of_the_contract_is_there_with_its_answers_and_no_other() -> None:
    ours = {code: (error.http_status, error.close_code, error.retryable) for code, error in every_error().items()}
    assert len(rows()) > 25
    assert ours == rows()


def subclasses(cls: type) -> set[type]:
    return {sub for direct in cls.__subclasses__() for sub in {direct, *subclasses(direct)}}


def test_every_error_of_a_port_becomes_one_of_ours() -> None:
    foreign = {
        error
        for root in (base.StorageError, manager.SlotError)
        for error in subclasses(root)
        if error.__module__ in (base.__name__, manager.__name__)
    }
    assert len(foreign) >= 6
    assert foreign <= set(TABLE)


def test_an_error_that_nobody_foresaw_is_not_taken_for_another() -> None:
    assert translate(RuntimeError("what is this?")) is None


@pytest.mark.parametrize("error", [e for e in every_error().values() if e.http_status and e.code != "invalid_request"])
def test_every_refusal_has_a_sentence_and_a_problem_document(error: type[UploadError]) -> None:
    members = {"size": 5} if error.code == "range_invalid" else {}
    answer = problem(error(**members))
    assert answer.status_code == error.http_status
    assert answer["Content-Type"] == "application/problem+json"
    sentence = str(error.sentence)
    assert sentence[0].isupper()
    assert sentence.endswith(".")


def test_a_storage_that_knows_when_it_is_back_says_so() -> None:
    error = base.StorageUnavailableError("every account fails")
    assert translate(error).retry_after == 10
    error.retry_after = 42.3
    assert translate(error).retry_after == 43
