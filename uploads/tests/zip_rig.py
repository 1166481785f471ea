"""Batches that are really stored, and what a client gets of their ZIP."""

import hashlib
import zlib
from typing import Any

from django.http import HttpResponseBase
from django.test import AsyncClient
from django.utils import timezone

from uploads.links import batch_zip_path
from uploads.models import Batch, StoredFile
from uploads.states import Status
from uploads.storage import get_store


async def stored_batch(*files: tuple[str, bytes], title: str = "", **fields: Any) -> Batch:
    """A batch of completed files, each a path and its bytes, in the store of this process; `fields` are all files'."""
    now = timezone.now()
    batch = await Batch.objects.acreate(title=title, person="address:192.0.2.7", created_at=now)
    for position, (path, data) in enumerate(files):
        folders, _slash, filename = path.rpartition("/")
        values = {
            "filename": filename,
            "path": folders,
            "size": len(data),
            "status": Status.COMPLETED,
            "sha256": hashlib.sha256(data).hexdigest(),
            "crc32": zlib.crc32(data),
            "person": batch.person,
            "storage": get_store().name,
            "token_digest": "0" * 64,
            "quota_day": now.date(),
            "created_at": now,
            "completed_at": now,
            "upload_expires_at": now,
        }
        file = await StoredFile.objects.acreate(batch=batch, position=position, **values | fields)
        upload = await get_store().open(str(file.pk), len(data))
        await upload.append([data])
        await upload.finish()
        await upload.close()
    return batch


async def get_zip(client: AsyncClient, batch: Batch, method: str = "get", **headers: str) -> Any:
    """The answer; header names are written with `_`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await getattr(client, method)(batch_zip_path(batch.pk), headers=named)


async def body_of(answer: HttpResponseBase) -> bytes:
    if not answer.streaming:
        return bytes(answer.content)  # type: ignore[attr-defined]
    return b"".join([block async for block in answer])  # type: ignore[attr-defined]
