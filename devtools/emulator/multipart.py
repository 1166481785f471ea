"""`multipart/related`: metadata, then content of any length. Lines may end in LF alone: Google's own client does so."""

import json
from collections.abc import AsyncIterator
from typing import Any

from devtools.emulator.errors import DriveError

LONGEST_HEAD = 1024 * 1024  # of all that comes before the content


class Multipart:
    """Reads the two parts one after the other: `metadata()`, then `content()`."""

    def __init__(self, blocks: AsyncIterator[bytes], boundary: str) -> None:
        self._blocks = blocks
        self._mark = b"--" + boundary.encode("latin-1")
        self._held = b""
        self._line_end = b"\r\n"
        self.mime_type = ""  # of the content, once the metadata were read

    async def _until(self, mark: bytes) -> bytes:
        """What stands before the next `mark`, both consumed. Raises `DriveError` (400) where it does not come."""
        while (found := self._held.find(mark)) < 0:
            block = await anext(self._blocks, b"")
            if not block or len(self._held) > LONGEST_HEAD:
                raise DriveError(400, message="Missing end boundary in multipart body.")
            self._held += block
        before, self._held = self._held[:found], self._held[found + len(mark) :]
        return before

    async def _head(self) -> dict[str, str]:
        lines = (await self._until(self._line_end * 2)).decode("latin-1").splitlines()
        pairs = (line.partition(":") for line in lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def metadata(self) -> dict[str, Any]:
        """The first part. Raises `DriveError` (400) where it is no JSON object."""
        await self._until(self._mark)
        rest = await self._until(b"\n")
        self._line_end = b"\r\n" if rest.endswith(b"\r") else b"\n"
        if self._held.startswith(self._line_end):  # a part without headers
            self._held = self._line_end + self._held
        await self._head()
        text = await self._until(self._line_end + self._mark)
        await self._until(self._line_end)
        try:
            body = json.loads(text) if text.strip() else {}
        except ValueError:
            raise DriveError(400, "parseError", "Parse Error") from None
        if not isinstance(body, dict):
            raise DriveError(400, "parseError", "Parse Error")
        self.mime_type = (await self._head()).get("content-type", "")
        return body

    async def content(self) -> AsyncIterator[bytes]:
        """The second part as it arrives. Raises `DriveError` (400) where its end is missing."""
        mark = self._line_end + self._mark
        while (found := self._held.find(mark)) < 0:
            sure = len(self._held) - len(mark) + 1
            if sure > 0:
                yield self._held[:sure]
                self._held = self._held[sure:]
            block = await anext(self._blocks, b"")
            if not block:
                raise DriveError(400, message="Missing end boundary in multipart body.")
            self._held += block
        if found:
            yield self._held[:found]
        async for _ in self._blocks:
            pass
