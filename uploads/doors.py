"""May this caller come in? Asked at every door: HTTP by `gate.py`, sockets by their consumer and `intake/ejection.py`.

In this order: how often they ask for anything, blocked persons, maintenance, the other rates. Whom an admin keeps out
is known from one snapshot in this process, read anew at most every 2 s, and at once after an admin's change here; other
processes follow within those 2 s.
"""

import asyncio
import contextlib
import contextvars
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models.signals import post_delete, post_save
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from quotas import closed
from quotas.closed import Closed
from quotas.models import BlockedPerson, Maintenance
from uploads.errors import Forbidden, RateLimited, UploadError
from uploads.errors import Maintenance as MaintenanceError
from uploads.rates import DAY_SECONDS, WINDOW_SECONDS, MemoryRateStore, RateStore
from uploads.shared_rates import SharedRateStore
from uploads.slots.backing import redis_host

POLL_SECONDS = 2.0
# A database that is slow to answer must not make everybody wait: so long, and then the last snapshot counts.
PATIENCE_SECONDS = 1.0
# Guesses by one person; by one person at one lock, in a day; and by all at one lock.
GUESSES_PER_MINUTE, GUESSES_AT_ONE_PER_DAY, GUESSES_AT_ONE_PER_MINUTE = 20, 100, 100
PASSWORDS_PER_MINUTE = 60
# So many bytes of an announcement count as one: a thousand files cost more time than one does.
ANNOUNCED_AS_ONE = 64 * 1024
BLOCKED = _("You have been blocked from this service. If you think that this is a mistake, please ask its operator.")

# Of its own: it waits for nobody's database work, and nobody's waits for it.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="doors")
log = structlog.get_logger(__name__)


class Known:
    """The last snapshot, and how it is kept fresh. A database that fails opens no door: the last one stays."""

    def __init__(self, read: Callable[[], Closed] = closed.read, clock: Callable[[], float] = time.monotonic) -> None:
        self._from_database, self._clock = read, clock
        self._closed: Closed | None = None
        self._asked_at = -math.inf
        self._changes = self._seen_changes = 0
        self._reading: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """Somebody in this process changed what the snapshot is of. From any thread."""
        self._changes += 1

    async def get(self) -> Closed:
        """The snapshot. Raises the database's error where there never was one."""
        if self._closed is None or self._is_stale():
            await self._wait_for(self._read_anew())
        if self._closed is not None and self._seen_changes != self._changes:
            await self._wait_for(self._read_anew())  # the change came while an older reading was under way
        assert self._closed is not None
        return self._closed

    def _is_stale(self) -> bool:
        return self._seen_changes != self._changes or self._clock() - self._asked_at >= POLL_SECONDS

    def _read_anew(self) -> "asyncio.Task[None]":
        """The reading under way on this loop, or a new one, which outlives whoever asked first."""
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.done() or self._reading.get_loop() is not loop:
            self._asked_at = self._clock()
            self._reading = loop.create_task(self._read(), context=contextvars.Context())
        return self._reading

    async def _wait_for(self, reading: "asyncio.Task[None]") -> None:
        patience = None if self._closed is None else self._asked_at + PATIENCE_SECONDS - self._clock()
        if patience is None or patience > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await asyncio.shield(reading)

    async def _read(self) -> None:
        changes = self._changes
        try:
            self._closed = await database_sync_to_async(self._from_database, thread_sensitive=False, executor=_thread)()
        except (DatabaseError, InterfaceError) as error:
            if self._closed is None:
                raise
            log.warning("doors_unreadable", cause=str(error))
        if (took := self._clock() - self._asked_at) > PATIENCE_SECONDS:
            log.warning("doors_read_late", seconds=round(took, 1))
        self._seen_changes = changes


known = Known()
_redis = redis_host()
rates: RateStore = SharedRateStore(_redis) if _redis else MemoryRateStore()
# Asked before anything else, and by everything: so cheap a count must cost no question to Redis.
requests_here: RateStore = MemoryRateStore()


