"""The pages that people see: the upload page, and what a link of a file or of a batch leads to. They only read."""

from dataclasses import replace
from uuid import UUID

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from uploads import batches, links, services
from uploads.delivery import preview
from uploads.errors import Gone, NotFound, UploadError, WrongState
from uploads.models import StoredFile
from uploads.problems import from_exception
from uploads.qr import qr_code
from uploads.shared import STATE_WORDS, shared_batch, shared_file
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
        file = await StoredFile.objects.aget(pk=file_id)
    except StoredFile.DoesNotExist:
        raise Http404 from None
    try:
        access = await look(request, file)
    except Gone as error:
        return _withdrawn(request, error)
    if access.is_locked:
        return _locked(request, f"files/{file.pk}")
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
        return _locked(request, f"batch/{batch.pk}")
    try:
        facts = seen(await batches.facts_now(batch), view)
    except Gone:
        return render(request, "uploads/batch.html", {"batch": None}, status=410)

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


def _locked(request: HttpRequest, what: str) -> HttpResponse:
    """The page that asks for a password; `what` is where the API takes it, as in `files/ID`."""
    return render(request, "uploads/withheld.html", {"what": what})


def _withdrawn(request: HttpRequest, error: Gone) -> HttpResponse:
    return render(request, "uploads/withheld.html", {"words": error.detail}, status=410)
