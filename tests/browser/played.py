"""A server of the test's own making, for what a real one says seldom: only sockets, or single calls, are played."""

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Route, WebSocketRoute

from tests.browser.conftest import MIB, UploadPage

WINDOW = 8 * MIB
PATIENT = {"type": "queued", "position": 1, "waiting_for": "user_slots", "eta_seconds": None}


def payload(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": os.urandom(size)}


class PlayedServer:
    """Keeps what the page says on each connection, and answers as the test's `plot` does.

    `plot(server, socket, message)` gets JSON messages as dicts and frames as bytes; what it leaves out is done as a
    good server would.
    """

    def __init__(self, upload: UploadPage, size: int, plot: Callable[..., bool] = lambda *_: False) -> None:
        self.size, self.plot = size, plot
        self.connections: list[WebSocketRoute] = []
        self.said: list[dict[str, Any]] = []
        self.data = b""
        self.dropping = False
        upload.page.route_web_socket("**/ws_api/**", self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        self.connections.append(socket)
        socket.on_message(lambda message: self._hear(socket, message))

    def _hear(self, socket: WebSocketRoute, message: str | bytes) -> None:
        heard = json.loads(message) if isinstance(message, str) else message
        if isinstance(heard, dict):
            self.said.append(heard)
        if not self.plot(self, socket, heard):
            self.behave(socket, heard)

    def behave(self, socket: WebSocketRoute, heard: dict[str, Any] | bytes) -> None:
        if isinstance(heard, bytes):
            if not self.dropping:
                self.data += heard
                self.progress(socket)
        elif heard["type"] == "start":
            self.ready(socket)
        elif heard["type"] == "resume" and heard["offset"] == len(self.data):
            self.dropping = False
        elif heard["type"] == "finish" and not self.dropping:
            assert heard["sha256"] == hashlib.sha256(self.data).hexdigest()
            self.say(socket, type="verifying")
            self.say(
                socket,
                type="success",
                value="/api/v1/download/stream/x",
                file_id="x",
                size=self.size,
                sha256=heard["sha256"],
                share_url="http://127.0.0.1/f/x",
                receipt={},
            )
            socket.close(code=1000)

    def say(self, socket: WebSocketRoute, **message: Any) -> None:
        socket.send(json.dumps(message))

    def ready(self, socket: WebSocketRoute) -> None:
        self.say(socket, type="ready", offset=len(self.data), chunk_size=MIB, window=WINDOW, size=self.size)

    def progress(self, socket: WebSocketRoute) -> None:
        count = len(self.data)
        value = 100 * count // self.size
        self.say(socket, type="progress", value=value, received=count, stored=count, rate=1)

    def refuse(self, socket: WebSocketRoute, code: str, close: int, retryable: bool, **more: Any) -> None:
        self.say(socket, type="error", code=code, value=f"About {code}.", retryable=retryable, **more)
        socket.close(code=close, reason=code)

    def types(self) -> list[str]:
        return [message["type"] for message in self.said]


def problem(code: str, status: int, retryable: bool, **more: Any) -> Callable[[Route], None]:
    body = {"type": "about:blank", "title": code, "status": status, "detail": f"About {code}.", "code": code}
    text = json.dumps(body | {"retryable": retryable} | more)
    return lambda route: route.fulfill(status=status, content_type="application/problem+json", body=text)
