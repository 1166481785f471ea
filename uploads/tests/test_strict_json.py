"""JSON that is made to cost the most."""

import contextlib
import gc
from collections.abc import Iterator

import pytest

from uploads import strict_json


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """The generation of each run of the garbage collector."""
    runs: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            runs.append(info["generation"])

    gc.callbacks.append(note)
    yield runs
    gc.callbacks.remove(note)


def test_half_a_million_lists_are_not_collected_again_and_again_while_they_are_made(collections: list[int]) -> None:
    message = strict_json.read(b"[" + b",".join([b"[]"] * 500_000) + b"]")
    assert len(message) == 500_000
    assert len(collections) <= 1


@pytest.mark.parametrize("text", [b"[1]", b"[NaN]", b"[" * 100_000, b"\xff", b"["])
def test_garbage_is_collected_afterwards_whatever_it_was(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        strict_json.read(text)
    assert gc.isenabled()
