"""Requests that wait long for others: they keep neither a turn (`directdrivex/turns.py`) nor a connection meanwhile.

What they wait in has a bound of its own in place of the turns, or waiting would cost nothing.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpRequest

from uploads.delivery.lasting import end_turn, scope_of
from uploads.errors import RateLimited, UploadError
from uploads.turns import one_less

MOST, EACH = 64, 8
RETRY_SECONDS = 10
FLOOD_REST_SECONDS = 0.5


class Waiters:
    """At most `most` requests of all, and `each` of one person, wait here or have what they waited for."""

    def __init__(self, most: int = MOST, each: int = EACH) -> None:
        self._most, self._each = most, each
        self._persons: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._persons.total()

    @asynccontextmanager
    async def place(self, request: HttpRequest, person: str) -> AsyncIterator[None]:
        """A place for this request, which has let go of what others need. Raises `RateLimited` where none is free."""
        if self._persons[person] >= self._each or self._persons.total() >= self._most:
            raise RateLimited(retry_after=RETRY_SECONDS)
        self._persons[person] += 1
        try:
            await let_go(request)
            yield
        finally:
            one_less(self._persons, person)


async def let_go(request: HttpRequest) -> None:
    """Give the request's turn back, and its connection: a wait begins that is bounded otherwise."""
    end_turn(scope_of(request))
    await free_connection()


def rest_after(refusal: UploadError, scope: Mapping[str, Any]) -> None:
    """Have whoever asks too often rest before they ask again: saying no costs time that others need, too."""
    if isinstance(refusal, RateLimited):
        end_turn(scope, rest=FLOOD_REST_SECONDS)


async def free_connection() -> None:
    """Give the connection to the database back that the request's thread may still have.

    Django's own `aget`, `aexists`, `auser` and `async for` leave it there until the answer.
    """
    await database_sync_to_async(_nothing)()


def _nothing() -> None:
    pass
