"""What a request's body is, and which part of it is new."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from devtools.emulator.errors import DriveError

RANGE = re.compile(r"bytes (?:(?P<first>\d+)-(?P<last>\d+)|\*)/(?P<total>\d+|\*)")


@dataclass(frozen=True)
class ContentRange:
    """`bytes first-last/total`; `first` None asks how much is stored, `total` None is not known yet."""

    first: int | None
    last: int | None
    total: int | None

    @classmethod
    def of(cls, request: web.Request) -> "ContentRange | None":
        """Raises `DriveError` (400) where the header makes no sense or the body has another length."""
        text = request.headers.get("Content-Range")
        if text is None:
            return None
        match = RANGE.fullmatch(text.strip())
        if not match:
            raise DriveError(400, message="Failed to parse Content-Range header.", location="Content-Range")
        first, last, total = (None if value in (None, "*") else int(value) for value in match.groups())
        found = cls(first, last, total)
        length = request.content_length
        if (
            first is not None
            and last is not None
            and (last < first or (total is not None and last >= total) or (length not in (None, found.length)))
        ):
            raise DriveError(400, message="Failed to parse Content-Range header.", location="Content-Range")
        return found

    @property
    def length(self) -> int:
        return 0 if self.first is None or self.last is None else self.last - self.first + 1

    @property
    def final(self) -> bool:
        return self.last is not None and self.total == self.last + 1


async def json_of(request: web.Request) -> dict[str, Any]:
    """The metadata in a body; none is an empty object. Raises `DriveError` (400)."""
    text = await request.text()
    try:
        body = json.loads(text) if text.strip() else {}
    except ValueError:
        raise DriveError(400, "parseError", "Parse Error") from None
    if not isinstance(body, dict):
        raise DriveError(400, "parseError", "Parse Error")
    return body


async def blocks_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises `ConnectionError` where it breaks off."""
    while True:
        if request.transport is None:
            raise ConnectionResetError("the client has gone")
        try:
            block, _ = await request.content.readchunk()  # `readany` would copy once more
        except (aiohttp.ClientError, RequestPayloadError) as error:
            raise ConnectionResetError("the body broke off") from error
        if not block:
            return
        yield block


async def part(blocks: AsyncIterator[bytes], begin: int, end: int | None) -> AsyncIterator[bytes]:
    """The bytes from `begin` up to `end`; reading stops there. None: to the end of the body.

    Raises `DriveError` (400) where the body ends before that.
    """
    position = 0
    async for block in blocks:
        piece = block[max(0, begin - position) : None if end is None else max(0, end - position)]
        position += len(block)
        if piece:
            yield piece
        if end is not None and position >= end:
            return
    if end:
        raise DriveError(400, message="The body is shorter than its Content-Range.", location="Content-Range")


async def flipped(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes with the lowest bit of the first one turned."""
    first = True
    async for block in blocks:
        yield bytes([block[0] ^ 1]) + block[1:] if first else block
        first = False


async def drain(request: web.Request) -> None:
    """Read the rest of a body and forget it, so that the client hears the answer."""
    async for _ in blocks_of(request):
        pass