def _told(**_: Any) -> None:
    transaction.on_commit(known.changed, robust=True)


for _model in (BlockedPerson, Maintenance):
    for _signal in (post_save, post_delete):
        _signal.connect(_told, sender=_model, dispatch_uid=f"doors {_model.__name__}")


def refusal(now_closed: Closed, persons: Iterable[str], *, blocked_only: bool = False) -> UploadError | None:
    """Why somebody may not come in, who is all of these persons (an address, an account, a file's sender) at once."""
    now = timezone.now()
    if any(now_closed.blocked.find(person, now) for person in persons):
        return Forbidden(BLOCKED)
    notice = now_closed.maintenance
    if notice is not None and not blocked_only:
        return MaintenanceError(notice.message or None, retry_after=notice.seconds_left(now))
    return None


async def refuse_closed(*persons: str) -> None:
    """Raise `Forbidden` for a blocked person, `Maintenance` while it is on."""
    if (error := refusal(await known.get(), persons)) is not None:
        raise error


async def refuse_blocked(*persons: str) -> None:
    """Raise `Forbidden` for a blocked person."""
    if (error := refusal(await known.get(), persons, blocked_only=True)) is not None:
        raise error


async def count_request(person: str) -> None:
    """One more request of any kind to this process, by this person. Raises `RateLimited`."""
    limit = settings.RATE_REQUESTS_PER_MINUTE
    if limit is not None and (wait := await requests_here.take(person, limit)):
        raise RateLimited(retry_after=math.ceil(wait))


async def count_initiation(person: str, length: int = 0) -> None:
    """One more call that announces files, with a body of so many bytes, by this person. Raises `RateLimited`."""
    await _count("initiate", person, settings.RATE_INITIATE_PER_MINUTE, cost=1 + length // ANNOUNCED_AS_ONE)


async def count_handshake(person: str) -> None:
    """One more handshake of a socket, by this person. Raises `RateLimited`."""
    await _count("connect", person, settings.RATE_CONNECT_PER_MINUTE)


class Guess:
    """One more guess of a person's at a lock: counted before anybody knows whether it is right, taken back if it is."""

    def __init__(self, person: str, lock: str) -> None:
        self._guesser = f"guess {person}", GUESSES_PER_MINUTE, WINDOW_SECONDS
        self._here = f"guess at {lock} by {person}", GUESSES_AT_ONE_PER_DAY, DAY_SECONDS
        self._by_all = f"guess at {lock}", GUESSES_AT_ONE_PER_MINUTE, WINDOW_SECONDS
        self._counted: list[tuple[str, int, float]] = []

    async def count(self) -> None:
        """Raises `RateLimited`.

        A crowd that guesses keeps out those who guessed wrongly at this lock within a day, and nobody else: whoever
        knows the password can always give it.
        """
        for rate in (self._guesser, self._here, self._by_all):
            if not (wait := await rates.take(*rate)):
                self._counted.append(rate)
            elif rate is not self._by_all or await rates.counted(*self._here) > 1:
                await self.take_back()
                raise RateLimited(retry_after=math.ceil(wait))

    async def take_back(self) -> None:
        """It was right, or was never tried."""
        while self._counted:
            await rates.take_back(*self._counted.pop())


async def count_password(person: str) -> None:
    """One more password that this person sets. Raises `RateLimited`."""
    # As with announcing itself: in development as often as one likes.
    await _count("password", person, PASSWORDS_PER_MINUTE if settings.RATE_INITIATE_PER_MINUTE else None)


async def _count(what: str, person: str, limit: int | None, *, cost: int = 1) -> None:
    if limit is not None and (wait := await rates.take(f"{what} {person}", limit, cost=cost)):
        raise RateLimited(retry_after=math.ceil(wait))
