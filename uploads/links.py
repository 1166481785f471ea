"""The addresses that answers carry: paths from the root, but for the links that people pass on, which are absolute."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest


def download_path(file_id: UUID | str) -> str:
    return f"/api/v1/download/stream/{file_id}"


def upload_path(file_id: UUID | str) -> str:
    return f"/ws_api/upload_parallel/{file_id}"


def share_path(file_id: UUID | str) -> str:
    return f"/f/{file_id}"


def share_url(origin: str, file_id: UUID | str) -> str:
    """The absolute address of the download page; `origin` is where this request came in."""
    return f"{settings.PUBLIC_URL or origin}{share_path(file_id)}"


def download_url(origin: str, file_id: UUID | str) -> str:
    """The absolute address of the bytes, for programs that download; `origin` as above."""
    return f"{settings.PUBLIC_URL or origin}{download_path(file_id)}"


def preview_path(file_id: UUID | str) -> str:
    return f"/preview/{file_id}"


def batch_path(batch_id: UUID | str) -> str:
    return f"/b/{batch_id}"


def batch_zip_path(batch_id: UUID | str) -> str:
    return f"/api/v1/batch/download-zip/{batch_id}"


def batch_zip_url(origin: str, batch_id: UUID | str) -> str:
    """As `download_url`, of a batch's ZIP."""
    return f"{settings.PUBLIC_URL or origin}{batch_zip_path(batch_id)}"


def batch_url(origin: str, batch_id: UUID | str) -> str:
    """The absolute address of a batch's page."""
    return f"{settings.PUBLIC_URL or origin}{batch_path(batch_id)}"


def page_of_download(path: str) -> str | None:
    """The page of the file or of the batch whose bytes this path gives; None for any other path."""
    head, _slash, some_id = path.rpartition("/")
    pages = {download_path(""): share_path, batch_zip_path(""): batch_path}
    try:
        return pages[f"{head}/"](UUID(some_id))
    except (KeyError, ValueError):
        return None


def is_followed(request: HttpRequest) -> bool:
    """Does a person follow a link, who is to be told in words? Programs and scripts of pages get a problem.

    A browser says so itself only where the connection is safe; without, what it would like best tells.
    """
    mode = request.headers.get("Sec-Fetch-Mode")
    return mode == "navigate" if mode else "text/html" in request.headers.get("Accept", "")


def origin_of_request(request: HttpRequest) -> str:
    return f"{request.scheme}://{request.get_host()}"


def origin_of_scope(scope: Any) -> str:
    """Scheme and host of a WebSocket handshake, as a page's address has them."""
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "ws"), "http")
    host = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "localhost")
    return f"{scheme}://{host}"
