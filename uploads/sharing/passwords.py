"""Passwords of what is shared: hashed slowly, by Django's hasher, and so that nobody can keep the machine busy by it.

One is hashed at a time in each process, beside the event loop, with a rest after each as long as it took; whoever asks
for many waits for their own.
"""

import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth.hashers import check_password, make_password

from uploads.errors import RateLimited
from uploads.turns import WithRests

T = TypeVar("T")

MOST_WAITING = 50
PAUSE_SECONDS = 10

_line = WithRests()
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
_waiting = 0


def normal(password: str) -> str:
    """The same text however a keyboard puts its letters together: Hindi and accents can be typed in several ways."""
    return unicodedata.normalize("NFC", password)


async def hash_of(password: str, person: str) -> str:
    """What is stored of a password that this person sets. Raises `RateLimited`."""
    return await _in_line(make_password, person, normal(password))


async def is_right(password: str, password_hash: str, person: str) -> bool:
    """Whether this person's guess is the password. Raises `RateLimited`."""
    return await _in_line(check_password, person, normal(password), password_hash)


async def _in_line(work: Callable[..., T], person: str, *args: str) -> T:
    global _waiting
    if _waiting >= MOST_WAITING:
        raise RateLimited(retry_after=PAUSE_SECONDS)
    _waiting += 1
    try:
        async with _line.turn(person):
            return await sync_to_async(work, thread_sensitive=False, executor=_thread)(*args)
    finally:
        _waiting -= 1
