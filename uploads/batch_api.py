"""The calls of wire.md on batches: thin, as those on single files are.

What tells of up to 1,000 files is answered as it is, without the framework's own check against its schema: that would
stop the event loop, and with it every upload, for some 60 ms. A test makes that check instead.
"""

import json
from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse
from ninja import Router

from uploads import announcing, batches, links
from uploads.answers import ERRORS, announcements, meta_of, new_upload
from uploads.batch_schemas import BatchCancelOut, BatchIn, BatchInitiateOut, BatchOut
from uploads.delivery import zip_files, zip_stream
from uploads.errors import Gone, WrongState
from uploads.people import authorise_batch, caller_of, refuse_foreign, refuse_forged, request_key
from uploads.polled import Polled
from uploads.schemas import timestamp
from uploads.shown import Facts
from uploads.states import Status

router = Router(tags=["batch"])


@router.post("/batch/initiate", response={200: BatchInitiateOut, **ERRORS})
async def initiate_batch(request: HttpRequest, payload: BatchIn) -> Any:
    """Announce up to 1,000 files that are passed on by one link: all of them, or none."""
    refuse_foreign(request)
    caller = await caller_of(request)
    if caller.account_id is not None:
        refuse_forged(request)
    new = [new_upload(file, file.path or "") for file in payload.files]
    key = request_key(request, caller)
    batch, announced = await announcing.initiate_batch(new, payload.title or "", caller.as_sender(), key)
    answers = await announcements(request, caller, announced)
    answer = {
        "batch_id": str(batch.pk),
        "batch_url": links.batch_url(links.origin_of_request(request), batch.pk),
        "title": batch.title,
        "files": [answer | {"path": file.path} for answer, (file, _token) in zip(answers, announced, strict=True)],
    }
    return JsonResponse(answer)


@router.get("/batch/{batch_id}", response={200: BatchOut, **ERRORS})
async def batch_facts(request: HttpRequest, batch_id: str) -> Any:
    """The public facts of a batch and of its files, in the sender's order; also while they are still coming."""
    return HttpResponse(await _answers.get(batch_id.lower()), content_type="application/json")


async def _answer(batch_id: str) -> bytes:
    facts = await batches.facts_of(batch_id)
    answer = {
        "batch_id": str(facts.batch.pk),
        "title": facts.batch.title,
        "status": facts.status,
        "total_size": facts.total_size,
        "created_at": timestamp(facts.batch.created_at),
        "files": [_file_in_batch(known) for known in facts.files],
    }
    return json.dumps(answer).encode()


_answers = Polled(_answer)  # everybody who has the link open asks again and again


def _file_in_batch(known: Facts) -> dict[str, Any]:
    answer = meta_of(known) | {"path": known.file.path}
    if known.state == Status.DELETED:
        answer |= {"filename": "", "path": "", "content_type": "", "sha256": None}
    return answer


@router.post("/batch/cancel/{batch_id}", response={200: BatchCancelOut, **ERRORS})
async def cancel_batch(request: HttpRequest, batch_id: str) -> Any:
    """Cancel what is unfinished of a batch; what is complete stays."""
    refuse_foreign(request)
    batch = await database_sync_to_async(batches.find)(batch_id)
    await authorise_batch(request, batch)
    return {"cancelled": await batches.cancel(batch, "sender")}


@router.api_operation(["GET", "HEAD"], "/batch/download-zip/{batch_id}")
async def download_zip(request: HttpRequest, batch_id: str) -> HttpResponseBase:
    """The completed files of a batch and their `SHA256SUMS.txt` as one ZIP, whole or one range of it."""
    batch = await database_sync_to_async(batches.find)(batch_id)
    try:
        files = await zip_files.complete_files(batch)
    except (Gone, WrongState):
        if request.headers.get("Sec-Fetch-Mode") == "navigate":
            # A person followed a link: the batch's page says the same in words.
            return HttpResponseRedirect(links.batch_path(batch.pk))
        raise
    plan = await zip_files.plan_of(files)
    return await zip_stream.respond(request, batch, plan)
