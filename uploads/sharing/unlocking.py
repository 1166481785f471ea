"""What shows that somebody has unlocked a file or a batch: a signed token, which programs send and browsers keep.

It names what it opens and the password that opened it: it is good for nothing else, and void once that password changes
or is taken away.
"""

import contextlib
import hmac
import secrets
from datetime import datetime
from uuid import UUID

from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.crypto import salted_hmac

from uploads.sharing.rules import RESUMABLE

SALT = "uploads.unlocked"
PREFIX = "ddx_unlocked_"
COOKIE = PREFIX + "{}"
LIFE = RESUMABLE  # whoever began a download can end it


def new_token(subject: UUID, password_hash: str) -> tuple[str, datetime]:
    """A token for the file or batch of this id, and until when it is good."""
    members = [subject.hex, _fingerprint(password_hash), secrets.token_hex(8)]
    return signing.dumps(members, salt=SALT), timezone.now() + LIFE


def key_of(token: str, subject: UUID, password_hash: str) -> str:
    """What tells this unlocking from others; empty where the token is not for this, with the password it has now."""
    try:
        named, fingerprint, key = signing.loads(token, salt=SALT, max_age=LIFE)
    except signing.BadSignature:
        return ""
    is_right = named == subject.hex and hmac.compare_digest(fingerprint, _fingerprint(password_hash))
    return str(key) if is_right else ""


def _fingerprint(password_hash: str) -> str:
    return salted_hmac(SALT, password_hash, algorithm="sha256").hexdigest()[:32]


def cookie_of(request: HttpRequest, subject: UUID) -> str:
    return request.COOKIES.get(COOKIE.format(subject.hex), "")


def ids_of_cookies(request: HttpRequest) -> list[UUID]:
    """The files and batches that the request has such a cookie for, good or not."""
    found = []
    for name in request.COOKIES:
        if name.startswith(PREFIX):
            with contextlib.suppress(ValueError):
                found.append(UUID(name.removeprefix(PREFIX)))
    return found


def keep(request: HttpRequest, response: HttpResponseBase, subject: UUID, token: str) -> None:
    """Have the browser send the token with every request to us, and show it to no script."""
    response.set_cookie(
        COOKIE.format(subject.hex),
        token,
        max_age=LIFE,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
