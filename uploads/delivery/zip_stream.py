"""The ZIP of a batch as an HTTP answer: whole or one range, verified by its ETag, as that of a single file is."""

from collections.abc import AsyncIterator, Mapping

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from uploads.delivery import ranges
from uploads.delivery.zip_body import body_of
from uploads.delivery.zip_names import safe_part
from uploads.delivery.zip_plan import Member, Plan
from uploads.errors import RangeInvalid
from uploads.models import Batch
from uploads.storage import store_named


async def respond(batch: Batch, plan: Plan, method: str, headers: Mapping[str, str]) -> HttpResponseBase:
    """The answer to a GET or HEAD of a batch's ZIP. Raises `RangeInvalid`, or a `StorageError` before any byte.

    A fault in mid-stream raises out of the body, so that the connection breaks and nobody takes a part for the whole.
    """
    common = _headers(batch, plan)
    if ranges.matches(headers.get("If-None-Match"), plan.etag):
        return HttpResponse(status=304, headers={k: v for k, v in common.items() if k != "Content-Type"})
    wanted = None
    # A date would not do for If-Range: where a file was deleted, the ZIP is another one, and no newer.
    if method == "GET" and ranges.range_still_holds(headers.get("If-Range"), plan.etag, plan.etag):
        try:
            wanted = ranges.parse_range(headers.get("Range"), plan.size)
        except ranges.RangeError:
            raise RangeInvalid(size=plan.size) from None
    start, length, status = (wanted.start, wanted.length, 206) if wanted else (0, plan.size, 200)
    common["Content-Length"] = str(length)
    if wanted:
        common["Content-Range"] = f"bytes {wanted.start}-{wanted.end}/{plan.size}"
    if method == "HEAD":
        return HttpResponse(status=status, headers=common)
    body = await body_of(plan.slice(start, length), _read)
    return StreamingHttpResponse(body, status=status, headers=common)


async def _read(member: Member, start: int, length: int) -> AsyncIterator[bytes]:
    return await store_named(member.storage).read(member.key, start, length)


def _headers(batch: Batch, plan: Plan) -> dict[str, str]:
    return {
        "Content-Type": "application/zip",
        "Content-Disposition": content_disposition_header(True, zip_name(batch)) or "attachment",
        "ETag": plan.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def zip_name(batch: Batch) -> str:
    """What it is called on a person's disk: by the batch's title, or where there is none by its id."""
    return safe_part(f"{batch.title or f'directdrivex-{str(batch.pk)[:8]}'}.zip")
