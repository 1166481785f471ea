"""How many requests are worked on at once: each has a thread, and a database connection, of its own. Needs no Django.

Who asks for a thousand things at once gets one after the other, and waits for their own: the next turn goes to another
person who waits. A turn begins when the request is there in full, and ends when its answer begins, so that neither a
slow sender nor a slow reader holds one.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from typing import Any

from quotas.rules import address_person

AT_ONCE = 128
EACH = 32  # behind one address may be a whole company, whose browsers wait for news of a batch


class Turns:
    """At most `at_once` turns are taken at a time, and at most `each` of them by one person."""

    def __init__(self, at_once: int, each: int) -> None:
        self._at_once, self._each = at_once, each
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._next: OrderedDict[str, None] = OrderedDict()  # who waits, and may have one more

    async def take(self, person: str) -> None:
        """Return when it is this person's turn, which `give_back` ends."""
        if self._may(person) and self._taken.total() < self._at_once:
            self._taken[person] += 1
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

    def give_back(self, person: str) -> None:
        self._taken[person] -= 1
        if not self._taken[person]:
            del self._taken[person]
        self._offer(person)
        while self._next and self._taken.total() < self._at_once:
            lucky, _ = self._next.popitem(last=False)
            turn = self._waiting[lucky].popleft()
            if not turn.done():  # it is, where its request was given up a moment ago
                self._taken[lucky] += 1
                turn.set_result(None)
            self._offer(lucky)

    def _may(self, person: str) -> bool:
        return self._taken[person] < self._each

    def _offer(self, person: str) -> None:
        """Put this person into the line of those who may have one more, or out of it."""
        if not self._waiting.get(person):
            self._waiting.pop(person, None)
            self._next.pop(person, None)
        elif self._may(person):
            self._next.setdefault(person)


class InTurn:
    """Gives the application one HTTP request after the other, as `Turns` has it; sockets pass."""

    def __init__(self, application: Any, turns: Turns) -> None:
        self.application, self.turns = application, turns

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)
        request = await _whole_request(receive)
        if request is None:
            return None
        person = address_person(scope["client"][0] if scope.get("client") else "").key
        coming = asyncio.ensure_future(receive())  # nothing more, until the client has gone
        taking = asyncio.ensure_future(self.turns.take(person))
        messages = [request]
        is_over = False

        def give_back() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self.turns.give_back(person)

        async def replayed() -> Any:
            return messages.pop() if messages else await asyncio.shield(coming)

        async def noted(message: Any) -> None:
            give_back()
            await send(message)

        try:
            await asyncio.wait({coming, taking}, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                await self.application(scope, replayed, noted)
        finally:
            coming.cancel()
            if not taking.cancel():  # it was done
                give_back()
        return None


async def _whole_request(receive: Any) -> dict[str, Any] | None:
    """One message with all of the body; None where the client goes away before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body)}
