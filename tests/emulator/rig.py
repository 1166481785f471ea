"""A plain HTTP client of the emulator: each request on a connection of its own, nothing followed, nothing repeated."""

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from devtools.emulator_process import EmulatorProcess

KIB = 1024
GRAIN = 256 * KIB
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def stored(self) -> int:
        """How many bytes a 308 says are stored."""
        assert self.status == 308
        value = self.headers["Range"]
        return 0 if value is None else int(re.fullmatch(r"bytes=0-(\d+)", value)[1]) + 1  # type: ignore[index]

    @property
    def reason(self) -> str:
        [error] = self.json["error"]["errors"]
        assert self.json["error"]["code"] == self.status
        assert error["message"] == self.json["error"]["message"]
        return str(error["reason"])


class Drive:
    """Drive as one user sees it. Methods are named by what they do in Drive's API."""

    def __init__(self, emulator: EmulatorProcess, refresh_token: str = "refresh") -> None:
        self.emulator = emulator
        self.refresh_token = refresh_token
        self.token = emulator.token(refresh_token)

    def send(self, method: str, url: str, body: Any = None, *, token: str | None = "", **headers: str | int) -> Answer:
        """One request; `url` is a path or whole. `token=None` sends none. Raises `OSError` where there is no answer."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", self.emulator.port, timeout=TIMEOUT_SECONDS)
        said = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        if token is not None:
            said["Authorization"] = f"Bearer {token or self.token}"
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body, said)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None, **query: str | int) -> Answer:
        """A JSON call below /drive/v3, with all drives supported unless the test says otherwise."""
        query = {"supportsAllDrives": "true", **query}
        data = None if body is None else json.dumps(body).encode()
        return self.send(method, f"/drive/v3/{path}?{urlencode(query)}", data, Content_Type="application/json")

    def call_faults(self, method: str, body: Any = None) -> Answer:
        return self.send(method, "/_faults", None if body is None else json.dumps(body).encode(), token=None)

    def start(self, size: int | None, query: str = "fields=*", **metadata: Any) -> str:
        """Open a session; returns its URL."""
        answer = self.try_start(size, query, **metadata)
        assert answer.status == 200, answer.body
        return str(answer.headers["Location"])

    def try_start(self, size: int | None, query: str = "fields=*", **metadata: Any) -> Answer:
        headers: dict[str, str | int] = {"X_Upload_Content_Type": "application/octet-stream"}
        if size is not None:
            headers["X_Upload_Content_Length"] = size
        return self.send(
            "POST",
            f"/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true&{query}",
            json.dumps({"name": "file", **metadata}).encode(),
            Content_Type="application/json; charset=UTF-8",
            **headers,
        )

    def put(self, session: str, body: bytes, at: int, total: int | str, method: str = "PUT") -> Answer:
        """Send a chunk that begins at offset `at`."""
        return self.send(method, session, body, Content_Range=f"bytes {at}-{at + len(body) - 1}/{total}")

    def ask(self, session: str, total: int | str) -> Answer:
        """How much is stored?"""
        return self.send("PUT", session, b"", Content_Range=f"bytes */{total}")

    def upload(self, content: bytes, query: str = "fields=*", **metadata: Any) -> dict[str, Any]:
        """A whole file in one chunk; returns what the final answer says of it."""
        session = self.start(len(content), query, **metadata)
        answer = self.put(session, content, 0, len(content)) if content else self.send("PUT", session, b"")
        assert answer.status == 200, answer.body
        return dict(answer.json)
