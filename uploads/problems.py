"""Errors as HTTP answers: problem documents (RFC 9457), for every error under `/api`, whoever raised it."""

import inspect
import json
from collections.abc import Callable, Iterable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseServerError
from django.http.multipartparser import MultiPartParserError
from django.utils.decorators import sync_and_async_middleware
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views import defaults
from ninja.errors import HttpError, ValidationError

from uploads.errors import (
    BodyTooLarge,
    Forbidden,
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RangeInvalid,
    UploadError,
)
from uploads.intake.faults import internal, translate

CONTENT_TYPE = "application/problem+json"

# What pydantic calls a fault, in words for people; anything else is "not valid".
REASONS: dict[str, Promise] = {
    "missing": _("This field is missing."),
    "string_type": _("This must be a string."),
    "string_unicode": _("This has half of a surrogate pair, which is no character."),
    "int_type": _("This must be a whole number."),
    "bool_type": _("This must be true or false."),
    "greater_than_equal": _("This is below the least allowed."),
    "less_than_equal": _("This is above the most allowed."),
    "string_pattern_mismatch": _("This is not in the form that is expected."),
    "string_too_long": _("This is too long."),
    "list_type": _("This must be a list."),
    "too_short": _("At least one is needed."),
    "too_long": _("These are too many."),
    "model_type": _("This must be an object."),
}


def problem(error: UploadError) -> HttpResponse:
    """The answer for one of our errors, in the active language."""
    status = error.http_status or 500
    body = {
        "type": f"urn:directdrivex:error:{error.code}",
        "title": str(error.sentence),
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "retryable": error.retryable,
        "retry_after": error.retry_after,
        **error.members,
    }
    response = HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="upload"'
    if isinstance(error, RangeInvalid):
        response["Content-Range"] = f"bytes */{error.members['size']}"
    return response


def from_exception(error: Exception) -> UploadError:
    """Our error for whatever a view or the framework raised; what nobody foresaw is logged and `internal`."""
    if isinstance(error, HttpError) and isinstance(error.__cause__, Exception):
        return from_exception(error.__cause__)  # the framework wraps what reading the body raised
    if isinstance(error, ValidationError):
        return _invalid(error.errors)
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, RequestDataTooBig):
        return BodyTooLarge()
    if isinstance(error, BadRequest | SuspiciousOperation | MultiPartParserError):
        return InvalidRequest("request", InvalidRequest.sentence)  # what the framework answers with 400
    return translate(error) or internal(error)


def _invalid(faults: Iterable[dict[str, Any]]) -> InvalidRequest:
    """pydantic's list of faults as ours; a location is `("body", "payload", "size")`, of which the end is the field."""
    unknown = _("This is not valid.")
    problems = [
        (
            ".".join(str(step) for step in fault["loc"][2:]) or "body",
            fault["ctx"]["reason"] if "reason" in fault.get("ctx", {}) else REASONS.get(fault["type"], unknown),
        )
        for fault in faults
    ]
    first, *others = problems or [("body", unknown)]
    return InvalidRequest(*first, *others)


FALLBACKS: dict[int, Callable[[], UploadError]] = {
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
}


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's answer, but that the body is left alone: of a form with too many fields Django's own makes a 500."""
    answer: HttpResponseBase = inspect.unwrap(defaults.page_not_found)(request, exception)
    return answer


def server_error(request: HttpRequest) -> HttpResponseBase:
    """The answer where even the framework's own handling failed, with as little as can fail again."""
    if is_of_the_api(request.path):
        return HttpResponseServerError()  # the middleware makes a problem document of it
    try:
        return defaults.server_error(request)
    except OSError:  # its page cannot be read from the disk
        return HttpResponseServerError(str(Internal.sentence), content_type="text/plain; charset=utf-8")


def is_of_the_api(path: str) -> bool:
    """Whether programs are spoken to at this path, so that errors are problem documents."""
    return path == "/api" or path.startswith("/api/")


class PageForPeople(HttpResponse):
    """A page that somebody asked for under `/api` by following a link: no error of the framework's."""


@sync_and_async_middleware
def problem_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Turn an error page that the framework made under `/api` into a problem document."""

    def mend(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not is_of_the_api(request.path) or response.status_code < 400:
            return response
        if response.headers.get("Content-Type", "").startswith(CONTENT_TYPE) or isinstance(response, PageForPeople):
            return response
        error = FALLBACKS.get(response.status_code)
        if error is not None:
            mended = problem(error())
        elif response.status_code < 500:
            mended = problem(InvalidRequest("request", InvalidRequest.sentence))
        else:
            mended = problem(Internal(reference=response.headers.get("X-Request-ID", "")))
        if "Allow" in response.headers:
            mended["Allow"] = response.headers["Allow"]
        return mended

    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            return mend(request, await get_response(request))

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        return mend(request, get_response(request))

    return synchronous
