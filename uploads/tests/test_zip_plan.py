"""The plan of a ZIP: right for other readers at any size, the same for the same files, and cut at any place."""

import hashlib
import io
import os
import subprocess
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uploads.delivery.zip_plan import MANIFEST, Member, Piece, Plan, checksum_line

NOON = datetime(2026, 11, 26, 12, 0, 31, tzinfo=UTC)
GIB = 1024**3


def member(data: bytes = b"hello", filename: str = "a.txt", folders: str = "", **more: Any) -> Member:
    values = {
        "key": filename,
        "storage": "local",
        "folders": folders,
        "filename": filename,
        "size": len(data),
        "crc32": zlib.crc32(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "completed_at": NOON,
    }
    return Member(**values | more)


def written(plan: Plan, data: Sequence[bytes], members: Sequence[Member], start: int = 0, length: int = -1) -> bytes:
    contents = dict(zip(map(id, members), data, strict=True))
    pieces = plan.slice(start, plan.size if length < 0 else length)
    return b"".join(
        contents[id(part.member)][part.start : part.start + part.length] if isinstance(part, Piece) else part
        for part in pieces
    )


def zip_of(*data: bytes) -> tuple[Plan, bytes]:
    members = [member(content, f"{number}.bin") for number, content in enumerate(data)]
    plan = Plan(members)
    return plan, written(plan, data, members)


def test_another_reader_finds_every_file_under_its_name_and_the_manifest_at_the_end() -> None:
    plan = Plan(members := [member(b"one", "फ़ाइल 😀.txt", "यात्रा/2026"), member(b"", "empty"), member(b"two", "a.txt")])
    data = written(plan, [b"one", b"", b"two"], members)
    assert len(data) == plan.size
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert archive.namelist() == ["यात्रा/2026/फ़ाइल 😀.txt", "empty", "a.txt", MANIFEST]
    assert [archive.read(name) for name in archive.namelist()[:3]] == [b"one", b"", b"two"]
    assert archive.read(MANIFEST).decode() == "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for content, name in [(b"one", "यात्रा/2026/फ़ाइल 😀.txt"), (b"", "empty"), (b"two", "a.txt")]
    )


def test_entries_are_stored_with_plain_attributes_and_the_time_of_completion_in_utc() -> None:
    later = datetime(2026, 11, 26, 18, 30, 8, tzinfo=UTC).astimezone()
    plan = Plan(members := [member(), member(filename="b", completed_at=later)])
    archive = zipfile.ZipFile(io.BytesIO(written(plan, [b"hello", b"hello"], members)))
    for entry in archive.infolist():
        assert (entry.compress_type, entry.create_system, entry.flag_bits) == (zipfile.ZIP_STORED, 3, 0)
        assert entry.external_attr == 0o100644 << 16
        assert not entry.is_dir()
    assert [entry.date_time for entry in archive.infolist()] == [
        (2026, 11, 26, 12, 0, 30),  # the format counts in steps of two seconds
        (2026, 11, 26, 18, 30, 8),
        (2026, 11, 26, 18, 30, 8),
    ]


def test_a_clock_that_was_wrong_spoils_nothing() -> None:
    plan = Plan(members := [member(completed_at=datetime(1970, 1, 1, tzinfo=UTC))])
    archive = zipfile.ZipFile(io.BytesIO(written(plan, [b"hello"], members)))
    assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_only_names_beyond_ascii_say_that_they_are_utf_8() -> None:
    plan = Plan(members := [member(filename="हिन्दी"), member(filename="plain")])
    archive = zipfile.ZipFile(io.BytesIO(written(plan, [b"hello"] * 2, members)))
    assert [entry.flag_bits for entry in archive.infolist()] == [0x800, 0, 0]


# --- the same bytes, and another ETag for others ---


def test_the_same_files_give_the_same_bytes_and_the_same_etag() -> None:
    one, two = zip_of(b"hello", b"world"), zip_of(b"hello", b"world")
    assert (one[0].etag, one[1]) == (two[0].etag, two[1])
    assert one[0].etag.startswith('"')


