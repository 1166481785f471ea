"""Middlewares of Django's, without a thread where they wait for nobody.

Django gives both halves of each to a thread, since one might ask the database: sixteen times there and back with every
request, which takes longer than all the rest of most. But none of them asks where no session is begun and nothing is
told to a person.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import csp.middleware
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponseBase
from django.middleware import clickjacking, common, csrf, locale, security
from django.utils.deprecation import MiddlewareMixin

from uploads.people import SAFE_METHODS


async def _called(half: Callable[..., Any], *arguments: Any, waits: bool) -> Any:
    """What this half of a middleware returns: from a thread where it may wait, else at once."""
    return await sync_to_async(half, thread_sensitive=True)(*arguments) if waits else half(*arguments)


class InTheLoop(MiddlewareMixin):
    """A middleware whose halves run in the event loop; the second goes to a thread where it `waits_after`."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.process_request(request) if hasattr(self, "process_request") else None
        if response is None:
            response = await cast("Awaitable[HttpResponseBase]", self.get_response(request))
        if hasattr(self, "process_response"):
            response = await _called(self.process_response, request, response, waits=self.waits_after(request))
        return response

    def waits_after(self, request: HttpRequest) -> bool:
        return False


class SecurityMiddleware(InTheLoop, security.SecurityMiddleware):
    pass


class CSPMiddleware(InTheLoop, csp.middleware.CSPMiddleware):
    pass


class SessionMiddleware(InTheLoop, sessions.SessionMiddleware):
    def waits_after(self, request: HttpRequest) -> bool:
        return bool(request.session.modified or settings.SESSION_SAVE_EVERY_REQUEST)


class LocaleMiddleware(InTheLoop, locale.LocaleMiddleware):
    pass


class CommonMiddleware(InTheLoop, common.CommonMiddleware):
    pass


class CsrfViewMiddleware(InTheLoop, csrf.CsrfViewMiddleware):
    async def process_view(  # type: ignore[override]  # Django takes either kind
        self, request: HttpRequest, view: Any, *arguments: Any
    ) -> Any:
        # The token may stand in the body, which is parsed for it, and may be large.
        looks = request.method not in SAFE_METHODS and not getattr(view, "csrf_exempt", False)
        return await _called(super().process_view, request, view, *arguments, waits=looks)


class AuthenticationMiddleware(InTheLoop, auth.AuthenticationMiddleware):
    pass


class MessageMiddleware(InTheLoop, messages.MessageMiddleware):
    def waits_after(self, request: HttpRequest) -> bool:
        told = getattr(request, "_messages", None)  # they may lie in the session
        return told is not None and (told.used or told.added_new)


class XFrameOptionsMiddleware(InTheLoop, clickjacking.XFrameOptionsMiddleware):
    pass
