"""How many requests are worked on at once: each has a thread, and a database connection, of its own.

A turn begins when the request is there in full, and ends when its answer begins, so that neither a slow sender nor a
slow reader holds one. Large bodies have a line of their own, from before they are read until their request is over: a
few fit into memory, and a thousand that never come to their end do not. Needs no Django.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any

from quotas.rules import address_person
from uploads.delivery.lasting import TURN
from uploads.intake.registry import others_move
from uploads.time_shares import Share
from uploads.turns import Turns

AT_ONCE = 128
EACH = 16  # behind one address may be a whole company, whose browsers wait for news of a batch
LARGE_BYTES = 16 * 1024  # of a body: announcing some sixty files
LARGE_AT_ONCE, LARGE_EACH, MOST_LARGE_WAITING = 32, 4, 64  # of one person wait: each has a quarter of a MiB in memory
MOST_REQUESTS_WAITING = MOST_HANDSHAKES_WAITING = 2048  # of one person: as many as the system lets wait to be accepted
# What tells whether the program lives, and what its pages are made of, wait for nobody's uploads or passwords.
APART, FOLDER_APART = ("/healthz", "/readyz", "/metrics"), "/static/"


@cache
def beside_uploads() -> Share:
    """What a person has of this process while others upload: for connections, handshakes and requests together."""
    return Share(others_move)


def in_company() -> Turns:
    """Turns of which each person has no more than their share while somebody else uploads."""
    return Turns(AT_ONCE, EACH, beside_uploads())


def person_of(scope: Mapping[str, Any]) -> str:
    return address_person(scope["client"][0] if scope.get("client") else "").key


class Turn:
    """A person's turn, once it is taken; called, it is given back, with a rest, and nothing more the second time."""

    def __init__(self, turns: Turns, person: str) -> None:
        self._turns, self._person = turns, person
        self.is_over, self.rest = False, 0.0

    def __call__(self, rest: float = 0.0) -> None:
        if not self.is_over:
            self.is_over, self.rest = True, rest
            self._turns.give_back(self._person, rest)

    async def taken_before(self, coming: "asyncio.Future[Any]") -> bool:
        """True when it is taken; False, and nothing is, where `coming` tells before that its client has gone."""
        taking = asyncio.ensure_future(self._turns.take(self._person))
        is_there = False
        try:
            await asyncio.wait({coming, taking}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done() and not _has_gone(coming):
                await asyncio.wait({taking})  # a socket's first words came before
            is_there = not _has_gone(coming)
        finally:
            if not is_there and not taking.cancel():  # it was done
                self()
        return is_there


class _NoRoomError(Exception):
    pass


class InTurn:
    """Gives the application one HTTP request after the other, as `Turns` has it.

    Where too many of its person's wait already, a request is given to `turned_away`.
    """

    def __init__(
        self, application: Any, turns: Turns, turned_away: Any, most_waiting: int = MOST_REQUESTS_WAITING
    ) -> None:
        self.application, self.turns, self.turned_away = application, turns, turned_away
        self._most_waiting, self.most_large_waiting = most_waiting, MOST_LARGE_WAITING
        self.turns_apart = in_company()  # they cost threads and time too
        self.large_bodies = Turns(LARGE_AT_ONCE, LARGE_EACH)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        person = person_of(scope)
        turns = self.turns_apart if _is_apart(scope["path"]) else self.turns
        turn = Turn(turns, person)
        async with AsyncExitStack() as until_over:

            async def make_room() -> None:
                if self.large_bodies.waiting(person) >= self.most_large_waiting:
                    raise _NoRoomError
                await self.large_bodies.take(person)
                until_over.callback(lambda: self.large_bodies.give_back(person, turn.rest))

            try:
                request = await _whole_request(receive, make_room)
            except _NoRoomError:
                await self.turned_away(scope, receive, send)
                return
            if request is None:
                return
            if turns.waiting(person) >= self._most_waiting:
                await self.turned_away(scope, receive, send)
            else:
                await self._in_turn(turn, request, scope, receive, send)

    async def _in_turn(
        self, turn: Turn, request: dict[str, Any], scope: dict[str, Any], receive: Any, send: Any
    ) -> None:
        coming = asyncio.ensure_future(receive())  # nothing more, until the client has gone
        messages = [request]

        async def replayed() -> Any:
            return messages.pop() if messages else await asyncio.shield(coming)

        async def noted(message: Any) -> None:
            turn()
            await send(message)

        await _work_in(turn, coming, self.application, scope, replayed, noted)


class HandshakesInTurn:
    """Gives the application one socket after the other, as `Turns` has it, until it has said yes or no to each.

    A turn ends when the application wants to hear more than that somebody connects.
    """

    def __init__(self, application: Any, turns: Turns, most_waiting: int = MOST_HANDSHAKES_WAITING) -> None:
        self.application, self.turns, self._most_waiting = application, turns, most_waiting

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        person = person_of(scope)
        connect = await receive()
        if not self.turns.is_free(person) and self.turns.waiting(person) >= self._most_waiting:
            await send({"type": "websocket.close"})
            return
        turn = Turn(self.turns, person)
        coming = asyncio.ensure_future(receive())
        messages, was_heard = [connect], False

        async def replayed() -> Any:
            nonlocal was_heard
            if was_heard:
                return await receive()
            if messages:
                return messages.pop()
            turn()
            message = await asyncio.shield(coming)
            was_heard = True
            return message

        await _work_in(turn, coming, self.application, scope, replayed, send)


async def _work_in(
    turn: Turn, coming: "asyncio.Future[Any]", application: Any, scope: dict[str, Any], receive: Any, send: Any
) -> None:
    """Have the application work on this in its turn, unless `coming` tells before that its client has gone."""
    scope[TURN] = turn
    try:
        if await turn.taken_before(coming):
            try:
                await application(scope, receive, send)
            finally:
                turn()
    finally:
        coming.cancel()


def _has_gone(coming: "asyncio.Future[Any]") -> bool:
    return coming.done() and coming.result()["type"].endswith(".disconnect")


def _is_apart(path: str) -> bool:
    return path in APART or path.startswith(FOLDER_APART)


async def _whole_request(receive: Any, make_room: Callable[[], Awaitable[None]]) -> dict[str, Any] | None:
    """One message with all of the body; None where the client goes away before its end. A large one waits for room."""
    body = bytearray()
    has_room = False
    while True:
        if len(body) > LARGE_BYTES and not has_room:
            await make_room()
            has_room = True
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body)}
