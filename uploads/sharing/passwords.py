"""Passwords of what is shared: hashed slowly, by Django's hasher, and so that nobody can keep the machine busy by it.

One is hashed at a time in each process, beside the event loop, with a rest after each as long as it took; whoever asks
for many waits for their own.
"""

import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth.hashers import check_password, make_password
from django.http import HttpRequest

from uploads.turns import WithRests
from uploads.waiting import Waiters

T = TypeVar("T")

_line = WithRests()
_waiters = Waiters()
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")


def normal(password: str) -> str:
    """The same text however a keyboard puts its letters together: Hindi and accents can be typed in several ways."""
    return unicodedata.normalize("NFC", password)


async def hashes_of(request: HttpRequest, different: Iterable[str], person: str) -> dict[str, str]:
    """What is stored of each of the passwords that this person sets. Raises `RateLimited`."""
    async with _waiters.place(request, person):
        return {password: await _in_line(make_password, person, normal(password)) for password in different}


async def is_right(request: HttpRequest, password: str, password_hash: str, person: str) -> bool:
    """Whether this person's guess is the password. Raises `RateLimited`."""
    async with _waiters.place(request, person):
        return await _in_line(check_password, person, normal(password), password_hash)


async def _in_line(work: Callable[..., T], person: str, *args: str) -> T:
    async with _line.turn(person):
        return await sync_to_async(work, thread_sensitive=False, executor=_thread)(*args)
