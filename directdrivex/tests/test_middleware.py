"""What runs before and after every request keeps no thread busy where it waits for nobody."""

from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from directdrivex.middleware import InTheLoop

OURS = "directdrivex.middleware."
View = Callable[[HttpRequest], Awaitable[Any]]


def middlewares() -> list[Any]:
    return [import_string(name) for name in settings.MIDDLEWARE]


def behind_all(view: View) -> View:
    """The view behind those of the middlewares that this is about, in their order."""
    for name in reversed(settings.MIDDLEWARE):
        if name.startswith(OURS):
            view = import_string(name)(view)
    return view


def begin_session(request: HttpRequest) -> None:
    request.session["begun"] = True


def tell(request: HttpRequest) -> None:
    messages.info(request, "Something was done.")


def nothing(request: HttpRequest) -> None:
    pass


@pytest.fixture
def halves_in_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the classes whose halves were given to a thread."""
    seen: list[str] = []
    original = SyncToAsync.__call__

    async def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        owner = type(getattr(self.func, "__self__", None)).__name__
        if owner.endswith("Middleware"):
            seen.append(owner)
        return await original(self, *arguments, **named)

    monkeypatch.setattr(SyncToAsync, "__call__", noted)
    return seen


def test_no_middleware_of_django_gives_its_halves_to_threads() -> None:
    of_django = [one for one in middlewares() if not isinstance(one, FunctionType) and issubclass(one, MiddlewareMixin)]
    assert of_django
    assert all(issubclass(one, InTheLoop) for one in of_django)


async def test_a_request_without_a_session_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(self: Any, *arguments: Any, **named: Any) -> Any:
        pytest.fail(f"{self.func} was given to a thread")

    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(request.user))

    monkeypatch.setattr(SyncToAsync, "__call__", refused)
    response = await behind_all(view)(AsyncRequestFactory().get("/"))
    assert response.content == b"AnonymousUser"
    assert response["X-Frame-Options"] == "DENY"
    assert "default-src" in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("does", "in_threads"),
    [
        (begin_session, ["SessionMiddleware"]),
        (tell, ["MessageMiddleware"]),
        (nothing, []),
    ],
)
async def test_what_is_kept_for_a_person_is_written_from_a_thread(
    halves_in_threads: list[str], does: Callable[[HttpRequest], None], in_threads: list[str]
) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        does(request)
        return HttpResponse()

    response = await behind_all(view)(AsyncRequestFactory().get("/"))
    assert halves_in_threads == in_threads
    assert (settings.SESSION_COOKIE_NAME in response.cookies) == ("SessionMiddleware" in in_threads)


FORM, CALL = "/admin/login/", "/api/v1/upload/initiate"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "path", "status", "in_threads"),
    [
        ("get", FORM, 200, False),
        ("post", FORM, 403, True),
        ("post", CALL, 422, False),
    ],
)
async def test_only_a_form_is_searched_for_its_token_and_from_a_thread(
    halves_in_threads: list[str], method: str, path: str, status: int, in_threads: bool
) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    assert (await getattr(client, method)(path)).status_code == status
    assert ("CsrfViewMiddleware" in halves_in_threads) == in_threads


@pytest.mark.django_db(transaction=True)
async def test_a_form_with_its_token_is_let_through() -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    await client.get(FORM)
    answer = await client.post(FORM, {"csrfmiddlewaretoken": client.cookies["csrftoken"].value})
    assert answer.status_code == 200, "the form again, with what is missing in it"
