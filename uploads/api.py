"""The JSON calls of wire.md: thin, they ask who it is, call a use-case and put the answer into words."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from ninja import Status
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser

from quotas import services as quotas
from uploads import announcing, followed, links, services, strict_json
from uploads.answers import ERRORS, announcements, controls_of, locked, meta_of, new_upload
from uploads.batch_api import router as batch_router
from uploads.delivery import stream
from uploads.delivery.lasting import scope_of
from uploads.errors import InvalidRequest, UploadError, WrongState, every_error
from uploads.models import StoredFile
from uploads.openapi import DescribedAPI
from uploads.people import authorise, caller_of, refuse_foreign, refuse_forged, request_key
from uploads.problems import from_exception, problem
from uploads.schemas import (
    CancelOut,
    ChangeIn,
    FileChangedOut,
    InitiateIn,
    InitiateOut,
    LockedOut,
    MetaOut,
    MyFilesOut,
    QuotaInfo,
    StatusOut,
    timestamp,
)
from uploads.sharing import access as sharing
from uploads.sharing import controls
from uploads.sharing.asked import change_of, wishes_of
from uploads.sharing_api import router as sharing_router
from uploads.shown import look, true_facts
from uploads.slots.manager import TicketView
from uploads.states import Status as State
from uploads.storage import store_of
from uploads.storage.base import StorageError
from uploads.waiting import rest_after

PAGE_FILES = 50
MOST_POSITIONS = 2**31  # more than the column can hold


class JSONOnly(Parser):
    """Bodies are `application/json` and nothing else: no plain HTML form of another site can send that."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != "application/json":
            raise InvalidRequest("Content-Type", _("The body must be application/json."))
        try:
            return strict_json.read(request.body)
        except strict_json.TooManyError:
            raise InvalidRequest("body", _("There are too many lists and objects in the body.")) from None
        except ValueError:
            raise InvalidRequest("body", _("The body is not JSON that can be read.")) from None


api = DescribedAPI(
    title="DirectDriveX",
    version="1",
    description="Send files of any size. Uploads themselves go over a WebSocket; see the README.",
    docs_url="/docs",
    openapi_url="/openapi.json",
    parser=JSONOnly(),
    urls_namespace="api",
)


def on_error(request: HttpRequest, error: Any) -> HttpResponse:
    refusal = from_exception(error)
    rest_after(refusal, scope_of(request))
    return problem(refusal)


for _error in (Exception, ValidationError, HttpError, Http404):  # for the last three the framework has its own
    api.add_exception_handler(_error, on_error)
api.add_router("/v1", batch_router)
api.add_router("/v1", sharing_router)


@api.post("/v1/upload/initiate", response={200: InitiateOut, **ERRORS}, exclude_unset=True, tags=["upload"])
async def initiate(request: HttpRequest, payload: InitiateIn) -> Any:
    """Announce a file and get the address and the token to upload it with."""
    refuse_foreign(request)
    caller = await caller_of(request)
    if caller.account_id is not None:
        refuse_forged(request)
    key = request_key(request, caller)
    [wishes] = await wishes_of(request, [payload], caller.person.key)
    announced = await announcing.initiate(new_upload(payload, wishes), caller.as_sender(), key)
    [answer] = await announcements(request, caller, [announced])
    return answer


@api.get("/v1/upload/status/{file_id}", response={200: StatusOut, **ERRORS}, exclude_none=True, tags=["upload"])
async def status(request: HttpRequest, file_id: str) -> Any:
    """How far an upload is. Authorised by the upload's token, or by its sender's cookie."""
    file = await database_sync_to_async(services.find)(file_id)
    await authorise(request, file)
    services.refuse_gone(file)
    now = await look([file])
    place = now.place(file)
    [facts] = await true_facts([file], now)
    answer: dict[str, Any] = {
        "file_id": str(file.pk),
        "status": facts.state,
        "offset": facts.offset,
        "size": file.size,
        "upload_expires_at": timestamp(file.upload_expires_at),
    }
    if isinstance(place, TicketView):
        answer["queue_position"] = place.position
    if file.error_code and (error := every_error().get(file.error_code)):
        answer["error"] = {"code": error.code, "detail": str(error.sentence), "retryable": error.retryable}
    return answer


@api.post("/v1/upload/cancel/{file_id}", response={200: CancelOut, **ERRORS}, tags=["upload"])
async def cancel(request: HttpRequest, file_id: str) -> Any:
    """Cancel an unfinished upload and remove what was stored of it."""
    refuse_foreign(request)
    file = await database_sync_to_async(services.find)(file_id)
    await authorise(request, file)
    file = await services.cancel(file.pk, "sender")
    return {"file_id": str(file.pk), "status": file.status}


@api.get("/v1/upload/quota-info", response={200: QuotaInfo, **ERRORS}, exclude_unset=True, tags=["upload"])
async def quota_info(request: HttpRequest) -> Any:
    """What this person may send, and has sent today."""
    caller = await caller_of(request)
    return await database_sync_to_async(quotas.quota_info)(caller.person, timezone.now())


