"""`multipart/related` as Google's client (LF) and rclone (CRLF) write it, in blocks of any size."""

from collections.abc import AsyncIterator

import pytest

from devtools.emulator.errors import DriveError
from devtools.emulator.multipart import Multipart

BOUNDARY = "==mark=="
CONTENTS = (b"", b"x", b"\r\n", b"\n--==mar", b"--==mark==", b"\r\n--==mark=\r\n\r\n", bytes(300))


async def blocks(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


async def read(body: bytes, size: int) -> tuple[object, str, bytes]:
    parts = Multipart(blocks(body, size), BOUNDARY)
    metadata = await parts.metadata()
    return metadata, parts.mime_type, b"".join([block async for block in parts.content()])


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("content", CONTENTS, ids=repr)
async def test_both_parts_are_read_as_they_were_written(end: bytes, content: bytes) -> None:
    head = end.join((b"--==mark==", b"Content-Type: application/json", b"", b'{"name": "x"}'))
    body = (
        head + end.join((b"", b"--==mark==", b"content-type: text/plain", b"", content)) + end + b"--==mark==--" + end
    )
    for size in (1, 2, 3, 7, 16, 1000):
        assert await read(body, size) == ({"name": "x"}, "text/plain", content)
        with pytest.raises(DriveError, match="Missing end boundary"):
            await read(body[: -len(end) - 5], size)


@pytest.mark.parametrize("body", [b"", b"nothing", b"--==mark==\n\n", b"--==mark==\n\n{\n--==mark==\n\n\n--==mark==--"])
async def test_what_is_no_multipart_is_refused(body: bytes) -> None:
    with pytest.raises(DriveError, match="400"):
        await read(body, 1000)
