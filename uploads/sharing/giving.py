"""Bytes for who was found to have access to them (`access.py`): counted as a download, and watched while it runs.

    body = await give(access, read, Part(0, file.size, file.size, is_range=False))  # raises Gone

What is limited is noted before it is given, so that no race gives more than was allowed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext_lazy as _

from uploads import services
from uploads.errors import Gone
from uploads.models import Batch, StoredFile
from uploads.sharing import counting, rules
from uploads.sharing.access import Access, is_withdrawn, lock_of
from uploads.sharing.counting import REVOKED, Counted, Shares, Wanted
from uploads.states import Status
from uploads.storage.base import StorageUnavailableError

CHANGED = _("The sender has changed who may have this.")
# A door that is shut while a download runs ends it within this time.
LOOK_AGAIN_SECONDS = 5.0

DATABASE_AWAY = (DatabaseError, InterfaceError)
log = structlog.get_logger(__name__)

NO_FILES: Mapping[UUID, str] = {}
Read = Callable[[], Awaitable[AsyncGenerator[bytes]]]
Unsent = Callable[[], int]


_given_up: set[asyncio.Task[None]] = set()  # the loop itself keeps no hold of its tasks


async def _take_back(begun: asyncio.Task[AsyncGenerator[bytes]]) -> None:
    """Close what nobody waits for any longer, once it has begun."""
    await asyncio.wait({begun})
    if begun.exception() is None:
        await begun.result().aclose()


@dataclass(frozen=True)
class Part:
    """`length` bytes from `start` of a file or a ZIP of `size` bytes; all of it need be no `is_range`."""

    start: int
    length: int
    size: int
    is_range: bool


async def give(
    access: Access,
    read: Read,
    part: Part,
    locks: Mapping[UUID, str] = NO_FILES,
    shares: Shares | None = None,
    unsent: Unsent | None = None,
) -> AsyncGenerator[bytes]:
    """The bytes that `read` begins to read, which are this `part`, as one counted download or as more of one.

    Of a ZIP's files `locks` has the hashes of the passwords that they had when they were found. A download of which no
    byte began is not counted once this is closed; what is withdrawn meanwhile breaks off. Raises `Gone` where no more
    are allowed, and what `read` raises.

    `unsent` tells how many of the bytes that were given have not left the machine: what breaks off here, as for others
    who wait, has not given them.
    """
    if access.is_sender:
        return await read()
    if not access.is_counted:
        return _watched(access, await read())
    wanted = Wanted(access.subject, part.size, access.recipients, tuple(locks), shares)
    begun = asyncio.create_task(_begun(access, read, wanted, part, locks, unsent))
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        # The client went away: it is counted to the end, and then taken back.
        taking_back = asyncio.create_task(_take_back(begun))
        _given_up.add(taking_back)
        taking_back.add_done_callback(_given_up.discard)
        raise


async def count_elsewhere(access: Access, *, is_range: bool) -> None:
    """Count what another program gives out in our place; every range of a day is the same download then."""
    if not access.is_sender and access.is_counted:
        await database_sync_to_async(counting.begin)(Wanted(access.subject, 1, access.recipients), 0, is_range=is_range)


async def _begun(
    access: Access, read: Read, wanted: Wanted, part: Part, locks: Mapping[UUID, str], unsent: Unsent | None
) -> AsyncGenerator[bytes]:
    counted = await _counted(access, wanted, part)
    blocks = _given(access, read, counted, part.length, locks, unsent)
    # Only a generator that has begun comes to its end when it is closed or dropped.
    await anext(blocks)
    return blocks


async def _counted(access: Access, wanted: Wanted, part: Part) -> Counted | None:
    """None where it could not be counted, and need not be."""
    try:
        begin = database_sync_to_async(counting.begin)
        return await begin(wanted, part.length, is_range=part.is_range, start=part.start)
    except DATABASE_AWAY as error:
        if access.is_limited or wanted.files:
            raise
        log.warning("download_not_counted", subject=str(access.subject.pk), cause=str(error))
        return None


async def _given(
    access: Access,
    read: Read,
    counted: Counted | None,
    length: int,
    locks: Mapping[UUID, str],
    unsent: Unsent | None,
) -> AsyncGenerator[bytes]:
    sent, is_whole = 0, False
    try:
        async with (
            contextlib.aclosing(await read()) as blocks,  # where the one around it has not begun
            contextlib.aclosing(_watched(access, blocks, locks)) as watched,
        ):
            yield b""
            async for block in watched:
                if counted and counted.limited and counted.given + len(block) > counted.noted:
                    more = max(len(block), min(rules.step(counted.wanted.size), length - sent))
                    await _note_more(counted, more)
                sent += len(block)
                if counted:
                    counted.given += len(block)
                yield block
        is_whole = True
    finally:
        if counted:
            if unsent and not is_whole:
                counted.given -= min(unsent(), counted.given)
            await services.carried_through(_end(access, counted, began=is_whole or sent > 0))


async def _note_more(counted: Counted, more: int) -> None:
    try:
        await database_sync_to_async(counting.note_more)(counted, more)
    except DATABASE_AWAY as error:
        # What is limited is not given uncounted: it breaks off, and can be resumed.
        raise StorageUnavailableError(f"what is limited cannot be counted now: {error}") from error


async def _end(access: Access, counted: Counted, *, began: bool) -> None:
    try:
        await database_sync_to_async(counting.end)(counted, began=began)
    except DATABASE_AWAY as error:
        log.warning("download_end_not_counted", subject=str(access.subject.pk), cause=str(error))


async def _watched(
    access: Access, blocks: AsyncGenerator[bytes], locks: Mapping[UUID, str] = NO_FILES
) -> AsyncGenerator[bytes]:
    """Pass the blocks on for as long as this may be had. A database that does not answer ends nothing."""
    loop = asyncio.get_running_loop()
    look_at = loop.time() + LOOK_AGAIN_SECONDS
    async with contextlib.aclosing(blocks):
        async for block in blocks:
            if loop.time() >= look_at:
                try:
                    await database_sync_to_async(_look_again)(access, locks)
                except DATABASE_AWAY as error:
                    log.warning("download_not_looked_at", subject=str(access.subject.pk), cause=str(error))
                look_at = loop.time() + LOOK_AGAIN_SECONDS
            yield block


def _look_again(access: Access, locks: Mapping[UUID, str]) -> None:
    """Raise `Gone` where it was withdrawn or deleted, or has another password, since it was admitted.

    `locks` are the hashes of the passwords that the files of a ZIP had then.
    """
    if isinstance(access.subject, Batch):
        batch = Batch.objects.get(pk=access.subject.pk)
        inside = StoredFile.objects.filter(pk__in=locks)
        withdrawn = bool(batch.revoked_at) or inside.exclude(revoked_at=None).exists()
        lock = batch.password_hash
        if any(now and now != locks[pk] for pk, now in inside.values_list("pk", "password_hash")):
            raise Gone(CHANGED)
    else:
        file = StoredFile.objects.select_related("batch").get(pk=access.subject.pk)
        withdrawn = is_withdrawn(file) or file.status == Status.DELETED
        lock = lock_of(file)
    if withdrawn:
        raise Gone(REVOKED)
    if lock and lock != access.lock:
        raise Gone(CHANGED)
