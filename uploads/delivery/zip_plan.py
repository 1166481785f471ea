"""Every byte of a batch's ZIP, known before one is sent: what stands where, without a file being read. Needs no Django.

Names, sizes, CRC-32s, digests and times decide all of it: the same files give the same bytes. Entries are stored as
they are, so that a range in the middle of one is a range of its file. The standard library writes every record.
"""

import hashlib
import io
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from uploads.delivery.zip_names import unique_names

MANIFEST = "SHA256SUMS.txt"
UNIX = 3
PLAIN_FILE = 0o100644 << 16  # where Unix keeps what may be done with a file
FILE_COST = 1024  # bytes of memory for each part of a plan, about
FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the format has no earlier one


@dataclass(frozen=True)
class Member:
    """A file that is put into the ZIP. `key` and `storage` say where its bytes are; `sha256` is in lower-case hex."""

    key: str
    storage: str
    folders: str
    filename: str
    size: int
    crc32: int
    sha256: str
    completed_at: datetime


@dataclass(frozen=True)
class Piece:
    """`length` bytes of a file, from `start`."""

    member: Member
    start: int
    length: int


class Plan:
    """A ZIP of `size` bytes; whoever has the same `etag` has the same bytes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._parts: list[bytes | Member] = []
        self._starts: list[int] = []
        self.size = 0
        names = unique_names([(member.folders, member.filename) for member in members], [MANIFEST])
        sums = "".join(map(checksum_line, (member.sha256 for member in members), names)).encode()
        last = max(member.completed_at for member in members)
        entries = []
        for member, name in zip(members, names, strict=True):
            entry = _entry(name, member.size, member.crc32, member.completed_at)
            entries.append(self._begun(entry))
            self._add(member, member.size)
        entries.append(self._begun(_entry(MANIFEST, len(sums), zlib.crc32(sums), last)))
        self._add(sums, len(sums))
        end = _end_of(entries, self.size)
        self._add(end, len(end))
        self.etag = f'"{self._digest()}"'

    @property
    def weight(self) -> int:
        """What it takes in memory, in bytes, about: what is no file's, and as much again for each file."""
        own = sum(len(part) for part in self._parts if not isinstance(part, Member))
        return 3 * own + FILE_COST * len(self._parts)

    def slice(self, start: int, length: int) -> Iterator[bytes | Piece]:
        """The bytes `start` to `start + length`: what is no file's as it is, what is as a `Piece`."""
        end = min(start + length, self.size)
        if start >= end:
            return
        for at in range(max(0, bisect_right(self._starts, start) - 1), len(self._parts)):
            part, begin = self._parts[at], self._starts[at]
            if begin >= end:
                return
            first, behind = max(start - begin, 0), end - begin
            if isinstance(part, Member):
                yield Piece(part, first, min(behind, part.size) - first)
            else:
                yield part[first:behind]

    def shares(self, start: int, length: int) -> dict[str, int]:
        """How many bytes of each file are among those `start` to `start + length`, by its key."""
        pieces = (part for part in self.slice(start, length) if isinstance(part, Piece))
        return {piece.member.key: piece.length for piece in pieces}

    def _begun(self, entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
        entry.header_offset = self.size
        header = entry.FileHeader()
        self._add(header, len(header))
        return entry

    def _add(self, part: bytes | Member, size: int) -> None:
        if size:
            self._parts.append(part)
            self._starts.append(self.size)
            self.size += size

    def _digest(self) -> str:
        """Over all that is no file's: the digests of the files are part of it."""
        digest = hashlib.sha256()
        for part in self._parts:
            if not isinstance(part, Member):
                digest.update(part)
        return digest.hexdigest()


def checksum_line(sha256: str, name: str) -> str:
    """As `sha256sum` writes it, and reads it with `-c`."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{sha256}  {escaped}\n"


def _entry(name: str, size: int, crc32: int, moment: datetime) -> zipfile.ZipInfo:
    when = moment.astimezone(UTC)
    time = (when.year, when.month, when.day, when.hour, when.minute, when.second)
    entry = zipfile.ZipInfo(name, max(time, FIRST_TIME))
    entry.file_size = entry.compress_size = size
    entry.CRC = crc32
    entry.create_system, entry.external_attr = UNIX, PLAIN_FILE
    return entry


class _Behind(io.BytesIO):
    """What is written to a file behind its first `begin` bytes, to which nobody can go back."""

    def __init__(self, begin: int) -> None:
        super().__init__()
        self._begin = begin

    def tell(self) -> int:
        return self._begin + super().tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation("seek")


def _end_of(entries: Iterable[zipfile.ZipInfo], begin: int) -> bytes:
    """The central directory, which begins at `begin`, and all that stands behind it."""
    written = _Behind(begin)
    with zipfile.ZipFile(written, "w") as archive:
        archive.filelist.extend(entries)
    return written.getvalue()