@api.get("/v1/files/{file_id}/meta", response={200: MetaOut | LockedOut, **ERRORS}, tags=["files"])
async def meta(request: HttpRequest, file_id: str, response: HttpResponse) -> Any:
    """The public facts of a file; before its password is given, only its id, state and expiry."""
    response["Cache-Control"] = "no-store"
    file = await database_sync_to_async(services.find)(file_id)
    services.refuse_gone(file)
    access = await sharing.look(request, file)
    now = await look([file])
    if access.is_locked:
        return locked(file, now.state(file))
    [facts] = await true_facts([file], now)
    return meta_of(facts, has_password=bool(access.lock))


@api.patch("/v1/files/{file_id}", response={200: FileChangedOut, **ERRORS}, tags=["files"])
async def change_file(request: HttpRequest, file_id: str, payload: ChangeIn) -> Any:
    """Change who may have a file, how often and how long. What is not named stays as it is."""
    refuse_foreign(request)
    file = await database_sync_to_async(services.find)(file_id)
    await authorise(request, file)
    change = await change_of(request, payload, (await caller_of(request)).person.key)
    file = await database_sync_to_async(controls.change_file)(file.pk, change, "sender")
    return {"file_id": str(file.pk), "expires_at": timestamp(file.expires_at), "controls": controls_of(file)}


@api.delete("/v1/files/{file_id}", response={204: None, **ERRORS}, tags=["files"])
async def delete(request: HttpRequest, file_id: str) -> Any:
    """Delete a completed file for good."""
    refuse_foreign(request)
    file = await database_sync_to_async(services.find)(file_id)
    await authorise(request, file)
    await services.delete(file.pk, "sender")
    return Status(204, None)


@api.get("/v1/files", response={200: MyFilesOut, **ERRORS}, tags=["files"])
async def my_files(request: HttpRequest, response: HttpResponse, cursor: str | None = None) -> Any:
    """The files that this account or this browser sent, newest first, 50 a page; those of a batch in their order."""
    response["Cache-Control"] = "no-store"
    caller = await caller_of(request)
    if caller.account_id is None and not caller.visitor:
        return {"items": [], "next": None}
    mine = Q(owner_id=caller.account_id) if caller.account_id is not None else Q(visitor=caller.visitor)
    files = StoredFile.objects.filter(mine).exclude(status=State.DELETED).order_by("-created_at", "position", "-id")
    if cursor:
        created_at, position, last = _read_cursor(cursor)
        behind = Q(position__gt=position) | Q(position=position, id__lt=last)
        files = files.filter(Q(created_at__lt=created_at) | Q(behind, created_at=created_at))
    page = await database_sync_to_async(list)(files.select_related("batch")[: PAGE_FILES + 1])
    now = await look(page)
    origin = links.origin_of_request(request)
    items = [
        meta_of(now.facts(file), has_password=bool(file.password_hash or (file.batch and file.batch.password_hash)))
        | {
            "completed_at": timestamp(file.completed_at),
            "share_url": links.share_url(origin, file.pk),
            "upload_expires_at": timestamp(file.upload_expires_at),
            "batch_id": str(file.batch_id) if file.batch_id else None,
            "batch_url": links.batch_url(origin, file.batch_id) if file.batch_id else None,
            "batch_title": file.batch.title if file.batch else None,
            "controls": controls_of(file),
            "batch_controls": controls_of(file.batch) if file.batch else None,
        }
        for file in page[:PAGE_FILES]
    ]
    return {"items": items, "next": _make_cursor(page[PAGE_FILES - 1]) if len(page) > PAGE_FILES else None}


def _make_cursor(file: StoredFile) -> str:
    return base64.urlsafe_b64encode(f"{file.created_at.isoformat()} {file.position} {file.pk}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, int, UUID]:
    try:
        created_at, position, last = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None or not 0 <= int(position) < MOST_POSITIONS:
            raise ValueError("a cursor has a time zone, and a place in a batch")
        return moment.astimezone(UTC), int(position), UUID(last)
    except (ValueError, OverflowError, binascii.Error):
        raise InvalidRequest("cursor", _("This cursor was not made by this server.")) from None


@api.api_operation(["GET", "HEAD"], "/v1/download/stream/{file_id}", tags=["files"])
async def download(request: HttpRequest, file_id: str) -> HttpResponseBase:
    """The bytes of a completed file, whole or one range of them."""
    try:
        file = await _downloadable(file_id)
        access = await sharing.admit(request, file)
        return await stream.respond(request, file, store_of(file), access)
    except (UploadError, StorageError) as error:
        if (page := followed.answer(request, error, links.share_path(file_id))) is not None:
            return page
        raise


async def _downloadable(file_id: str) -> StoredFile:
    file = await database_sync_to_async(services.find)(file_id)
    is_whole = file.status == State.COMPLETED
    file.status = file.status_at(timezone.now()) if is_whole else (await look([file])).state(file)
    services.refuse_gone(file, State.CANCELLED, State.FAILED, State.EXPIRED)
    if file.status != State.COMPLETED:
        raise WrongState(_("This file is not complete yet."))
    return file
