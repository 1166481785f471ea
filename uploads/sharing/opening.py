"""The use-case of recipients: unlock a file or a batch with its password."""

from datetime import datetime

from channels.db import database_sync_to_async
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from quotas.networks import guesser
from uploads import batches, doors, services, tokens
from uploads.errors import Locked, RateLimited, WrongState
from uploads.models import Batch, StoredFile
from uploads.people import caller_of
from uploads.sharing import passwords, rules, unlocking
from uploads.sharing.access import look
from uploads.states import Status


async def unlock(request: HttpRequest, subject: StoredFile | Batch, password: str) -> tuple[str, datetime]:
    """A token that opens it to whoever asks, and until when it is good.

    Raises `Locked` for a wrong password, `RateLimited` after too many, `WrongState` where there is none, `Gone`.
    """
    access = await look(request, subject)
    await database_sync_to_async(_refuse_gone)(subject)
    if not access.lock:
        raise WrongState(_("This has no password."))
    person = guesser((await caller_of(request)).person.key)
    # By the hash, which all files of a batch have in common that are locked by the same password.
    guess = doors.Guess(person, tokens.digest(access.lock))
    await guess.count()
    try:
        is_possible = 0 < len(password) <= rules.LONGEST_PASSWORD
        is_right = is_possible and await passwords.is_right(request, password, access.lock, person)
    except RateLimited:
        await guess.take_back()
        raise
    if not is_right:
        raise Locked(_("That is not the password."))
    await guess.take_back()
    return unlocking.new_token(subject.pk, access.lock)


def _refuse_gone(subject: StoredFile | Batch) -> None:
    """A password that would open nothing is not tried."""
    if isinstance(subject, Batch):
        batches.refuse_gone(subject)
    else:
        subject.status = subject.status_at(timezone.now())
        services.refuse_gone(subject, Status.CANCELLED, Status.FAILED, Status.EXPIRED)
