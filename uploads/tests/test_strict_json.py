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


def test_what_is_read_is_not_collected_again_and_again_while_it_is_made(collections: list[int]) -> None:
    assert len(strict_json.read(b"[" + b",".join([b"[]"] * 49_000) + b"]")) == 49_000
    assert len(collections) <= 1


@pytest.mark.parametrize("many", [b"[]", b"{}", b'{"":[]}', b'["[",{}]'])
def test_more_lists_and_objects_than_anybody_needs_are_not_even_made(many: bytes) -> None:
    with pytest.raises(strict_json.TooManyError):
        strict_json.read(b'{"files":[' + b",".join([many] * 60_000) + b"]}")


@pytest.mark.parametrize("name", ["[" * 60_000, '\\"{' * 60_000, "\\\\" + "{[" * 30_000])
def test_brackets_in_a_text_are_no_lists(name: str) -> None:
    assert strict_json.read(f'{{"name": "{name}"}}')["name"] == name.replace('\\"', '"').replace("\\\\", "\\")


@pytest.mark.parametrize("text", [b"[1]", b"[NaN]", b"[" * 100_000, b"\xff", b"["])
def test_garbage_is_collected_afterwards_whatever_it_was(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        strict_json.read(text)
    assert gc.isenabled()
