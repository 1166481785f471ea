"""Who is asking: the account or address that limits count by, and the visitor whose uploads are theirs (wire.md).

The client's address, scheme and host are already those that trusted proxies forwarded: `directdrivex/proxies.py`.
"""

import hashlib
import hmac
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.http import HttpRequest, HttpResponseBase, parse_cookie
from django.utils.crypto import salted_hmac
from django.utils.decorators import sync_and_async_middleware
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from ninja.utils import check_csrf

from quotas.networks import canonical_network
from quotas.rules import Person, account_person, address_person
from uploads import links, tokens
from uploads.announcing import Sender
from uploads.doors import refuse_blocked
from uploads.errors import Forbidden, InvalidRequest, Unauthorized
from uploads.idempotency import RequestKey
from uploads.intake.origin import is_foreign
from uploads.models import Batch, StoredFile
from uploads.services import token_matches
from uploads.waiting import free_connection

VISITOR_SALT = "uploads.visitor"
IDEMPOTENCY_SALT = "uploads.idempotency"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LONGEST_USERNAME = 150


@dataclass(frozen=True)
class Caller:
    """The one behind a request. `visitor` is theirs by a valid cookie; `new_visitor` is what a first contact gets."""

    person: Person
    account_id: int | None
    visitor: str
    new_visitor: str

    def as_sender(self) -> Sender:
        return Sender(self.person, self.account_id, "" if self.account_id else self.visitor or self.new_visitor)

    def owns(self, owned: StoredFile | Batch) -> bool:
        if self.account_id is not None and owned.owner_id == self.account_id:
            return True
        return bool(self.visitor) and hmac.compare_digest(owned.visitor, self.visitor)


async def user_of(request: HttpRequest) -> Any:
    """The user who is signed in; no connection to the database stays with the request."""
    user = await request.auser()
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        await free_connection()
    return user


async def caller_of(request: HttpRequest) -> Caller:
    user = await user_of(request)
    address = request.META.get("REMOTE_ADDR", "")
    person = account_person(user.pk) if user.is_authenticated else address_person(address)
    fresh = getattr(request, "new_visitor", "")
    return Caller(person, user.pk if user.is_authenticated else None, visitor_of(request), fresh)


def user_of_session(session_key: str | None) -> Any:
    """The user of the session of this key, read anew from the store; Django's anonymous one for anybody else."""
    store: type[SessionBase] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    request = HttpRequest()
    request.session = store(session_key)
    return get_user(request)


def session_key_of(scope: Any) -> str | None:
    """The key of the session that comes with a WebSocket handshake, whether or not there is such a session."""
    cookies = "; ".join(value.decode("latin-1") for key, value in scope["headers"] if key == b"cookie")
    return parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)


def client_address(request: HttpRequest) -> str:
    """The address that failed sign-ins are counted by: of IPv6 the first of its /64, whose others cost nothing."""
    address = request.META.get("REMOTE_ADDR", "")
    try:
        return canonical_network(address).partition("/")[0]
    except ValueError:
        return ""


