"""Bytes that never change under their ETag as an HTTP answer: all of them, one range, or none (RFC 9110)."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from uploads.delivery import ranges
from uploads.delivery.lasting import READER, held_by, scope_of
from uploads.delivery.line import line
from uploads.delivery.ranges import ByteRange, Outcome
from uploads.delivery.reader import Reader
from uploads.errors import PreconditionFailed, RangeInvalid
from uploads.sharing.access import Access
from uploads.sharing.counting import Shares
from uploads.sharing.giving import NO_FILES, Part, count_elsewhere, give

# What RFC 9110, 15.4.5 wants of a 304; the rest is about bytes that do not come.
OF_A_304 = ("ETag", "Last-Modified", "Cache-Control", "X-Content-Type-Options", "Content-Security-Policy")


HandOver = Callable[[dict[str, str]], Awaitable[HttpResponseBase]]


@dataclass(frozen=True)
class Whole:
    """`size` bytes with the `headers` that describe them, `ETag` among them.

    `read(start, length)` begins to read, and raises what is wrong before the first byte. `modified` is the time of
    Last-Modified in whole seconds since 1970, None where there is none. `hand_over` may have the bytes sent by another
    program instead, which is told what is wanted by the request itself. `shares` are those of a ZIP (`Wanted`).
    """

    size: int
    headers: dict[str, str]
    read: Callable[[int, int], Awaitable[AsyncGenerator[bytes]]]
    modified: int | None = None
    hand_over: HandOver | None = None
    shares: Shares | None = None


async def respond(
    request: HttpRequest, whole: Whole, access: Access, locks: Mapping[UUID, str] = NO_FILES
) -> HttpResponseBase:
    """The answer to a GET or HEAD, once it may stream. A GET that gives bytes is counted, of a ZIP for each file in it.

    Of those `locks` has the hashes of the passwords that they had when they were found.

    Raises `PreconditionFailed`, `RangeInvalid`, `RateLimited`, `Gone` where no more downloads are allowed, and what
    `read` raises. A fault in mid-stream raises out of the body, so that the connection breaks and nobody takes a part
    for the whole.
    """
    headers, size = whole.headers, whole.size
    match ranges.conditions(request.headers, headers["ETag"], whole.modified):
        case Outcome.FAILED:
            raise PreconditionFailed()
        case Outcome.NOT_MODIFIED:
            return _not_modified(whole)
    if request.method == "HEAD":
        return HttpResponse(headers=headers | {"Content-Length": str(size)})
    wanted = _range_of(request, whole)
    # What is no range to us may be one to others; and they do not tell how much of it they gave.
    if whole.hand_over is not None and (wanted or "Range" not in request.headers) and not access.is_limited:
        answer = await whole.hand_over(headers)
        await count_elsewhere(access, is_range=wanted is not None)
        return answer
    start, length, status = (wanted.start, wanted.length, 206) if wanted else (0, size, 200)
    headers = headers | {"Content-Length": str(length)}
    if wanted:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.end}/{size}"
    await line().enter(request)
    read = partial(whole.read, start, length)
    part = Part(start, length, size, is_range=wanted is not None)
    scope = scope_of(request)
    reader: Reader | None = scope.get(READER)
    blocks = await give(access, read, part, locks, whole.shares, reader.unsent if reader else None)
    if (held := held_by(scope)) is not None:
        held.push_async_callback(blocks.aclose)  # it ends with the answer at the latest
    return StreamingHttpResponse(blocks, status=status, headers=headers)


def _not_modified(whole: Whole) -> HttpResponse:
    kept = {name: whole.headers[name] for name in OF_A_304 if name in whole.headers}
    # The framework would say 0; what is told is the length of the bytes that do not come.
    response = HttpResponse(status=304, headers=kept | {"Content-Length": str(whole.size)})
    del response["Content-Type"]
    return response


def _range_of(request: HttpRequest, whole: Whole) -> ByteRange | None:
    """The part that is asked for; None for all of it. Raises `RangeInvalid`."""
    if not ranges.range_still_holds(request.headers.get("If-Range"), whole.headers["ETag"], whole.modified):
        return None
    try:
        return ranges.parse_range(request.headers.get("Range"), whole.size)
    except ranges.RangeError:
        raise RangeInvalid(size=whole.size) from None
