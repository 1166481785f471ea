"""Requests as bytes, so that no library mends them on their way; answers read by a strict parser."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import h11

from devtools.raw_socket import HANGS_SECONDS

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Request:
    """One request. Headers given here replace those that every request has (`Host`, `Content-Length`)."""

    method: str
    path: str
    headers: tuple[tuple[str, str | bytes], ...] = ()
    body: bytes | None = None

    def encoded(self, host: str) -> bytes:
        named = {name.lower() for name, _ in self.headers}
        lines: list[tuple[str, str | bytes]] = list(self.headers)
        if "host" not in named:
            lines.insert(0, ("Host", host))
        if self.body is not None and not named & {"content-length", "transfer-encoding"}:
            lines.append(("Content-Length", str(len(self.body))))
        lines.append(("Connection", "close"))
        head = f"{self.method} {self.path} HTTP/1.1\r\n".encode()
        for name, value in lines:
            if value is not MISSING:
                head += name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
        return head + b"\r\n" + (self.body or b"")


MISSING = b"(this header is not sent)"  # told from others by identity


async def ask(port: int, request: Request) -> Answer | None:
    """The answer, or None where the server closed the connection without one. Raises `TimeoutError` where it hangs."""
    async with asyncio.timeout(HANGS_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request.encoded(f"127.0.0.1:{port}"))
            return await _answer(reader, request.method)
        except ConnectionError:
            return None
        finally:
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, method: str) -> Answer | None:
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="HEAD" if method == "HEAD" else "GET", target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    response, body = None, b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65536)
            if not data and response is None:
                return None
            parser.receive_data(data)
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None
            headers = {name.decode().lower(): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status_code, headers, body)
        elif isinstance(event, h11.ConnectionClosed):
            return None
