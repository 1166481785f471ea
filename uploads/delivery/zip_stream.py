"""The ZIP of a batch as an HTTP answer: whole or one range, verified by its ETag, as that of a single file is."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase

from uploads.delivery import parts
from uploads.delivery.disposition import disposition
from uploads.delivery.zip_body import body_of
from uploads.delivery.zip_plan import Member, Plan
from uploads.models import Batch
from uploads.sharing.access import Access
from uploads.storage import store_named


async def respond(
    request: HttpRequest, batch: Batch, plan: Plan, access: Access, locks: Mapping[UUID, str]
) -> HttpResponseBase:
    """The answer to a GET or HEAD of a batch's ZIP with the files of `locks`. Raises what `parts.respond` does.

    It tells no date: where a file was deleted, the ZIP is another one, and no newer.
    """

    async def read(start: int, length: int) -> AsyncGenerator[bytes]:
        return await body_of(plan.slice(start, length), _read)

    return await parts.respond(
        request, parts.Whole(plan.size, _headers(batch, plan), read, shares=plan.shares), access, locks
    )


async def _read(member: Member, start: int, length: int) -> AsyncIterator[bytes]:
    return await store_named(member.storage).read(member.key, start, length, size=member.size)


def _headers(batch: Batch, plan: Plan) -> dict[str, str]:
    return {
        "Content-Type": "application/zip",
        "Content-Disposition": disposition(zip_name(batch)),
        "ETag": plan.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def zip_name(batch: Batch) -> str:
    """What it is called on a person's disk: by the batch's title, or where there is none by its id."""
    return f"{batch.title or f'directdrivex-{str(batch.pk)[:8]}'}.zip"
