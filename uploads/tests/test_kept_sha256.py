"""A SHA-256 that is stopped and gone on with, against hashlib's."""

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploads.storage import digest, kept_sha256
from uploads.storage.digest import LOST, RunningDigest
from uploads.storage.kept_sha256 import KeptSha256


def test_this_machine_can_keep_it() -> None:
    assert kept_sha256.available


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_stopped_anywhere_it_says_what_hashlib_says(parts: list[bytes]) -> None:
    running = KeptSha256()
    for part in parts:
        running.update(part)
        assert KeptSha256.resumed(running.state()).state() == running.state()
        running = KeptSha256.resumed(running.state())
    assert running.hexdigest() == hashlib.sha256(b"".join(parts)).hexdigest()
    assert running.hexdigest() == running.hexdigest()  # asking ends nothing


def test_it_takes_every_kind_of_buffer() -> None:
    data = os.urandom(100_000)
    running = KeptSha256()
    for block in (data[:10], bytearray(data[10:20]), memoryview(data)[20:], memoryview(bytearray(b"")), b""):
        running.update(block)
    assert running.hexdigest() == hashlib.sha256(data).hexdigest()


def test_more_than_four_gigabits_are_counted() -> None:
    # As if 1 GiB had been hashed: the count goes beyond the 32 bits of one field.
    state = kept_sha256.WORDS.pack(*range(8), 1 << 30)
    assert KeptSha256.resumed(state).state() == state


@pytest.mark.parametrize("state", [b"", b"x" * 10, kept_sha256.WORDS.pack(*range(8), 5)])
def test_what_is_no_state_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError):
        KeptSha256.resumed(state)


def test_a_digest_whose_state_was_lost_goes_on_with_its_crc_and_says_so() -> None:
    data = os.urandom(1000)
    first = RunningDigest.kept()
    first.update([data[:600]])
    whole = RunningDigest.kept()
    whole.update([data])
    for lost in (None, b"damaged"):
        offset, crc32, _state = first.state
        second = RunningDigest.resumed(offset, crc32, lost)
        second.update([data[600:]])
        assert second.result().crc32 == whole.result().crc32
        assert (second.result().sha256, second.result().reason) == (None, LOST)


def test_a_machine_without_the_library_makes_digests_and_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest.kept_sha256, "available", False)
    running = RunningDigest.kept()
    running.update([b"abc"])
    assert running.result().sha256 == hashlib.sha256(b"abc").hexdigest()
    assert running.state == (3, running.result().crc32, None)
    assert RunningDigest.resumed(*running.state).result().sha256 is None
    assert RunningDigest.resumed(0, 0, None).result().sha256 == hashlib.sha256(b"").hexdigest()