def client_username(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The name that failed sign-ins are counted by: no longer than the name of any account, whatever was typed."""
    given = (credentials or {}).get("username") or request.POST.get("username") or ""
    return str(given)[:LONGEST_USERNAME]


def request_key(request: HttpRequest, caller: Caller) -> RequestKey | None:
    """What makes this request the same as another: person, `Idempotency-Key` and body; None without the header.

    An account is one person on all its devices. Behind one address a browser is known by its cookie, or by the one
    that its first answer brought; programs there should choose keys that nobody guesses.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255:
        raise InvalidRequest("Idempotency-Key", _("An Idempotency-Key has 1 to 255 characters."))
    # With a key of ours: a body may have a password, which nobody is to guess from what the database keeps.
    body = salted_hmac(IDEMPOTENCY_SALT, request.body, algorithm="sha256")
    digests = hashlib.sha256(key.encode()).hexdigest(), body.hexdigest()

    def made_by(visitor: str) -> str:
        return "\n".join((caller.person.key, visitor, *digests))

    if caller.account_id is not None or not caller.visitor:
        return RequestKey(made_by(""))
    return RequestKey(made_by(caller.visitor), made_by(""), caller.visitor)


def refuse_foreign(request: HttpRequest) -> None:
    """Raise for a state-changing request that another site's page sent (`Forbidden`), or whose body is not JSON.

    A plain form of another site can send any body but that one.
    """
    if request.body and request.content_type != "application/json":
        raise InvalidRequest("Content-Type", _("The body must be application/json."))
    origin = request.headers.get("Origin")
    own = {"scheme": request.scheme, "headers": [(b"host", request.get_host().encode("latin-1"))]}
    if request.method not in SAFE_METHODS and is_foreign(origin, own, settings.PUBLIC_URL):
        raise Forbidden()


def refuse_forged(request: HttpRequest) -> None:
    """Raise `Forbidden` where a request that a cookie authorises lacks the CSRF token."""
    if request.method not in SAFE_METHODS and check_csrf(request) is not None:
        raise Forbidden()


async def authorise(request: HttpRequest, file: StoredFile) -> None:
    """Let the upload's token, its owner's session or its visitor's cookie through; raise for all others.

    A token that was sent decides alone, whatever cookies come along. A sender who was blocked stays so without their
    session, and at another address. Raises `Unauthorized` or `Forbidden`.
    """
    token = bearer_token(request)
    if token is None:
        await _authorise_by_cookie(request, file)
    elif not token_matches(file, token):
        raise Unauthorized()
    await refuse_blocked(file.person)


async def authorise_batch(request: HttpRequest, batch: Batch) -> None:
    """As `authorise`; the token of any of its uploads is good for the batch."""
    token = bearer_token(request)
    if token is None:
        await _authorise_by_cookie(request, batch)
    elif not await database_sync_to_async(has_token)(batch, token):
        raise Unauthorized()
    await refuse_blocked(batch.person)


def has_token(batch: Batch, token: str) -> bool:
    """Whether this is the token of one of its uploads."""
    return batch.files.filter(token_digest=tokens.digest(token)).exists()


def bearer_token(request: HttpRequest) -> str | None:
    """The token that a program sent; None where it sent none."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None  # another scheme belongs to a proxy before us


async def _authorise_by_cookie(request: HttpRequest, owned: StoredFile | Batch) -> None:
    caller = await caller_of(request)
    if caller.owns(owned):
        refuse_forged(request)
    elif caller.account_id is not None or caller.visitor:
        raise Forbidden()
    else:
        raise Unauthorized()


# --- the visitor's cookie ---


def visitor_of(request: HttpRequest) -> str:
    """The visitor that the signed cookie names; empty where there is none or it was tampered with."""
    try:
        return str(signing.loads(request.COOKIES.get(settings.VISITOR_COOKIE_NAME, ""), salt=VISITOR_SALT))
    except signing.BadSignature:
        return ""


@sync_and_async_middleware
def visitor_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Give a person's first contact with a page or the API a signed cookie, by which their uploads stay theirs."""
    from asgiref.sync import iscoroutinefunction

    def greet(request: HttpRequest) -> None:
        request.new_visitor = "" if visitor_of(request) else uuid.uuid4().hex  # type: ignore[attr-defined]

    def part(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        fresh = request.new_visitor  # type: ignore[attr-defined]
        if fresh and _is_met_here(request):
            response.set_cookie(
                settings.VISITOR_COOKIE_NAME,
                signing.dumps(fresh, salt=VISITOR_SALT),
                max_age=settings.VISITOR_COOKIE_AGE_SECONDS,
                secure=request.is_secure(),
                httponly=True,
                samesite="Lax",
            )
        return response

    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            greet(request)
            answer: Awaitable[HttpResponseBase] = get_response(request)
            return part(request, await answer)

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        greet(request)
        return part(request, get_response(request))

    return synchronous


def _is_met_here(request: HttpRequest) -> bool:
    """Pages and what senders call, never bytes: who goes on with a download must be whoever began it."""
    path = request.path
    if path.startswith(links.batch_zip_path("")):
        return False
    return path == "/" or path.startswith(("/f/", "/b/", "/api/v1/upload/", "/api/v1/batch/", "/api/v1/files"))