@pytest.mark.parametrize(
    "changed",
    [
        {"filename": "b.txt"},
        {"folders": "x"},
        {"size": 6},
        {"crc32": 1},
        {"sha256": "0" * 64},
        {"completed_at": NOON + timedelta(seconds=2)},
    ],
)
def test_whatever_decides_a_byte_decides_the_etag(changed: dict[str, Any]) -> None:
    first = member()
    assert Plan([first]).etag != Plan([replace(first, **changed)]).etag
    assert Plan([first]).etag == Plan([replace(first, key="elsewhere", storage="gdrive")]).etag


def test_a_file_more_or_less_and_another_order_are_another_zip() -> None:
    a, b = member(filename="a"), member(filename="b")
    assert len({Plan(files).etag for files in ([a], [b], [a, b], [b, a])}) == 4


# --- ranges ---


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=6),
    first=st.integers(0, 2000),
    length=st.integers(0, 2000),
)
def test_any_range_is_that_of_the_whole(sizes: list[int], first: int, length: int) -> None:
    data = [os.urandom(size) for size in sizes]
    members = [member(content, "same.bin") for content in data]
    plan = Plan(members)
    whole = written(plan, data, members)
    assert len(whole) == plan.size
    assert written(plan, data, members, first, length) == whole[first : first + length]
    assert all(part.length if isinstance(part, Piece) else part for part in plan.slice(first, length))


def test_a_range_touches_nothing_of_the_files_before_and_behind_it() -> None:
    members = [member(size=GIB, filename=f"{number}") for number in range(1000)]
    plan = Plan(members)
    middle = plan.size // 2
    (piece,) = plan.slice(middle, 1000)
    assert isinstance(piece, Piece)
    assert piece.length == 1000
    assert piece.member in members[498:502]


# --- ZIP64 ---


class Virtual(io.RawIOBase):
    """The ZIP of files that are all zeros, as a file that can be read anywhere and takes no room."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._at = plan, 0
        self.read_of_files = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._plan.size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = b"".join(self._bytes(part) for part in self._plan.slice(self._at, len(buffer)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _bytes(self, part: bytes | Piece) -> bytes:
        if isinstance(part, Piece):
            self.read_of_files += part.length
            return bytes(part.length)
        return part


SIZES = [0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 5 * GIB, 7, 5 * 2**40]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_is_where_another_reader_looks_for_it(size: int) -> None:
    """Up to the largest that can be sent; before and behind it are small ones."""
    crc32 = zlib.crc32(bytes(min(size, 100)))
    members = [member(bytes(3), "before"), member(size=size, filename="large", crc32=crc32), member(bytes(4), "behind")]
    plan = Plan(members)
    file = Virtual(plan)
    archive = zipfile.ZipFile(file)
    assert [(entry.filename, entry.file_size) for entry in archive.infolist()][:3] == [
        ("before", 3),
        ("large", size),
        ("behind", 4),
    ]
    assert archive.read("before") == bytes(3)
    assert archive.read("behind") == bytes(4)
    assert len(archive.read(MANIFEST).splitlines()) == 3
    with archive.open("large") as large:  # its own header is read for that
        assert large.read(100) == bytes(min(size, 100))
    assert file.read_of_files < 100_000
    last = max(plan.size - 2**20, 0)
    assert sum(part.length if isinstance(part, Piece) else len(part) for part in plan.slice(last, 2**20)) == min(
        2**20, plan.size
    )


def test_a_thousand_files_of_which_many_lie_beyond_four_gib() -> None:
    members = [member(size=10 * 2**20, filename="again.bin", crc32=7) for _ in range(1000)]
    archive = zipfile.ZipFile(Virtual(Plan(members)))
    assert len(archive.namelist()) == 1001
    with archive.open("again (1000).bin") as last:
        assert last.read(10) == bytes(10)


# --- the manifest ---


def test_a_line_is_what_sha256sum_writes_and_takes(tmp_path: Path) -> None:
    names = ["plain", "with space", "back\\slash", "line\nbreak", "return\rhere", "\\n", "हिन्दी 😀", "*star", "-dash"]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([number]))
    lines = "".join(checksum_line(hashlib.sha256(bytes([n])).hexdigest(), name) for n, name in enumerate(names))
    theirs = subprocess.run(["sha256sum", "--", *names], cwd=tmp_path, capture_output=True, check=True)
    assert lines.encode() == theirs.stdout
    checked = subprocess.run(["sha256sum", "-c", "--strict"], cwd=tmp_path, input=lines.encode(), capture_output=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
