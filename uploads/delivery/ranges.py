"""Which bytes of a file a request asks for, and under which conditions (RFC 9110, 13 and 14). Needs no Django."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto

_SINGLE = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.IGNORECASE)
_ETAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_BEYOND = 10**19  # more than any file has; a longer number says no more


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


class Outcome(Enum):
    """What the conditions of a request come to."""

    PERFORM = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


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
    if not first:
        length = min(_number(last), size)
        if length == 0:
            raise RangeError(header)
        return ByteRange(size - length, size - 1)
    start, end = _number(first), _number(last) if last else size - 1
    if last and end < start:
        return None  # not a valid range: as if it were not there
    if start >= size:
        raise RangeError(header)
    return ByteRange(start, min(end, size - 1))


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) < 20 else _BEYOND


def conditions(headers: Mapping[str, str], etag: str, modified: int | None) -> Outcome:
    """What is to be done by the conditions of a GET or HEAD, in the order of RFC 9110, 13.2.2.

    `modified` is the time of Last-Modified in whole seconds since 1970, None where there is none: then no date is
    compared. One that cannot be read is none either.
    """
    if (if_match := headers.get("If-Match")) is not None:
        if not _names(if_match, etag, strongly=True):
            return Outcome.FAILED
    elif _is_later(modified, headers.get("If-Unmodified-Since")):
        return Outcome.FAILED
    if (if_none_match := headers.get("If-None-Match")) is not None:
        if _names(if_none_match, etag, strongly=False):
            return Outcome.NOT_MODIFIED
    elif _is_later(modified, headers.get("If-Modified-Since")) is False:
        return Outcome.NOT_MODIFIED
    return Outcome.PERFORM


def range_still_holds(if_range: str | None, etag: str, modified: int | None) -> bool:
    """May the range be served? Only where If-Range is absent, or names this very representation.

    Its date is as good as the ETag: what lies under one address never changes.
    """
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == etag
    return modified is not None and _seconds(if_range) == modified


def _is_later(modified: int | None, date: str | None) -> bool | None:
    """Than this date of a header; None where either is missing."""
    seconds = _seconds(date)
    return None if seconds is None or modified is None else modified > seconds


def _names(header: str, etag: str, *, strongly: bool) -> bool:
    """Does a list of ETags have this one, or is it `*`? A weak one is none where they are compared strongly."""
    if header.strip() == "*":
        return True
    return any(opaque == etag and not (weak and strongly) for weak, opaque in _ETAG.findall(header))


def _seconds(date: str | None) -> int | None:
    """An HTTP date in whole seconds since 1970; None where there is none, or none that can be read."""
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())  # one form names no zone
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
