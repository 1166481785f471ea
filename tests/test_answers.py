"""How answers leave for the server, below Django's views."""

from collections.abc import AsyncIterator
from typing import Any

from django.http import StreamingHttpResponse

from directdrivex.asgi import django_application

MIB = 1024 * 1024


async def test_a_block_of_a_download_is_neither_cut_nor_copied() -> None:
    block = bytes(MIB)

    async def blocks() -> AsyncIterator[bytes]:
        yield block
        yield b"the end"

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await django_application.send_response(StreamingHttpResponse(blocks()), send)
    bodies = [message.get("body", b"") for message in sent[1:]]
    assert bodies[0] is block
    assert b"".join(bodies) == block + b"the end"
