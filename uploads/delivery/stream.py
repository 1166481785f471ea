"""A stored file as an HTTP answer: whole or one range, verified by its ETag and Repr-Digest, never run by a browser."""

import base64
from collections.abc import AsyncIterator, Mapping

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header, http_date

from uploads.delivery import kinds, ranges
from uploads.errors import RangeInvalid
from uploads.models import StoredFile
from uploads.storage.base import Store


async def respond(file: StoredFile, store: Store, method: str, headers: Mapping[str, str]) -> HttpResponseBase:
    """The answer to a GET or HEAD of a completed file. Raises `RangeInvalid`, or a `StorageError` before any byte.

    A fault in mid-stream raises out of the body, so that the connection breaks and nobody takes a part for the whole.
    """
    etag = f'"{file.sha256}"'
    last_modified = http_date((file.completed_at or file.created_at).timestamp())
    common = _headers(file, etag, last_modified)
    if ranges.matches(headers.get("If-None-Match"), etag):
        return HttpResponse(status=304, headers=_without(common, "Content-Type"))
    wanted = None
    # RFC 9110, 14.2: Range has a meaning for GET only.
    if method == "GET" and ranges.range_still_holds(headers.get("If-Range"), etag, last_modified):
        try:
            wanted = ranges.parse_range(headers.get("Range"), file.size)
        except ranges.RangeError:
            raise RangeInvalid(size=file.size) from None
    start, length, status = (wanted.start, wanted.length, 206) if wanted else (0, file.size, 200)
    common["Content-Length"] = str(length)
    if wanted:
        common["Content-Range"] = f"bytes {wanted.start}-{wanted.end}/{file.size}"
    if method == "HEAD":
        return HttpResponse(status=status, headers=common)
    body: AsyncIterator[bytes] = await store.read(str(file.pk), start, length)
    return StreamingHttpResponse(body, status=status, headers=common)


def _headers(file: StoredFile, etag: str, last_modified: str) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return {
        "Content-Type": kinds.passive_type(file.content_type),
        "Content-Disposition": content_disposition_header(True, file.filename) or "attachment",
        "ETag": etag,
        "Last-Modified": last_modified,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def _without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}
