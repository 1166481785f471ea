"""The calls of wire.md on batches: thin, as those on single files are.

What tells of up to 1,000 files is answered as it is, without the framework's own check against its schema: that would
stop the event loop, and with it every upload, for some 60 ms. A test makes that check instead.
"""

import json
from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from ninja import Router

from uploads import announcing, batches, followed, links
from uploads.answers import ERRORS, announcements, controls_of, locked, meta_of, new_upload
from uploads.batch_schemas import BatchCancelOut, BatchIn, BatchInitiateOut, BatchLockedOut, BatchOut
from uploads.delivery import ranges, zip_files, zip_stream
from uploads.delivery.zip_files import Complete
from uploads.delivery.zip_plan import Plan
from uploads.errors import Locked, UploadError
from uploads.models import Batch
from uploads.people import authorise_batch, caller_of, refuse_foreign, refuse_forged, request_key
from uploads.polled import Polled
from uploads.schemas import BatchChangedOut, ChangeIn, timestamp
from uploads.sharing import controls
from uploads.sharing.access import Access, admit, look
from uploads.sharing.asked import change_of, wishes_of
from uploads.sharing.listing import allowed, begun_with, seen, view_of, view_of_key
from uploads.shown import Facts
from uploads.states import Status
from uploads.storage.base import StorageError
from uploads.turns import WithRests
from uploads.waiting import Waiters, free_connection

router = Router(tags=["batch"])

# A thousand files take a third of a second of the processor to keep and answer. Several at once, each in its thread,
# left one twentieth of its rate to an upload beside them.
_batches = WithRests()
_announcing = Waiters()


@router.post("/batch/initiate", response={200: BatchInitiateOut, **ERRORS})
async def initiate_batch(request: HttpRequest, payload: BatchIn) -> Any:
    """Announce up to 1,000 files that are passed on by one link: all of them, or none."""
    refuse_foreign(request)
    caller = await caller_of(request)
    if caller.account_id is not None:
        refuse_forged(request)
    key = request_key(request, caller)
    of_batch, *of_files = await wishes_of(request, [payload, *payload.files], caller.person.key)
    of_files = [wishes.within(of_batch) for wishes in of_files]
    new = [new_upload(file, wishes, file.path or "") for file, wishes in zip(payload.files, of_files, strict=True)]
    async with _announcing.place(request, caller.person.key), _batches.turn(caller.person.key):
        batch, announced = await announcing.initiate_batch(new, payload.title or "", caller.as_sender(), key, of_batch)
        answers = await announcements(request, caller, announced)
        answer = {
            "batch_id": str(batch.pk),
            "batch_url": links.batch_url(links.origin_of_request(request), batch.pk),
            "title": batch.title,
            "files": [answer | {"path": file.path} for answer, (file, _token) in zip(answers, announced, strict=True)],
        }
        return JsonResponse(answer)


@router.get("/batch/{batch_id}", response={200: BatchOut | BatchLockedOut, **ERRORS})
async def batch_facts(request: HttpRequest, batch_id: str) -> Any:
    """The public facts of a batch and of its files, in the sender's order; also while they are still coming.

    Before its password is given, only its id, state and expiry.
    """
    batch = await database_sync_to_async(batches.find)(batch_id)
    view = await view_of(request, await look(request, batch))
    await free_connection()  # the answer may have to be waited for
    answer = HttpResponse(await _answers.get(f"{batch.pk} {view.key}"), content_type="application/json")
    answer["Cache-Control"] = "no-store"
    return answer


async def _answer(key: str) -> bytes:
    batch_id, _space, view_key = key.partition(" ")
    view = view_of_key(view_key)
    facts = seen(await batches.facts_of(batch_id), view)
    answer: dict[str, Any] = {
        "batch_id": str(facts.batch.pk),
        "status": facts.status,
        "password_required": bool(facts.batch.password_hash),
        "expires_at": timestamp(facts.expires_at),
    }
    if not view.is_locked:
        answer |= {
            "title": facts.batch.title,
            "total_size": facts.total_size,
            "created_at": timestamp(facts.batch.created_at),
            "files": [_file_in_batch(known, facts.batch) for known in facts.files],
        }
    return json.dumps(answer).encode()


# Everybody who has the link open asks again and again; who sees something else has an answer of their own.
_answers = Polled(_answer)


def _file_in_batch(known: Facts, batch: Batch) -> dict[str, Any]:
    if known.is_locked:
        return locked(known.file, known.state)
    has_password = bool(known.file.password_hash or batch.password_hash)
    answer = meta_of(known, has_password=has_password) | {"path": known.file.path}
    if known.state == Status.DELETED:
        answer |= {"filename": "", "path": "", "content_type": "", "sha256": None}
    return answer


@router.patch("/batch/{batch_id}", response={200: BatchChangedOut, **ERRORS})
async def change_batch(request: HttpRequest, batch_id: str, payload: ChangeIn) -> Any:
    """Change who may have a batch, how often its ZIP and how long its files. What is not named stays as it is."""
    refuse_foreign(request)
    batch = await database_sync_to_async(batches.find)(batch_id)
    await authorise_batch(request, batch)
    change = await change_of(request, payload, (await caller_of(request)).person.key)
    batch = await database_sync_to_async(controls.change_batch)(batch.pk, change, "sender")
    return {"batch_id": str(batch.pk), "controls": controls_of(batch)}


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
    try:
        batch = await database_sync_to_async(batches.find)(batch_id)
        access = await _admit(request, batch)
        files, plan = await _in_zip(request, access, await zip_files.complete_files(batch))
        return await zip_stream.respond(request, batch, plan, access, {file.pk: file.password_hash for file in files})
    except (UploadError, StorageError) as error:
        if (page := followed.answer(request, error, links.batch_path(batch_id))) is not None:
            return page
        raise


async def _admit(request: HttpRequest, batch: Batch) -> Access:
    """As `admit`; what is gone says so, and asks for no password."""
    try:
        return await admit(request, batch)
    except Locked:
        await database_sync_to_async(batches.refuse_gone)(batch)
        raise


async def _in_zip(request: HttpRequest, access: Access, complete: list[Complete]) -> tuple[list[Complete], Plan]:
    """What is inside for whoever asks, and the ZIP of it: the one that they began, or where that is gone a new one."""
    if begun := await begun_with(request, access):
        files = await allowed(request, access, complete, begun)
        plan = await zip_files.plan_of(files)
        if ranges.range_still_holds(request.headers.get("If-Range"), plan.etag, None):
            return files, plan
    files = await allowed(request, access, complete)
    return files, await zip_files.plan_of(files)
