"""What of a batch's files somebody may see, or download together.

A file with a password of its own shows itself to those who gave it; one that was withdrawn shows nothing; the sender
sees everything. What is hidden is taken out of the row itself, so that no page and no answer can tell of it.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from uploads.batches import BatchFacts
from uploads.errors import Gone, Locked
from uploads.models import StoredFile
from uploads.sharing import counting, rules, unlocking
from uploads.sharing.access import Access, is_used_up
from uploads.shown import Facts
from uploads.states import Status, Withheld, batch_status


class Controlled(Protocol):
    """What a file's row says of who may have it."""

    @property
    def pk(self) -> UUID: ...
    @property
    def password_hash(self) -> str: ...
    @property
    def max_downloads(self) -> int | None: ...
    @property
    def downloads(self) -> int: ...
    @property
    def revoked_at(self) -> datetime | None: ...


F = TypeVar("F", bound=Controlled)
SENDER, LOCKED = "sender", "locked"
LOCKED_BY_ITSELF = _("Each of these files has a password of its own.")


@dataclass(frozen=True)
class View:
    """How a batch looks to somebody: as its sender, locked as a whole, or open with these own locks unlocked."""

    is_sender: bool
    is_locked: bool
    unlocked: frozenset[UUID] = frozenset()

    @property
    def key(self) -> str:
        """The same for all who see the same."""
        if self.is_sender:
            return SENDER
        return LOCKED if self.is_locked else ",".join(sorted(pk.hex for pk in self.unlocked))


def view_of_key(key: str) -> View:
    unlocked = frozenset(UUID(pk) for pk in key.split(",") if pk) if key not in (SENDER, LOCKED) else frozenset()
    return View(key == SENDER, key == LOCKED, unlocked)


async def view_of(request: HttpRequest, access: Access) -> View:
    """How this batch looks to whoever asks, and was found to have this access to it."""
    if access.is_sender or access.is_locked:
        return View(access.is_sender, access.is_locked)
    named = unlocking.ids_of_cookies(request)
    if not named:
        return View(False, False)
    rows = StoredFile.objects.filter(batch=access.subject.pk, pk__in=named).exclude(password_hash="")
    files = await database_sync_to_async(list)(rows.only("password_hash"))
    return View(False, False, frozenset(file.pk for file in files if _is_unlocked(request, file)))


def _is_unlocked(request: HttpRequest, file: StoredFile) -> bool:
    return bool(unlocking.key_of(unlocking.cookie_of(request, file.pk), file.pk, file.password_hash))


def seen(facts: BatchFacts, view: View) -> BatchFacts:
    """The batch as this view has it. Raises `Gone` where all of its files were withdrawn or used up."""
    if view.is_sender:
        return facts
    files = [_seen(known, view.unlocked) for known in facts.files]
    states = {known.state for known in files} - {Status.DELETED}
    if states and states <= set(Withheld):
        raise Gone(counting.USED_UP if Withheld.USED_UP in states else counting.REVOKED)
    return BatchFacts(facts.batch, batch_status([known.state for known in files]) or facts.status, files)


def _seen(known: Facts, unlocked: Collection[UUID]) -> Facts:
    file = known.file
    if file.revoked_at:
        return Facts(_blank(file), Withheld.REVOKED.value, 0)
    if file.password_hash and file.pk not in unlocked:
        return replace(known, file=_blank(file), offset=0, is_locked=True)
    if known.state == Status.COMPLETED and rules.is_used_up(file.downloads, file.max_downloads):
        return replace(known, state=Withheld.USED_UP.value)
    return known


def _blank(file: StoredFile) -> StoredFile:
    blank = copy.copy(file)
    blank.filename = blank.path = blank.content_type = blank.sha256 = ""
    blank.size = 0
    return blank


async def begun_with(request: HttpRequest, access: Access) -> frozenset[UUID]:
    """What is still in the ZIP for whoever asks for a further part of it, though it may be used up since then."""
    if access.is_sender or "Range" not in request.headers:
        return frozenset()
    return await database_sync_to_async(counting.begun_with)(access.subject.pk, access.recipients)


async def allowed(request: HttpRequest, access: Access, files: Sequence[F], begun: Collection[UUID] = ()) -> list[F]:
    """Those of a batch's complete files that whoever was admitted to it may have: what its ZIP is made of.

    What was downloaded as often as allowed is in it only where the ZIP was `begun` with it. Raises `Locked` or
    `Gone` where there is none.
    """
    view = await view_of(request, access)
    if view.is_sender:
        return list(files)
    if await is_used_up(access.subject, access.recipients):
        raise Gone(counting.USED_UP)
    here = [file for file in files if not file.revoked_at]
    open_to_them = [file for file in here if not file.password_hash or file.pk in view.unlocked]
    found = [
        file for file in open_to_them if file.pk in begun or not rules.is_used_up(file.downloads, file.max_downloads)
    ]
    if found:
        return found
    if open_to_them:
        raise Gone(counting.USED_UP)
    if here:
        raise Locked(LOCKED_BY_ITSELF)
    raise Gone(counting.REVOKED)
