"""Every HTTP call of wire.md, aimed at the treasure so that it changes nothing where it gets through."""

from dataclasses import dataclass

from tests.bad_input.conftest import Treasure
from tests.bad_input.http import Request

FILE = b'{"filename": "a.bin", "size": 1}'
NO_CHANGE, PASSWORD = b'{"revoked": false}', b'{"password": "x"}'


@dataclass(frozen=True)
class Call:
    """`reached` is what it answers when nothing is wrong with it: a finished file cannot be cancelled, nor an
    unfinished one deleted, so that such a call changes nothing even then."""

    method: str
    path: str
    reached: int | str
    target: str = ""  # `finished`, `half` or `batch`
    needs_token: bool = False
    body: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def changes(self) -> bool:
        return self.method in ("POST", "PATCH", "DELETE")

    def request(
        self,
        treasure: Treasure,
        *headers: tuple[str, str | bytes],
        target: str | None = None,
        token: str | None = None,
    ) -> Request:
        """The call with these headers besides its own; with another `target` or `token` than the right one."""
        upload = getattr(treasure, self.target) if self.target else None
        named = {name.lower() for name, _ in headers}
        own: list[tuple[str, str | bytes]] = []
        if self.body is not None and "content-type" not in named:
            own.append(("Content-Type", "application/json"))
        if upload is not None and self.needs_token and "authorization" not in named:
            own.append(("Authorization", f"Bearer {token or upload.token}"))
        file_id = target if target is not None else (upload.file_id if upload else "")
        return Request(self.method, self.path.format(file_id=file_id), (*own, *headers), self.body)


CALLS = [
    Call("POST", "/api/v1/upload/initiate", 200, body=FILE),
    Call("GET", "/api/v1/upload/status/{file_id}", 200, "half", needs_token=True),
    Call("POST", "/api/v1/upload/cancel/{file_id}", "wrong_state", "finished", needs_token=True),
    Call("GET", "/api/v1/upload/quota-info", 200),
    Call("GET", "/api/v1/files/{file_id}/meta", 200, "half"),
    Call("DELETE", "/api/v1/files/{file_id}", "wrong_state", "half", needs_token=True),
    Call("GET", "/api/v1/files", 200),
    Call("GET", "/api/v1/download/stream/{file_id}", 200, "finished"),
    Call("HEAD", "/api/v1/download/stream/{file_id}", 200, "finished"),
    Call("GET", "/api/v1/system/upload-status", 200),
    Call("POST", "/api/v1/batch/initiate", 200, body=b'{"files": [%b]}' % FILE),
    Call("GET", "/api/v1/batch/{file_id}", 200, "batch"),
    Call("GET", "/api/v1/batch/download-zip/{file_id}", 200, "batch"),
    Call("HEAD", "/api/v1/batch/download-zip/{file_id}", 200, "batch"),
    Call("POST", "/api/v1/batch/cancel/{file_id}", 200, "batch", needs_token=True),  # nothing of it is unfinished
    Call("PATCH", "/api/v1/files/{file_id}", 200, "finished", needs_token=True, body=NO_CHANGE),
    Call("PATCH", "/api/v1/batch/{file_id}", 200, "batch", needs_token=True, body=NO_CHANGE),
    Call("POST", "/api/v1/files/{file_id}/unlock", "wrong_state", "finished", body=PASSWORD),  # neither has one
    Call("POST", "/api/v1/batch/{file_id}/unlock", "wrong_state", "batch", body=PASSWORD),
]
PAGES = [
    Call("GET", "/", 200),
    Call("GET", "/f/{file_id}", 200, "finished"),
    Call("GET", "/healthz", 200),
    Call("GET", "/readyz", 200),
    Call("GET", "/metrics", 200),
    Call("GET", "/api/docs", 200),
    Call("GET", "/api/openapi.json", 200),
    Call("GET", "/jsi18n/", 200),
    Call("GET", "/admin/login/", 200),
    Call("GET", "/static/uploads/css/pages.css", 200),
]
