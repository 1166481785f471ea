"""The previews as a plain HTTP client sees them; what a browser makes of them: tests/browser/test_previews.py."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.test import AsyncClient, Client

from uploads.delivery.preview import PICTURE_BYTES, TEXT_BYTES
from uploads.models import StoredFile
from uploads.states import Status
from uploads.storage.base import StorageUnavailableError
from uploads.tests.test_pages import page_of, stored_file

pytestmark = pytest.mark.django_db(transaction=True)

SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'self'"


class Kept:
    """A storage that has one file, and counts how often it was read."""

    def __init__(self, data: bytes, fault: Exception | None = None) -> None:
        self.data, self.fault, self.reads = data, fault, 0

    async def read(self, key: str, start: int, length: int, *, size: int) -> AsyncIterator[bytes]:
        self.reads += 1
        if self.fault:
            raise self.fault

        async def blocks() -> AsyncIterator[bytes]:
            yield self.data[start : start + length]

        return blocks()


@pytest.fixture(autouse=True)
def _no_type_is_known() -> Iterator[None]:
    yield
    cache.clear()


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a complete file of these bytes."""

    def make(data: bytes, fault: Exception | None = None, **fields: Any) -> tuple[StoredFile, Kept]:
        kept = Kept(data, fault)
        monkeypatch.setattr("uploads.pages.store_of", lambda _file: kept)
        return stored_file(**{"status": Status.COMPLETED, "size": len(data)} | fields), kept

    return make


async def answer_of(file: StoredFile, method: str = "GET", **headers: str) -> tuple[Any, bytes]:
    answer = await AsyncClient().generic(method, f"/preview/{file.pk}", headers=headers)
    return answer, b"".join([block async for block in answer]) if answer.streaming else answer.content


async def test_a_picture_has_the_type_of_its_bytes_and_a_policy_of_its_own(keep: Any) -> None:
    file, _ = await sync_to_async(keep)(b"GIF89a....", content_type="text/html", filename="a.html")
    answer, body = await answer_of(file)
    assert (answer.status_code, body) == (200, b"GIF89a....")
    assert answer.headers["Content-Type"] == "image/gif"
    assert answer.headers["Content-Disposition"] == 'inline; filename="a.html"'
    assert answer.headers["Content-Security-Policy"] == SANDBOX
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "no-cache" in answer.headers["Cache-Control"]


async def test_a_film_is_given_in_ranges_and_looked_into_once(keep: Any) -> None:
    film = b"\0\0\0\x20ftypisom" + bytes(range(200))
    file, kept = await sync_to_async(keep)(film)
    for start in (12, 100, 150):
        answer, body = await answer_of(file, range=f"bytes={start}-{start + 9}")
        assert (answer.status_code, body) == (206, film[start : start + 10])
        assert answer.headers["Content-Type"] == "video/mp4"
        assert answer.headers["Content-Security-Policy"] == SANDBOX
    assert kept.reads == 4
    answer, _ = await answer_of(file, range="bytes=9999-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{file.size}")
    answer, body = await answer_of(file, "HEAD")
    assert (answer.status_code, body, answer.headers["Content-Length"]) == (200, b"", str(len(film)))
    answer, _ = await answer_of(file, **{"if-none-match": f'"{file.sha256}"'})
    assert answer.status_code == 304
    assert answer.headers["Content-Security-Policy"] == SANDBOX


async def test_markup_is_shown_as_its_source_and_of_a_long_text_the_beginning(keep: Any) -> None:
    for content_type in ("text/html", "image/svg+xml", "image/png", ""):
        file, _ = await sync_to_async(keep)("<svg onload='x'>नमस्ते".encode(), content_type=content_type)
        answer, body = await answer_of(file)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Content-Security-Policy"] == SANDBOX
        assert body.decode() == "<svg onload='x'>नमस्ते"
    file, _ = await sync_to_async(keep)(b"x" * (TEXT_BYTES + 10))
    answer, body = await answer_of(file)
    assert body == b"x" * TEXT_BYTES
    answer, body = await answer_of(file, "HEAD")
    assert (body, answer.headers["Content-Length"]) == (b"", str(TEXT_BYTES))


async def test_what_cannot_be_shown_says_why_in_the_same_sandbox(keep: Any) -> None:
    file, _ = await sync_to_async(keep)(b"MZ\x90\0")
    answer, body = await answer_of(file)
    assert (answer.status_code, body) == (415, b"This file cannot be shown here, but it can be downloaded.")
    assert answer.headers["Content-Security-Policy"] == SANDBOX
    file, _ = await sync_to_async(keep)(b"abc", fault=StorageUnavailableError("the disk is away"))
    answer, body = await answer_of(file)
    assert answer.status_code == 503
    assert b"disk" not in body
    for status, code in ((Status.PENDING, 409), (Status.DELETED, 410), (Status.EXPIRED, 410), (Status.FAILED, 410)):
        file, kept = await sync_to_async(keep)(b"abc", status=status)
        answer, _ = await answer_of(file)
        assert (answer.status_code, kept.reads) == (code, 0)
    answer = await AsyncClient().post(f"/preview/{file.pk}")
    assert answer.status_code == 405


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"filename": "a.png", "content_type": "image/png"}, '<img class="preview"'),
        ({"filename": "a.svg", "content_type": "image/svg+xml"}, '<iframe class="preview preview-text"'),
        ({"filename": "a.mp3", "content_type": "audio/mpeg"}, '<audio class="preview"'),
        ({"filename": "a.mov", "content_type": ""}, '<video class="preview"'),
        ({"filename": "a.pdf", "content_type": "application/pdf"}, '<iframe class="preview"'),
        ({"filename": "a.log", "content_type": ""}, " sandbox "),
        ({"filename": "a.exe", "content_type": ""}, ""),
        ({"filename": "a.png", "content_type": "image/png", "size": PICTURE_BYTES + 1}, ""),
        ({"filename": "a.png", "content_type": "image/png", "size": 0}, ""),
        ({"filename": "a.png", "content_type": "image/png", "status": Status.PENDING}, ""),
    ],
)
def test_the_page_makes_room_for_what_can_be_shown(fields: dict[str, Any], shown: str) -> None:
    file = stored_file(**{"status": Status.COMPLETED} | fields)
    text = page_of(Client(), file)
    if shown:
        assert shown in text
        assert f'src="/preview/{file.pk}"' in text
    else:
        assert "/preview/" not in text
