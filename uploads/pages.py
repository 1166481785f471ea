"""The pages that people see: the upload page, and what a link of a file or of a batch leads to. They only read."""

from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from uploads import batches
from uploads.errors import Gone, NotFound
from uploads.models import StoredFile
from uploads.shared import STATE_WORDS, shared_batch, shared_file


@require_safe
async def upload_page(request: HttpRequest) -> HttpResponse:
    return render(request, "uploads/upload.html")


@require_safe
@never_cache
async def share_page(request: HttpRequest, file_id: UUID) -> HttpResponse:
    """The download page; 404 for an unknown file, 410 for one that cannot be had any more."""
    try:
        file = await StoredFile.objects.aget(pk=file_id)
    except StoredFile.DoesNotExist:
        raise Http404 from None
    shared = shared_file(file, file.status_at(timezone.now()).value, file.stored_bytes)
    return render(request, "uploads/share.html", {"file": shared}, status=410 if shared.is_gone else 200)


@require_safe
@never_cache
async def batch_page(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """The page of a batch, live while files still come; 404 for an unknown one, 410 where nothing can be had."""
    try:
        facts = await batches.facts_of(batch_id)
    except NotFound:
        raise Http404 from None
    except Gone:
        return render(request, "uploads/batch.html", {"batch": None}, status=410)

    def page() -> HttpResponse:
        shared = shared_batch(facts)
        context = {"batch": shared, "state_words": STATE_WORDS}
        return render(request, "uploads/batch.html", context, status=410 if shared.is_gone else 200)

    # A thousand rows take a tenth of a second, in which the loop has bytes to move.
    return await sync_to_async(page)()
