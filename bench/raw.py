"""Clients that cost almost nothing, so that the server is what is measured: bytes go from the page cache by sendfile.

A WebSocket client must mask what it sends, but chooses the key: masked with a key of zeros the bytes are the plain
ones, so that frames can be sent by sendfile too. The server unmasks them as it must, and cannot tell the difference.
"""

import base64
import http.client
import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

ZERO_KEY = bytes(4)
BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10
FIRST = 0x80  # FIN
MASKED = 0x80


class RawError(Exception):
    """The server did not answer as its protocol says."""


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send_file(connection: socket.socket, file: int, offset: int, length: int) -> None:
    end = offset + length
    while offset < end:
        offset += os.sendfile(connection.fileno(), file, offset, end - offset)


def _head_and_rest(connection: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise RawError(f"the server closed after {data!r}")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def request(port: int, method: str, path: str, headers: dict[str, str], file: Path | None = None) -> dict[str, str]:
    """One HTTP request whose body is `file`; returns the answer's headers in lower case. Raises `RawError`."""
    with connect(port) as connection:
        size = file.stat().st_size if file else 0
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", f"Content-Length: {size}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        if file:
            with file.open("rb") as opened:
                send_file(connection, opened.fileno(), 0, size)
        head, _ = _head_and_rest(connection)
        status, *rest = head.split("\r\n")
        if not status.split()[1].startswith("2"):
            raise RawError(head)
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}


def put(port: int, path: str, file: Path, headers: dict[str, str] | None = None) -> None:
    request(port, "PUT", path, headers or {}, file)


def tus(port: int, path: str, file: Path) -> None:
    """Create and send a whole file as one PATCH, by the tus protocol 1.0.0."""
    tus_version = {"Tus-Resumable": "1.0.0"}
    name = base64.b64encode(file.name.encode()).decode()
    created = request(
        port,
        "POST",
        path,
        {**tus_version, "Upload-Length": str(file.stat().st_size), "Upload-Metadata": f"filename {name}"},
    )
    where = created["location"].partition(f":{port}")[2] or created["location"]
    body = {**tus_version, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    request(port, "PATCH", where, body, file)


class WebSocket:
    """A client's side of one WebSocket, blocking, without extensions."""

    def __init__(self, port: int, path: str, headers: dict[str, str] | None = None) -> None:
        self.connection = connect(port)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head, self._buffer = _head_and_rest(self.connection)
        if not head.startswith("HTTP/1.1 101"):
            raise RawError(head)

    def _header(self, opcode: int, length: int) -> bytes:
        if length < 126:
            return bytes([FIRST | opcode, MASKED | length]) + ZERO_KEY
        if length < 65536:
            return bytes([FIRST | opcode, MASKED | 126]) + struct.pack(">H", length) + ZERO_KEY
        return bytes([FIRST | opcode, MASKED | 127]) + struct.pack(">Q", length) + ZERO_KEY

    def say(self, **message: Any) -> None:
        data = json.dumps(message).encode()
        self.connection.sendall(self._header(TEXT, len(data)) + data)

    def send(self, data: bytes) -> None:
        self.connection.sendall(self._header(BINARY, len(data)) + data)

    def send_from(self, file: int, offset: int, length: int) -> None:
        self.connection.send(self._header(BINARY, length), socket.MSG_MORE)
        send_file(self.connection, file, offset, length)

    def _parse(self) -> tuple[int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        opcode, length, start = data[0] & 15, data[1] & 127, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + length:
            return None
        self._buffer = data[start + length :]
        return opcode, data[start : start + length]

    def receive(self, *, wait: bool = True) -> str | None:
        """The next text message; with `wait=False` None where none has come. Raises `RawError` on a close."""
        while True:
            frame = self._parse()
            if frame is None:
                try:
                    data = self.connection.recv(65536, 0 if wait else socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return None
                if not data:
                    raise RawError("the server closed without a word")
                self._buffer += data
                continue
            opcode, payload = frame
            if opcode == TEXT:
                return payload.decode()
            if opcode == CLOSE:
                raise RawError(f"closed: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")
            if opcode == PING:
                self.connection.sendall(self._header(PONG, len(payload)) + payload)

    def close(self) -> None:
        self.connection.sendall(self._header(CLOSE, 2) + struct.pack(">H", 1000))
        self.connection.close()


def sink(port: int, path: str, file: Path, chunk: int = 1024 * 1024) -> None:
    """Send a file to the bare sink, which has no protocol, and wait until it has it all."""
    size = file.stat().st_size
    websocket = WebSocket(port, f"{path}?{size}")
    with file.open("rb") as opened:
        for offset in range(0, size, chunk):
            websocket.send_from(opened.fileno(), offset, min(chunk, size - offset))
    websocket.receive()
    websocket.connection.close()


def initiate(port: int, name: str, size: int, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Announce a file; returns the answer of the call. Raises `RawError`."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = json.dumps({"filename": name, "size": size})
    connection.request("POST", "/api/v1/upload/initiate", body, {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    if response.status != 200:
        raise RawError(str(answer))
    return dict(answer)


def directdrivex(port: int, file: Path, pause: float = 0.0) -> dict[str, Any]:
    """Upload a file by wire.md, with a pause in seconds after each chunk, and return its `success` message."""
    size = file.stat().st_size
    upload = initiate(port, file.name, size)
    websocket = WebSocket(port, upload["upload_url"])
    websocket.say(type="start", token=upload["upload_token"])
    ready = next_message(websocket, "ready")
    chunk, window, received = ready["chunk_size"], ready["window"], 0
    offset = 0
    with file.open("rb") as opened:
        while offset < size:
            length = min(chunk, size - offset)
            while (text := websocket.receive(wait=offset + length > received + window)) is not None:
                message = json.loads(text)
                if message["type"] != "progress":
                    raise RawError(text)
                received = message["received"]
            websocket.send_from(opened.fileno(), offset, length)
            offset += length
            if pause:
                time.sleep(pause)
    websocket.say(type="finish")
    success = next_message(websocket, "success")
    websocket.connection.close()
    return success


def next_message(websocket: WebSocket, kind: str) -> dict[str, Any]:
    """The next message of this type; others are passed over. Raises `RawError` where it cannot come any more."""
    while True:
        message = json.loads(websocket.receive() or "{}")
        if message["type"] == kind:
            return dict(message)
        if message["type"] in ("error", "cancelled", "rewind"):
            raise RawError(str(message))


def download(port: int, path: str, size: int) -> None:
    """Read a whole file and drop it; the kernel drops it without copying it to us."""
    with connect(port) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        head, rest = _head_and_rest(connection)
        if " 200 " not in head.split("\r\n")[0]:
            raise RawError(head)
        left, buffer = size - len(rest), bytearray(1024 * 1024)
        while left:
            count = connection.recv_into(buffer, min(left, len(buffer)), socket.MSG_TRUNC)
            if not count:
                raise RawError(f"{left} bytes are missing")
            left -= count


def first_byte(port: int, path: str) -> float:
    """Seconds from the request until the first byte of the body is there; the rest is left."""
    with connect(port) as connection:
        began = time.perf_counter()
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        head, rest = _head_and_rest(connection)
        if " 200 " not in head.split("\r\n")[0]:
            raise RawError(head)
        if not rest and not connection.recv(1):
            raise RawError("the server closed before the body")
        return time.perf_counter() - began
