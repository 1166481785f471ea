"""The pages that people see: the upload page, and the download page of one file. They read, and never write."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from uploads.models import StoredFile
from uploads.shared import shared_file


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
    shared = shared_file(file, timezone.now())
    return render(request, "uploads/share.html", {"file": shared}, status=410 if shared.is_gone else 200)
