"""The calls of wire.md by which recipients unlock what has a password."""

from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Router

from uploads import batches, services
from uploads.answers import ERRORS
from uploads.models import Batch, StoredFile
from uploads.people import refuse_foreign
from uploads.schemas import UnlockedOut, UnlockIn, timestamp
from uploads.sharing import opening, unlocking

router = Router(tags=["sharing"])


@router.post("/files/{file_id}/unlock", response={200: UnlockedOut, **ERRORS})
async def unlock_file(request: HttpRequest, file_id: str, payload: UnlockIn) -> Any:
    """Give the password of a file, or of its batch where it has none of its own."""
    refuse_foreign(request)
    return await _unlock(request, await database_sync_to_async(services.find)(file_id), payload.password)


@router.post("/batch/{batch_id}/unlock", response={200: UnlockedOut, **ERRORS})
async def unlock_batch(request: HttpRequest, batch_id: str, payload: UnlockIn) -> Any:
    """Give the password of a batch; its files that have one of their own stay locked."""
    refuse_foreign(request)
    return await _unlock(request, await database_sync_to_async(batches.find)(batch_id), payload.password)


async def _unlock(request: HttpRequest, subject: StoredFile | Batch, password: str) -> HttpResponse:
    token, until = await opening.unlock(request, subject, password)
    response = JsonResponse({"token": token, "expires_at": timestamp(until)})
    response["Cache-Control"] = "no-store"
    unlocking.keep(request, response, subject, token)
    return response
