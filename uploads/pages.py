"""The pages that people see: the upload page, and what a link of a file or of a batch leads to. They only read,
but for the form that asks for a password.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.conf import settings
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from uploads import batches, links, services
from uploads.delays import try_again_in
from uploads.delivery import preview
from uploads.errors import Gone, Locked, NotFound, RateLimited, UploadError, WrongState
from uploads.models import Batch, CountedDownload, StoredFile
from uploads.problems import from_exception
from uploads.qr import qr_code
from uploads.shared import STATE_WORDS, shared_batch, shared_file
from uploads.sharing import opening, rules, unlocking
from uploads.sharing.access import admit, look
from uploads.sharing.counting import USED_UP
from uploads.sharing.listing import seen, view_of
from uploads.states import Status
from uploads.storage import store_of
from uploads.storage.base import StorageError


@require_safe
async def upload_page(request: HttpRequest) -> HttpResponse:
    kept = settings.FILE_RETENTION_DAYS
    return render(request, "uploads/upload.html", {"kept_seconds": str(kept * 24 * 3600) if kept else ""})


@require_safe
@never_cache
async def share_page(request: HttpRequest, file_id: UUID) -> HttpResponse:
    """The download page; 404 for an unknown file, 410 for one that cannot be had any more.

    Of a locked file it asks for the password and shows nothing else.
    """
    try:
        file = await database_sync_to_async(services.find)(file_id)
    except NotFound:
        raise Http404 from None
    try:
        access = await look(request, file)
        if access.is_locked:  # nobody is asked for a password that would open nothing
            file.status = file.status_at(timezone.now())
            services.refuse_gone(file, Status.CANCELLED, Status.FAILED, Status.EXPIRED)
    except Gone as error:
        return _withdrawn(request, error)
    if access.is_locked:
        return _locked(request, links.share_path(file.pk))
    shared = shared_file(file, file.status_at(timezone.now()).value, file.stored_bytes)
    until = None
    if shared.is_complete and shared.downloads_left == 0 and not access.is_sender:
        until = await database_sync_to_async(_resumable_until)(file, access.recipients, file.size)
        if until is None:
            return _withdrawn(request, Gone(USED_UP))
    origin = links.origin_of_request(request)
    link = links.share_url(origin, file.pk)
    context = {
        "file": shared,
        "link": link,
        "qr_code": None if shared.is_gone else qr_code(link),
        "is_sender": access.is_sender,
        "is_withdrawn": bool(file.revoked_at or (file.batch and file.batch.revoked_at)),
        "resumable_until": until,
        "download_link": links.download_url(origin, file.pk),
    }
    return render(request, "uploads/share.html", context, status=410 if shared.is_gone else 200)


def _resumable_until(
    subject: StoredFile | Batch, recipients: Sequence[str], size: int | None = None
) -> datetime | None:
    """Until when this recipient can go on with a download that was counted, of these many bytes; None: with none."""
    since = timezone.now() - rules.RESUMABLE
    rows = CountedDownload.objects.filter(subject=subject.pk, recipient__in=recipients, begun_at__gt=since)
    if size is not None:
        rows = rows.filter(given__lt=rules.GIVEN_UP_TO * size)
    begun: datetime | None = rows.aggregate(last=Max("begun_at"))["last"]
    return begun + rules.RESUMABLE if begun else None


@require_safe
@never_cache
async def batch_page(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """The page of a batch, live while files still come; 404 for an unknown one, 410 where nothing can be had."""
    try:
        batch = await database_sync_to_async(batches.find)(batch_id)
        access = await look(request, batch)
        view = await view_of(request, access)
    except NotFound:
        raise Http404 from None
    except Gone as error:
        return _withdrawn(request, error)
    if view.is_locked:
        try:
            await database_sync_to_async(batches.refuse_gone)(batch)
        except Gone as error:
            return _withdrawn(request, error)
        return _locked(request, links.batch_path(batch.pk))
    try:
        everything = await batches.facts_now(batch)
    except Gone:
        return render(request, "uploads/batch.html", {"batch": None}, status=410)
    zip_left = None if batch.max_downloads is None or view.is_sender else max(0, batch.max_downloads - batch.downloads)
    origin = links.origin_of_request(request)
    resume: dict[str, Any] = {"download_link": links.batch_zip_url(origin, batch.pk)}
    if zip_left == 0:
        resume["resumable_until"] = await database_sync_to_async(_resumable_until)(batch, access.recipients)
    try:
        facts = seen(everything, view)
    except Gone as error:
        return _withdrawn(request, error, resume if error.detail == str(USED_UP) else None)

    def page() -> HttpResponse:
        shared = shared_batch(facts)
        link = links.batch_url(origin, batch_id)
        context = {
            "batch": shared,
            "state_words": STATE_WORDS,
            "link": link,
            "qr_code": None if shared.is_gone else qr_code(link),
            "is_withdrawn": bool(batch.revoked_at),  # which its sender alone is told here
            "zip_left": zip_left,
        }
        return render(request, "uploads/batch.html", context | resume, status=410 if shared.is_gone else 200)

    # A thousand rows take a tenth of a second, in which the loop has bytes to move.
    return await sync_to_async(page)()


@require_safe
async def preview_page(request: HttpRequest, file_id: UUID) -> HttpResponseBase:
    """What the page of a file shows of it, in a sandbox of its own; what cannot be shown says why."""
    try:
        file = await database_sync_to_async(services.find)(file_id)
        file.status = file.status_at(timezone.now())
        services.refuse_gone(file, Status.CANCELLED, Status.FAILED, Status.EXPIRED)
        if file.status != Status.COMPLETED:
            raise WrongState(_("This file is not complete yet."))
        access = replace(await admit(request, file), is_counted=False)  # a look at it is no download
        return await preview.respond(request, file, store_of(file), access)
    except (UploadError, StorageError) as error:
        return preview.refusal(from_exception(error))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
async def unlock_file(request: HttpRequest, file_id: UUID) -> HttpResponse:
    """The password of a file, from the form of its page."""
    return await _unlock(request, services.find, file_id, links.share_path(file_id))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
async def unlock_batch(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """The password of a batch, from the form of its page."""
    return await _unlock(request, batches.find, batch_id, links.batch_path(batch_id))


async def _unlock(
    request: HttpRequest, find: Callable[[UUID], StoredFile | Batch], subject_id: UUID, page: str
) -> HttpResponse:
    if request.method != "POST":  # somebody looks at an address that a form led to
        return HttpResponseRedirect(page)
    try:
        subject = await database_sync_to_async(find)(subject_id)
        token, _until = await opening.unlock(request, subject, request.POST.get("password", ""))
    except NotFound:
        raise Http404 from None
    except (Locked, RateLimited) as error:
        return _locked(request, page, error)
    except (Gone, WrongState):  # it is no longer here, or no longer locked: its page says so
        return HttpResponseRedirect(page)
    response = HttpResponseRedirect(page)
    unlocking.keep(request, response, subject, token)
    return response


def _locked(request: HttpRequest, page: str, error: UploadError | None = None) -> HttpResponse:
    """The form that asks for the password of what is behind `page`, and why the last one did not do."""
    wait = try_again_in(error.retry_after) if error and error.retry_after else None
    context = {"page": page, "error": error, "wait": wait}
    response = render(request, "uploads/locked.html", context, status=(error.http_status if error else None) or 200)
    if error and error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response


def _withdrawn(request: HttpRequest, error: Gone, resume: dict[str, Any] | None = None) -> HttpResponse:
    """Why there is nothing; `resume` is for whoever has a download to go on with."""
    return render(request, "uploads/withheld.html", {"words": error.detail} | (resume or {}), status=410)
