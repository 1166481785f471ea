"""Which bytes of a file a request asks for: `Range`, `If-Range`, `If-None-Match` (RFC 9110). Needs no Django."""

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.IGNORECASE)
_DIGITS = 19  # more than any file has; a longer number is beyond the end anyway


class RangeError(ValueError):
    """The range lies outside the file."""


@dataclass(frozen=True)
class ByteRange:
    """`start` to `end`, inclusive, in bytes, as in Content-Range."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The one range asked for, cut to the file; None where the whole file is the answer.

    RFC 9110 lets a server ignore what it does not understand, and several ranges at once. Raises `RangeError`.
    """
    match = _SINGLE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if len(first) > _DIGITS or len(last) > _DIGITS:
        first, last = first[:_DIGITS], last[:_DIGITS]
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise RangeError(header)
        return ByteRange(size - length, size - 1)
    start, end = int(first), int(last) if last else size - 1
    if last and int(last) < start:
        return None  # not a valid range: as if it were not there
    if start >= size:
        raise RangeError(header)
    return ByteRange(start, min(end, size - 1))


def matches(header: str | None, etag: str) -> bool:
    """Does an If-None-Match list hold `etag` (weak comparison), or everything?"""
    if not header:
        return False
    if header.strip() == "*":
        return True
    return any(candidate.strip().removeprefix("W/") == etag for candidate in header.split(","))


def range_still_holds(if_range: str | None, etag: str, last_modified: str) -> bool:
    """May the range be served? Only where If-Range is absent, or names this very representation."""
    return if_range is None or if_range.strip() in (etag, last_modified)
