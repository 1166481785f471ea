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

from uploads.models import Batch, StoredFile
from uploads.sharing.rules import RESUMABLE

SALT = "uploads.unlocked"
PREFIX = "ddx_unlocked_"
COOKIE = PREFIX + "{}"
LIFE = RESUMABLE  # whoever began a download can end it
# A browser sends them all with each request, some 220 bytes each: servers refuse headers of more than a few KiB.
MOST_COOKIES = 15


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


def _signed_at(token: str) -> int:
    """In seconds since 1970; 0 of what is no token, or good no longer."""
    try:
        signing.TimestampSigner(salt=SALT).unsign(token, max_age=LIFE)
    except signing.BadSignature:
        return 0
    return signing.b62_decode(token.rsplit(":", 2)[1])


def keep(request: HttpRequest, response: HttpResponseBase, subject: StoredFile | Batch, token: str) -> None:
    """Have the browser send the token with every request to us, and show it to no script.

    It forgets the oldest of those that it has beyond so many, but not that of a file's batch.
    """
    name = COOKIE.format(subject.pk.hex)
    needed = {name}
    if isinstance(subject, StoredFile) and subject.batch_id:
        needed.add(COOKIE.format(subject.batch_id.hex))
    known = [known for known in request.COOKIES if known.startswith(PREFIX) and known != name]
    known.sort(key=lambda known: (known in needed, _signed_at(request.COOKIES[known])))
    for oldest in known[: -(MOST_COOKIES - 1)]:
        response.delete_cookie(oldest, samesite="Lax")
    response.set_cookie(
        name,
        token,
        max_age=LIFE,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
