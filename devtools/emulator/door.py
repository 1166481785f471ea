"""What a new connection wants: HTTP, or by CONNECT, TLS to one of Google's names, which is answered here."""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from devtools.emulator.certificates import NAMES

LONGEST_HEAD = 8192


class Door(asyncio.Protocol):
    """Reads as far as is needed to tell, then hands the connection over for good."""

    def __init__(self, http: Callable[[], asyncio.Protocol], context: ssl.SSLContext) -> None:
        self._http, self._context = http, context
        self._head = b""
        self._tunnel: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"CONNECT ".startswith(self._head[:8]) and len(self._head) < 8:
            return
        if not self._head.startswith(b"CONNECT "):
            http = self._http()
            self._transport.set_protocol(http)
            http.connection_made(self._transport)
            http.data_received(self._head)
        elif b"\r\n\r\n" in self._head:
            self._connect(self._head.split(b" ", 2)[1].decode("latin-1"))
        elif len(self._head) > LONGEST_HEAD:
            self._transport.abort()

    def _connect(self, target: str) -> None:
        if target not in [f"{name}:443" for name in NAMES]:
            self._transport.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()
            return
        self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._tunnel = asyncio.get_running_loop().create_task(self._secure())

    async def _secure(self) -> None:
        http = self._http()
        try:
            secured = await asyncio.get_running_loop().start_tls(
                self._transport, http, self._context, server_side=True, ssl_shutdown_timeout=1.0
            )
        except (OSError, ssl.SSLError):
            return  # the client has gone, or does not trust us
        assert secured
        http.connection_made(secured)
