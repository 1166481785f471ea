"""The doors as HTTP has them: a middleware before every address but those that must work for whoever opens them again.

Programs get a problem document, people a page.
"""

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, cast

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import render
from django.utils.decorators import sync_and_async_middleware

from quotas.rules import account_person, address_person
from uploads import doors, links
from uploads.delays import try_again_in
from uploads.delivery.lasting import scope_of
from uploads.errors import RateLimited, UploadError
from uploads.people import refuse_foreign, user_of
from uploads.problems import is_of_the_api, problem
from uploads.waiting import free_connection, rest_after

# The admin's own pages, or nobody could open again; what every page is made of; what watches the program.
ALWAYS_OPEN = ("/admin/", "/static/", "/jsi18n/", "/i18n/")
WATCHING = ("/healthz", "/readyz", "/metrics")
INITIATIONS = ("/api/v1/upload/initiate", "/api/v1/batch/initiate")


@sync_and_async_middleware
def doors_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Refuse whom `doors` refuses; behind it, a page's `user` is known without asking the database."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            if settings.SESSION_COOKIE_NAME in request.COOKIES:
                # The log has asked whose session it is. What the doors ask must not wait for all who keep a connection.
                await free_connection()
            if (refusal := await _refusal(request)) is not None:
                return refusal
            response: HttpResponseBase = await get_response(request)
            if isinstance(response, StreamingHttpResponse) and response.is_async and (persons := _persons_of(request)):
                blocks = cast("AsyncGenerator[bytes]", response.streaming_content)
                response.streaming_content = _while_open(blocks, persons)
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        return async_to_sync(_refusal)(request) or get_response(request)

    return synchronous


async def _while_open(blocks: AsyncGenerator[bytes], persons: tuple[str, ...]) -> AsyncIterator[bytes]:
    """Pass a download on for as long as its door is open; then its connection breaks, and it can be resumed later."""
    async with contextlib.aclosing(blocks):
        async for block in blocks:
            await doors.refuse_closed(*persons)
            yield block


def _persons_of(request: HttpRequest) -> tuple[str, ...]:
    """Who came in by a door that can be shut; nobody where it is always open."""
    persons: tuple[str, ...] = getattr(request, "persons", ())
    return persons


async def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    path = request.path
    if path in WATCHING:
        return None
    try:
        await _count(request)
        if not path.startswith(ALWAYS_OPEN):
            await _knock(request)
    except UploadError as error:
        rest_after(error, scope_of(request))
        return _answer(request, error)
    return None


def _address_of(request: HttpRequest) -> str:
    return address_person(request.META.get("REMOTE_ADDR", "")).key


async def _count(request: HttpRequest) -> None:
    """Raises `RateLimited`."""
    try:
        await doors.count_request(_address_of(request))
    except RateLimited:
        request.user = AnonymousUser()  # whoever it is: this page asks the database for nobody
        raise


async def _knock(request: HttpRequest) -> None:
    """Raise the reason why this request may not come in."""
    persons = [_address_of(request)]
    now_closed = await doors.known.get()
    is_initiation = request.method == "POST" and request.path in INITIATIONS
    # A download asks the door again with every block: an account may be the first to be blocked until it ends.
    lasts = links.page_of_download(request.path) is not None
    if settings.SESSION_COOKIE_NAME in request.COOKIES and (
        now_closed.blocked.has_accounts or is_initiation or lasts or not _is_call(request)
    ):
        user = await user_of(request)
        request.user = user  # pages name it, and are rendered where the database must not be asked
        if user.is_authenticated:
            persons.append(account_person(user.pk).key)
    if (error := doors.refusal(now_closed, persons)) is not None:
        raise error
    request.persons = tuple(persons)  # type: ignore[attr-defined]
    if is_initiation:
        # Before it counts: another site's page must not use up its visitors' rate.
        refuse_foreign(request)
        await doors.count_initiation(persons[-1], len(request.body))


def _is_call(request: HttpRequest) -> bool:
    return is_of_the_api(request.path)


def _answer(request: HttpRequest, error: UploadError) -> HttpResponseBase:
    if not _is_call(request):
        return _page(request, error)
    if links.is_followed(request) and (page := links.page_of_download(request.path)):
        # A person followed a link: the page of what they wanted has the same refusal in words.
        return HttpResponseRedirect(page)
    return problem(error)


def _page(request: HttpRequest, error: UploadError) -> HttpResponse:
    status = error.http_status or 403
    seconds = error.retry_after or 0
    context = {"refusal": error, "minutes": math.ceil(seconds / 60), "when": try_again_in(seconds)}
    response = render(request, f"{status}.html", context, status=status)
    response["Cache-Control"] = "no-store"
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response
