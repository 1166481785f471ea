"""May whoever asks have this file or batch? Every door that gives bytes or facts asks here; `giving.py` gives them.

    access = await admit(request, file)  # raises Locked, Gone

The sender is never locked out, and never counted: whoever has an upload's token, or its owner's account. The cookie of
a browser is no such proof, since others may sit at it: it asks for the password as everybody's does. How far a file
came (uploading, expired, deleted) is not asked here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from uploads import services, tokens
from uploads.errors import Gone, Locked
from uploads.models import Batch, StoredFile
from uploads.people import Caller, bearer_token, caller_of, has_token
from uploads.sharing import counting, rules, unlocking
from uploads.sharing.counting import REVOKED, USED_UP

LOCKED = _("This is protected by a password.")


@dataclass(frozen=True)
class Access:
    """What one who asks may have of a file or a batch that was neither withdrawn nor used up.

    `lock` is the hash of the password that it has, or empty; `recipients` digests that all stand for whoever asks,
    first the one that stays theirs for longest. Without `is_counted` bytes are given that are no download.
    """

    subject: StoredFile | Batch
    is_sender: bool
    lock: str
    is_unlocked: bool
    recipients: tuple[str, ...]
    is_counted: bool = True

    @property
    def is_locked(self) -> bool:
        """A password is missing: nothing but id, state, expiry and this may be told."""
        return bool(self.lock) and not self.is_unlocked and not self.is_sender

    @property
    def is_limited(self) -> bool:
        """Each download matters, and is to be counted by the bytes that are given."""
        return not self.is_sender and self.subject.max_downloads is not None


async def look(request: HttpRequest, subject: StoredFile | Batch) -> Access:
    """Who asks, and what they may have. Raises `Gone` for what was withdrawn, or downloaded as often as was allowed."""
    await _with_batch(subject)
    caller = await caller_of(request)
    is_sender = await _is_sender(request, caller, subject)
    lock = lock_of(subject)
    unlocked = _unlocked(request, subject) if lock else ""
    # Whoever began a download as less than they are by now goes on with the same one.
    recipients = tuple(tokens.digest(who) for who in (unlocked, caller.visitor, caller.person.key) if who)
    if not is_sender:
        if is_withdrawn(subject):
            raise Gone(REVOKED)
        # The page of a batch says of each file whether it can be had; its ZIP is `listing.allowed`'s.
        if isinstance(subject, StoredFile) and await is_used_up(subject, recipients):
            raise Gone(USED_UP)
    return Access(subject, is_sender, lock, bool(unlocked), recipients)


async def is_used_up(subject: StoredFile | Batch, recipients: Sequence[str]) -> bool:
    """Whether it was downloaded as often as allowed, and this recipient has no download of it to go on with."""
    if not rules.is_used_up(subject.downloads, subject.max_downloads):
        return False
    return not await database_sync_to_async(counting.is_running)(subject.pk, recipients)


async def admit(request: HttpRequest, subject: StoredFile | Batch) -> Access:
    """As `look`; raises `Locked` where it is."""
    access = await look(request, subject)
    if access.is_locked:
        raise Locked(LOCKED)
    return access


async def _with_batch(subject: StoredFile | Batch) -> None:
    if isinstance(subject, StoredFile) and subject.batch_id and not StoredFile.batch.is_cached(subject):
        subject.batch = await database_sync_to_async(Batch.objects.get)(pk=subject.batch_id)


async def _is_sender(request: HttpRequest, caller: Caller, subject: StoredFile | Batch) -> bool:
    if caller.account_id is not None and caller.account_id == subject.owner_id:
        return True
    token = bearer_token(request)
    if not token:
        return False
    if isinstance(subject, StoredFile):
        return services.token_matches(subject, token)
    return await database_sync_to_async(has_token)(subject, token)


def lock_of(subject: StoredFile | Batch) -> str:
    if isinstance(subject, Batch):
        return subject.password_hash
    return rules.lock_of(subject.password_hash, subject.batch.password_hash if subject.batch else "")


def is_withdrawn(subject: StoredFile | Batch) -> bool:
    if subject.revoked_at:
        return True
    return isinstance(subject, StoredFile) and bool(subject.batch and subject.batch.revoked_at)


def _unlocked(request: HttpRequest, subject: StoredFile | Batch) -> str:
    """The unlocking that came with the request, as a token or as a cookie; empty where none is good here.

    That of a batch opens those of its files that have no password of their own.
    """
    lock = lock_of(subject)
    opened_by = [subject.pk]
    if isinstance(subject, StoredFile) and subject.batch_id and not subject.password_hash:
        opened_by.append(subject.batch_id)
    bearer = bearer_token(request)
    for pk in opened_by:
        for token in (bearer, unlocking.cookie_of(request, pk)):
            if token and (key := unlocking.key_of(token, pk, lock)):
                return f"unlocked {key}"
    return ""
