"""A stored file as an HTTP answer: whole or one range, verified by its ETag and Repr-Digest, never run by a browser."""

import base64
from functools import partial

from django.http import HttpRequest, HttpResponseBase
from django.utils.http import http_date

from uploads.delivery import accel, kinds, parts
from uploads.delivery.disposition import disposition
from uploads.models import StoredFile
from uploads.sharing.access import Access
from uploads.storage.base import Store


async def respond(request: HttpRequest, file: StoredFile, store: Store, access: Access) -> HttpResponseBase:
    """The answer to a GET or HEAD of a completed file. Raises what `parts.respond` does, and a `StorageError`."""
    modified = int((file.completed_at or file.created_at).timestamp())
    read = partial(store.read, str(file.pk), size=file.size)
    hand_over = partial(accel.respond, store, file) if accel.can_serve(request, store) else None
    whole = parts.Whole(file.size, _headers(file, modified), read, modified, hand_over)
    return await parts.respond(request, whole, access)


def _headers(file: StoredFile, modified: int) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return {
        "Content-Type": kinds.passive_type(file.content_type),
        "Content-Disposition": disposition(file.filename),
        "ETag": f'"{file.sha256}"',
        "Last-Modified": http_date(modified),
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
