"""What a page shows of a file: picture, sound, film, PDF or the beginning of a text, in an answer that can run nothing.

The answer is its own: a sandbox without an origin, of a type from the short list of `kinds.py`, that no other site may
embed. Whatever the file pretends to be, the worst that it can be here is a broken picture.
"""

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext_lazy as _

from uploads.delivery import kinds, stream
from uploads.delivery.disposition import disposition
from uploads.errors import RangeInvalid, UploadError, WrongState
from uploads.models import StoredFile
from uploads.sharing.access import Access
from uploads.storage.base import Store

TEXT_BYTES = 64 * 1024
PICTURE_BYTES = 32 * 1024 * 1024  # a browser takes all of it to show any of it

HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}
KNOWN_SECONDS = 3600


class NoPreview(WrongState):
    """The bytes are none of what can be shown safely."""

    http_status = 415
    sentence = _("This file cannot be shown here, but it can be downloaded.")


def family_of(file: StoredFile) -> str:
    """What the page of a file makes room for (`kinds.expected_family`); empty where it shows nothing of it."""
    family = kinds.expected_family(file.content_type, file.filename)
    is_too_large = family == "image" and file.size > PICTURE_BYTES
    return "" if not file.size or is_too_large or _is_counted(file) else family


def _is_counted(file: StoredFile) -> bool:
    """Whoever sees all of it has it: where downloads are limited, nothing is shown besides."""
    return file.max_downloads is not None


async def respond(request: HttpRequest, file: StoredFile, store: Store, access: Access) -> HttpResponseBase:
    """The answer to a GET or HEAD of a completed file's preview; ranges are answered, but for text.

    Raises `NoPreview`, and what `stream.respond` raises.
    """
    media_type = None if _is_counted(file) else await _media_type(file, store)
    if media_type is None:
        raise NoPreview()
    if media_type == kinds.TEXT:
        return await _beginning(file, store, request.method)
    response = await stream.respond(request, file, store, access)
    for name, value in HEADERS.items():
        response.headers[name] = value
    if "Content-Type" in response.headers:  # not where it says that nothing changed
        response.headers["Content-Type"] = media_type
        response.headers["Content-Disposition"] = disposition(file.filename, is_attachment=False)
    return response


async def _media_type(file: StoredFile, store: Store) -> str | None:
    """By the bytes, which never change once a file is complete: a film is asked for in many ranges."""
    key = f"preview:{file.pk}"
    known = await cache.aget(key)
    if known is None:
        known = kinds.media_type(await _first_bytes(file, store, kinds.HEAD_BYTES)) or ""
        await cache.aset(key, known, KNOWN_SECONDS)
    return known or None


async def _beginning(file: StoredFile, store: Store, method: str | None) -> HttpResponse:
    text = kinds.readable(await _first_bytes(file, store, TEXT_BYTES), is_cut=file.size > TEXT_BYTES)
    if text is None:
        raise NoPreview()
    response = plain(text, 200)
    if method == "HEAD":
        response.headers["Content-Length"] = str(len(response.content))
        response.content = b""
    return response


async def _first_bytes(file: StoredFile, store: Store, most: int) -> bytes:
    return b"".join([block async for block in await store.read(str(file.pk), 0, min(most, file.size), size=file.size)])


def refusal(error: UploadError) -> HttpResponse:
    """Why there is nothing to show, as text in the same sandbox."""
    response = plain(error.detail, error.http_status or 500)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, RangeInvalid):
        response.headers["Content-Range"] = f"bytes */{error.members['size']}"
    return response


def plain(text: str, status: int) -> HttpResponse:
    return HttpResponse(text, status=status, content_type=kinds.TEXT, headers=HEADERS)
