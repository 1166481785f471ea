"""How many downloads stream at once in this process, of all and of one person, so that they leave room to uploads.

A download manager opens sixteen connections for one file, and some give up at the first refusal: whoever comes beyond
waits a moment for one before to end, and is refused only then, or where too many wait already.
"""

import asyncio
from collections import Counter
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from uploads.delivery.lasting import held_by
from uploads.errors import RateLimited
from uploads.turns import Turns
from uploads.waiting import let_go

PATIENCE_SECONDS = 15.0
RETRY_SECONDS = 10
BUSY = _("Too many downloads run at the moment. Please try again in a moment.")


class Line:
    """At most `at_once` downloads stream at a time, `each` of one person; as many again may wait."""

    def __init__(self, at_once: int, each: int) -> None:
        self._turns, self._at_once, self._each = Turns(at_once, each), at_once, each
        self._persons: Counter[str] = Counter()  # who streams or waits, each time

    async def enter(self, request: HttpRequest) -> None:
        """Return when this request may stream; its place is given back when its answer is over.

        Raises `RateLimited`.
        """
        held = held_by(getattr(request, "scope", {}))
        if held is None:
            return
        person = _person_of(request)
        if self._persons[person] >= 2 * self._each or self._persons.total() >= 2 * self._at_once:
            raise RateLimited(BUSY, retry_after=RETRY_SECONDS)
        self._persons[person] += 1
        held.callback(self._leave, person)
        if not self._turns.is_free(person):
            await let_go(request)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._turns.take(person)
        except TimeoutError:
            raise RateLimited(BUSY, retry_after=RETRY_SECONDS) from None
        held.callback(self._turns.give_back, person)

    def _leave(self, person: str) -> None:
        self._persons[person] -= 1
        if not self._persons[person]:
            del self._persons[person]


@cache
def line() -> Line:
    """The one of this process."""
    return Line(settings.MAX_CONCURRENT_DOWNLOADS, settings.MAX_CONCURRENT_DOWNLOADS_PER_USER)


def _person_of(request: HttpRequest) -> str:
    persons: tuple[str, ...] = getattr(request, "persons", ())
    return persons[-1] if persons else str(request.META.get("REMOTE_ADDR", ""))
