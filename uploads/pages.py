"""The pages that people see: the upload page, and what a link of a file or of a batch leads to. They only read,
but for the form that asks for a password.
"""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
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
from uploads.models import Batch, StoredFile
from uploads.problems import from_exception
from uploads.qr import qr_code
from uploads.shared import STATE_WORDS, shared_batch, shared_file
from uploads.sharing import opening, unlocking
from uploads.sharing.access import admit, look
from uploads.sharing.listing import seen, view_of
from uploads.states import Status
from uploads.storage import store_of
from uploads.storage.base import StorageError


@require_safe
async def upload_page(request: HttpRequest) -> HttpResponse:
    return render(request, "uploads/upload.html")


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
    link = links.share_url(links.origin_of_request(request), file.pk)
    context = {"file": shared, "link": link, "qr_code": None if shared.is_gone else qr_code(link)}
    return render(request, "uploads/share.html", context, status=410 if shared.is_gone else 200)


@require_safe
@never_cache
async def batch_page(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """The page of a batch, live while files still come; 404 for an unknown one, 410 where nothing can be had."""
    try:
        batch = await database_sync_to_async(batches.find)(batch_id)
        view = await view_of(request, await look(request, batch))
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
    try:
        facts = seen(everything, view)
    except Gone as error:
        return _withdrawn(request, error)

    def page() -> HttpResponse:
        shared = shared_batch(facts)
        link = links.batch_url(links.origin_of_request(request), batch_id)
        code = None if shared.is_gone else qr_code(link)
        context = {"batch": shared, "state_words": STATE_WORDS, "link": link, "qr_code": code}
        return render(request, "uploads/batch.html", context, status=410 if shared.is_gone else 200)

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


def _withdrawn(request: HttpRequest, error: Gone) -> HttpResponse:
    return render(request, "uploads/withheld.html", {"words": error.detail}, status=410)
