"""What a person gets who followed a link to bytes that cannot be given: a page, and not the JSON of programs."""

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils.translation import gettext_lazy as _

from uploads import links
from uploads.delays import try_again_in
from uploads.errors import Gone, Locked, NotFound, StorageUnavailable, UploadError, WrongState
from uploads.problems import PageForPeople, from_exception

# The page of the file or of the batch says the same, and asks for a password where one is missing.
SAID_BY_ITS_PAGE = (Gone, Locked, NotFound, WrongState)
STORAGE_AWAY = _("The storage does not answer at the moment.")
LEAST_SECONDS = 5


def answer(request: HttpRequest, error: Exception, page: str) -> HttpResponseBase | None:
    """The answer to a person in place of this error, who can go on at `page`; None where it is to be raised."""
    if not links.is_followed(request):
        return None
    refusal = from_exception(error)
    if isinstance(refusal, SAID_BY_ITS_PAGE):
        return HttpResponseRedirect(page)
    return _later(request, refusal, page) if refusal.retryable else None


def _later(request: HttpRequest, refusal: UploadError, page: str) -> HttpResponseBase:
    wait = max(LEAST_SECONDS, refusal.retry_after or 0)
    # What the error itself says of a storage that is away is for senders.
    words = STORAGE_AWAY if isinstance(refusal, StorageUnavailable) else refusal.detail
    text = render_to_string("uploads/later.html", {"words": words, "when": try_again_in(wait), "page": page}, request)
    response = PageForPeople(text, status=refusal.http_status or 503)
    response["Cache-Control"] = "no-store"
    response["Retry-After"] = str(wait)
    return response
