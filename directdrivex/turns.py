"""How many requests are worked on at once: each has a thread, and a database connection, of its own.

A turn begins when the request is there in full, and ends when its answer begins, so that neither a slow sender nor a
slow reader holds one. Large bodies have a line of their own, from before they are read until their request is over: a
few fit into memory, and a thousand that never come to their end do not. Needs no Django.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from quotas.rules import address_person
from uploads.delivery.lasting import TURN
from uploads.turns import Turns

AT_ONCE = 128
EACH = 16  # behind one address may be a whole company, whose browsers wait for news of a batch
LARGE_BYTES = 16 * 1024  # of a body: announcing some sixty files
LARGE_AT_ONCE, LARGE_EACH = 32, 4
# What tells whether the program lives, and what its pages are made of, wait for nobody's uploads or passwords.
APART, FOLDER_APART = ("/healthz", "/readyz", "/metrics"), "/static/"


class InTurn:
    """Gives the application one HTTP request after the other, as `Turns` has it; sockets pass."""

    def __init__(self, application: Any, turns: Turns) -> None:
        self.application, self.turns = application, turns
        self.turns_apart = Turns(AT_ONCE, EACH)  # they cost threads too
        self.large_bodies = Turns(LARGE_AT_ONCE, LARGE_EACH)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)
        person = address_person(scope["client"][0] if scope.get("client") else "").key
        async with AsyncExitStack() as until_over:

            async def make_room() -> None:
                await self.large_bodies.take(person)
                until_over.callback(self.large_bodies.give_back, person)

            request = await _whole_request(receive, make_room)
            if request is not None:
                await self._in_turn(request, person, scope, receive, send)
        return None

    async def _in_turn(
        self, request: dict[str, Any], person: str, scope: dict[str, Any], receive: Any, send: Any
    ) -> None:
        turns = self.turns_apart if _is_apart(scope["path"]) else self.turns
        coming = asyncio.ensure_future(receive())  # nothing more, until the client has gone
        taking = asyncio.ensure_future(turns.take(person))
        messages = [request]
        is_over = False

        def give_back(rest: float = 0.0) -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                turns.give_back(person, rest)

        async def replayed() -> Any:
            return messages.pop() if messages else await asyncio.shield(coming)

        async def noted(message: Any) -> None:
            give_back()
            await send(message)

        scope[TURN] = give_back
        try:
            await asyncio.wait({coming, taking}, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                await self.application(scope, replayed, noted)
        finally:
            coming.cancel()
            if not taking.cancel():  # it was done
                give_back()


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
