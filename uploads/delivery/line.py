"""How many downloads stream at once in this process, of all and of one person, so that they leave room to uploads.

A download manager opens sixteen connections for one file, and some give up at the first refusal: whoever comes beyond
waits a moment for one before to end, and is refused only then, or where too many wait already. While somebody waits,
a download whose client takes next to nothing (`reader.py`) breaks off for them; it can be resumed, and waits in its
turn.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from uploads.delivery.lasting import READER, UNREAD, UNSENT, held_by, scope_of
from uploads.delivery.reader import Reader
from uploads.errors import RateLimited
from uploads.turns import Turns, one_less
from uploads.waiting import RETRY_SECONDS, let_go

PATIENCE_SECONDS = 15.0
LOOK_SECONDS = 1.0
BUSY = _("Too many downloads run at the moment. Please try again in a moment.")


class Line:
    """At most `at_once` downloads stream at a time, `each` of one person; as many again may wait."""

    def __init__(self, at_once: int, each: int) -> None:
        self._turns, self._at_once, self._each = Turns(at_once, each), at_once, each
        self._persons: Counter[str] = Counter()  # who streams or waits, each time
        self._waiting: Counter[str] = Counter()
        self._readers: dict[Reader, str] = {}
        self._look_again: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        return self._persons.total() - self._waiting.total()

    @property
    def waiting(self) -> int:
        return self._waiting.total()

    async def enter(self, request: HttpRequest) -> None:
        """Return when this request may stream; its place is given back when its answer is over.

        Raises `RateLimited`.
        """
        scope = scope_of(request)
        held = held_by(scope)
        if held is None:
            return
        person = _person_of(request)
        if self._persons[person] >= 2 * self._each or self._persons.total() >= 2 * self._at_once:
            raise RateLimited(BUSY, retry_after=RETRY_SECONDS)
        self._persons[person] += 1
        held.callback(one_less, self._persons, person)
        if not self._turns.is_free(person):
            await self._wait(request, person)
        else:
            await self._turns.take(person)
        held.callback(self._turns.give_back, person)
        if UNREAD in scope:
            reader = scope[READER] = Reader(scope[UNREAD], scope[UNSENT])
            self._readers[reader] = person
            held.callback(self._readers.pop, reader)

    async def _wait(self, request: HttpRequest, person: str) -> None:
        with self._counted_as_waiting(person):
            await let_go(request)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._turns.take(person)
            except TimeoutError:
                raise RateLimited(BUSY, retry_after=RETRY_SECONDS) from None

    @contextmanager
    def _counted_as_waiting(self, person: str) -> Iterator[None]:
        self._waiting[person] += 1
        if self._look_again is None:
            self._look()
        try:
            yield
        finally:
            one_less(self._waiting, person)
            if not self._waiting and self._look_again is not None:
                self._look_again.cancel()
                self._look_again = None

    def _look(self) -> None:
        """For each who waits have one download break off that nobody reads, and so again for as long as they wait.

        Whoever has the most places is the first to lose one; whoever has all that one may have loses one of their own.
        """
        slow = sorted(
            (reader for reader in self._readers if not reader.gives_way.done() and reader.is_slow()),
            key=lambda reader: self._persons[self._readers[reader]],
        )
        for person in self._waiting.elements():
            may_have_any = self._turns.may_have_more(person)
            found = [reader for reader in slow if may_have_any or self._readers[reader] == person]
            if found:
                slow.remove(found[-1])
                found[-1].give_way()
        self._look_again = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)


@cache
def line() -> Line:
    """The one of this process. No person can have more than half of all places."""
    at_once = settings.MAX_CONCURRENT_DOWNLOADS
    return Line(at_once, min(settings.MAX_CONCURRENT_DOWNLOADS_PER_USER, max(1, at_once // 2)))


def _person_of(request: HttpRequest) -> str:
    persons: tuple[str, ...] = getattr(request, "persons", ())
    return persons[-1] if persons else str(request.META.get("REMOTE_ADDR", ""))
