"""Who is next, where not everybody can be served at once. Needs no Django.

Who asks for a thousand things at once gets one after the other, and waits for their own: the next turn goes to another
person who waits.
"""

import asyncio
import time
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from uploads.time_shares import Share

LONGEST_REST_SECONDS = 1.0


class Turns:
    """At most `at_once` turns are taken at a time, and at most `each` of them by one person, who keeps to a `share`."""

    def __init__(self, at_once: int, each: int, share: Share | None = None) -> None:
        self._at_once, self._each, self._share = at_once, each, share
        self._taken: Counter[str] = Counter()
        self._resting: Counter[str] = Counter()
        self._since: dict[str, float] = {}  # who has turns: since when that is not taken from their share yet
        self._paused: set[str] = set()  # who waits for their share, and for no place
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._next: OrderedDict[str, None] = OrderedDict()  # who waits, and may have one more

    def may_have_more(self, person: str) -> bool:
        """Has this person less than one may have?"""
        return person not in self._paused and self._taken[person] + self._resting[person] < self._each

    def waiting(self, person: str) -> int:
        """How many turns this person waits for."""
        return len(self._waiting.get(person, ()))

    def is_free(self, person: str) -> bool:
        """Would `take` return at once?"""
        return self.may_have_more(person) and self._taken.total() < self._at_once

    async def take(self, person: str) -> None:
        """Return when it is this person's turn, which `give_back` ends."""
        if self.is_free(person):
            self._begin(person)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(person, deque()).append(turn)
        self._offer(person)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_back(person)  # it had just been given
            elif turn in self._waiting.get(person, ()):
                self._waiting[person].remove(turn)
                self._offer(person)
            raise

    def give_back(self, person: str, rest: float = 0.0) -> None:
        """End one turn. For `rest` seconds more this person has one less, while others may have it at once."""
        one_less(self._taken, person)
        if self._share is not None:
            self._take_from(self._share, person)
        if rest:
            self._resting[person] += 1
            asyncio.get_running_loop().call_later(rest, self._rested, person)
        self._go_on(person)

    def _begin(self, person: str) -> None:
        self._taken[person] += 1
        if self._share is not None:
            self._since.setdefault(person, time.monotonic())

    def _take_from(self, share: Share, person: str) -> None:
        """What passed while at least one turn was this person's is theirs, whatever it was spent on.

        Where others keep the process busy too, it passes as quickly, and that person gives way the more.
        """
        now = time.monotonic()
        share.take(person, now - self._since.pop(person))
        if person in self._taken:
            self._since[person] = now
        self._pause(person, share)

    def _pause(self, person: str, share: Share) -> None:
        """Let this person have no more turns until they have waited for those that they had."""
        if person not in self._paused and (wait := share.wait(person)):
            self._paused.add(person)
            asyncio.get_running_loop().call_later(wait, self._paused_long_enough, person, share)

    def _paused_long_enough(self, person: str, share: Share) -> None:
        self._paused.discard(person)
        self._pause(person, share)  # turns that they still had have ended meanwhile
        self._go_on(person)

    def _rested(self, person: str) -> None:
        one_less(self._resting, person)
        self._go_on(person)

    def _go_on(self, person: str) -> None:
        self._offer(person)
        while self._next and self._taken.total() < self._at_once:
            lucky, _ = self._next.popitem(last=False)
            turn = self._waiting[lucky].popleft()
            if not turn.done():  # it is, where its request was given up a moment ago
                self._begin(lucky)
                turn.set_result(None)
            self._offer(lucky)

    def _offer(self, person: str) -> None:
        """Put this person into the line of those who may have one more, or out of it."""
        if not self._waiting.get(person):
            self._waiting.pop(person, None)
            self._next.pop(person, None)
        elif self.may_have_more(person):
            self._next.setdefault(person)
        else:
            self._next.pop(person, None)


def one_less(count: Counter[str], person: str) -> None:
    """Count one less of this person; who has none is not kept."""
    count[person] -= 1
    if not count[person]:
        del count[person]


class WithRests:
    """Work that would leave nothing to others: one piece at a time, and after each a rest as long as it took.

    Each event loop has its own.
    """

    def __init__(self) -> None:
        self._turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = weakref.WeakKeyDictionary()

    @asynccontextmanager
    async def turn(self, person: str) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        turns = self._turns.setdefault(loop, Turns(at_once=1, each=1))
        await turns.take(person)
        began = loop.time()
        try:
            yield
        finally:
            loop.call_later(min(loop.time() - began, LONGEST_REST_SECONDS), turns.give_back, person)
