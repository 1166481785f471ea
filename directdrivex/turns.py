"""How many requests are worked on at once: each has a thread, and a database connection, of its own.

A turn begins when the request is there in full, and ends when its answer begins, so that neither a slow sender nor a
slow reader holds one. Needs no Django.
"""

import asyncio
from typing import Any

from quotas.rules import address_person
from uploads.delivery.lasting import TURN
from uploads.turns import Turns

AT_ONCE = 128
EACH = 16  # behind one address may be a whole company, whose browsers wait for news of a batch
# What tells whether the program lives, and what its pages are made of, wait for nobody's uploads or passwords.
APART, FOLDER_APART = ("/healthz", "/readyz", "/metrics"), "/static/"


class InTurn:
    """Gives the application one HTTP request after the other, as `Turns` has it; sockets pass."""

    def __init__(self, application: Any, turns: Turns) -> None:
        self.application, self.turns = application, turns
        self.turns_apart = Turns(AT_ONCE, EACH)  # they cost threads too

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.application(scope, receive, send)
        request = await _whole_request(receive)
        if request is None:
            return None
        turns = self.turns_apart if _is_apart(scope["path"]) else self.turns
        person = address_person(scope["client"][0] if scope.get("client") else "").key
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
        return None


def _is_apart(path: str) -> bool:
    return path in APART or path.startswith(FOLDER_APART)


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
