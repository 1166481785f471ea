"""The use-case of recipients: unlock a file or a batch with its password."""

from datetime import datetime

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from uploads import doors
from uploads.errors import Unauthorized, WrongState
from uploads.models import Batch, StoredFile
from uploads.people import caller_of
from uploads.sharing import passwords, rules, unlocking
from uploads.sharing.access import look


async def unlock(request: HttpRequest, subject: StoredFile | Batch, password: str) -> tuple[str, datetime]:
    """A token that opens it to whoever asks, and until when it is good.

    Raises `Unauthorized` for a wrong password, `RateLimited` after too many, `WrongState` where there is none, `Gone`.
    """
    access = await look(request, subject)
    if not access.lock:
        raise WrongState(_("This has no password."))
    person = (await caller_of(request)).person.key
    await doors.count_guess(person, str(subject.pk))
    is_possible = 0 < len(password) <= rules.LONGEST_PASSWORD
    if not is_possible or not await passwords.is_right(password, access.lock, person):
        raise Unauthorized(_("That is not the password."), password_required=True)
    return unlocking.new_token(subject.pk, access.lock)
