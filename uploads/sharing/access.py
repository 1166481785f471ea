"""May whoever asks have this file or batch? Every door that gives bytes or facts asks here, and downloads are counted.

    access = await admit(request, file)  # raises Unauthorized, Gone
    body = await access.counted(read, length, size=file.size, is_range=False)  # raises Gone

The sender is never locked out, and never counted: whoever has an upload's token, or its owner's account. The cookie of
a browser is no such proof, since others may sit at it: it asks for the password as everybody's does. How far a file
came (uploading, expired, deleted) is not asked here.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from uploads import services, tokens
from uploads.errors import Gone, Unauthorized
from uploads.models import Batch, StoredFile
from uploads.people import Caller, bearer_token, caller_of, has_token
from uploads.sharing import counting, rules, unlocking
from uploads.sharing.counting import REVOKED, USED_UP, Counted, Wanted
from uploads.states import Status
from uploads.storage.base import StorageUnavailableError

LOCKED = _("This is protected by a password.")
CHANGED = _("The sender has changed who may have this.")
# A door that is shut while a download runs ends it within this time.
LOOK_AGAIN_SECONDS = 5.0

DATABASE_AWAY = (DatabaseError, InterfaceError)
log = structlog.get_logger(__name__)

Read = Callable[[], Awaitable[AsyncGenerator[bytes]]]


_given_up: set[asyncio.Task[None]] = set()  # the loop itself keeps no hold of its tasks


async def _take_back(begun: asyncio.Task[AsyncGenerator[bytes]]) -> None:
    """Close what nobody waits for any longer, once it has begun."""
    await asyncio.wait({begun})
    if begun.exception() is None:
        await begun.result().aclose()


@dataclass(frozen=True)
class Access:
    """What one who asks may have of a file or a batch that was neither withdrawn nor used up.

    `lock` is the hash of the password that it has, or empty; `recipients` digests that all stand for whoever asks,
    first the one that stays theirs for longest. Without `is_counted` bytes are given that are no download.
    """

    subject: StoredFile | Batch
    is_sender: bool
    lock: str
    is_unlocked: bool
    recipients: tuple[str, ...]
    is_counted: bool = True

    @property
    def is_locked(self) -> bool:
        """A password is missing: nothing but id, state, expiry and this may be told."""
        return bool(self.lock) and not self.is_unlocked and not self.is_sender

    async def counted(
        self, read: Read, length: int, *, size: int, is_range: bool, files: Sequence[UUID] = ()
    ) -> AsyncGenerator[bytes]:
        """The `length` bytes that `read` begins to read, as one counted download or as a further part of one.

        `size` is that of the whole file, or of the ZIP with these `files`. A download of which no byte began is not
        counted once this is closed; what is withdrawn meanwhile breaks off. Raises `Gone` where no more are allowed,
        and what `read` raises.
        """
        if self.is_sender:
            return await read()
        if not self.is_counted:
            return self._watched(await read())
        wanted = Wanted(self.subject, size, self.recipients, tuple(files))
        begun = asyncio.create_task(self._begun(read, wanted, length, is_range=is_range))
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            # The client went away: it is counted to the end, and then taken back.
            taking_back = asyncio.create_task(_take_back(begun))
            _given_up.add(taking_back)
            taking_back.add_done_callback(_given_up.discard)
            raise

    @property
    def is_limited(self) -> bool:
        """Each download matters, and is to be counted by the bytes that are given."""
        return not self.is_sender and self.subject.max_downloads is not None

    async def count_elsewhere(self, *, is_range: bool) -> None:
        """Count what another program gives out in our place; every range of a day is the same download then."""
        if not self.is_sender and self.is_counted:
            await database_sync_to_async(counting.begin)(Wanted(self.subject, 1, self.recipients), 0, is_range=is_range)

    async def _begun(self, read: Read, wanted: Wanted, length: int, *, is_range: bool) -> AsyncGenerator[bytes]:
        counted = await self._counted(wanted, length, is_range=is_range)
        blocks = self._given(read, counted, length)
        # Only a generator that has begun comes to its end when it is closed or dropped.
        await anext(blocks)
        return blocks

    async def _counted(self, wanted: Wanted, length: int, *, is_range: bool) -> Counted | None:
        """None where it could not be counted, and need not be."""
        try:
            return await database_sync_to_async(counting.begin)(wanted, length, is_range=is_range)
        except DATABASE_AWAY as error:
            if self.is_limited or wanted.files:
                raise
            log.warning("download_not_counted", subject=str(self.subject.pk), cause=str(error))
            return None

    async def _given(self, read: Read, counted: Counted | None, length: int) -> AsyncGenerator[bytes]:
        sent, is_whole = 0, False
        try:
            async with (
                contextlib.aclosing(await read()) as blocks,  # where the one around it has not begun
                contextlib.aclosing(self._watched(blocks, counted.wanted.files if counted else ())) as watched,
            ):
                yield b""
                async for block in watched:
                    if counted and counted.limited and counted.given + len(block) > counted.noted:
                        more = max(len(block), min(rules.step(counted.wanted.size), length - sent))
                        await self._note_more(counted, more)
                    sent += len(block)
                    if counted:
                        counted.given += len(block)
                    yield block
            is_whole = True
        finally:
            if counted:
                await services.carried_through(self._end(counted, began=is_whole or sent > 0))

    async def _note_more(self, counted: Counted, more: int) -> None:
        try:
            await database_sync_to_async(counting.note_more)(counted, more)
        except DATABASE_AWAY as error:
            # What is limited is not given uncounted: it breaks off, and can be resumed.
            raise StorageUnavailableError(f"what is limited cannot be counted now: {error}") from error

    async def _end(self, counted: Counted, *, began: bool) -> None:
        try:
            await database_sync_to_async(counting.end)(counted, began=began)
        except DATABASE_AWAY as error:
            log.warning("download_end_not_counted", subject=str(self.subject.pk), cause=str(error))

    async def _watched(self, blocks: AsyncGenerator[bytes], files: Sequence[UUID] = ()) -> AsyncGenerator[bytes]:
        """Pass the blocks on for as long as this may be had. A database that does not answer ends nothing."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_AGAIN_SECONDS
        async with contextlib.aclosing(blocks):
            locks = await database_sync_to_async(_locks_of)(files) if files else {}
            async for block in blocks:
                if loop.time() >= look_at:
                    try:
                        await database_sync_to_async(self._look_again)(locks)
                    except DATABASE_AWAY as error:
                        log.warning("download_not_looked_at", subject=str(self.subject.pk), cause=str(error))
                    look_at = loop.time() + LOOK_AGAIN_SECONDS
                yield block

    def _look_again(self, locks: Mapping[UUID, str]) -> None:
        """Raise `Gone` where it was withdrawn or deleted, or has another password, since it was admitted.

        `locks` are the hashes of the passwords that the files of a ZIP had then.
        """
        if isinstance(self.subject, Batch):
            batch = Batch.objects.get(pk=self.subject.pk)
            inside = StoredFile.objects.filter(pk__in=locks)
            withdrawn = bool(batch.revoked_at) or inside.exclude(revoked_at=None).exists()
            lock = batch.password_hash
            if any(now and now != locks[pk] for pk, now in inside.values_list("pk", "password_hash")):
                raise Gone(CHANGED)
        else:
            file = StoredFile.objects.select_related("batch").get(pk=self.subject.pk)
            withdrawn = _is_withdrawn(file) or file.status == Status.DELETED
            lock = _lock_of(file)
        if withdrawn:
            raise Gone(REVOKED)
        if lock and lock != self.lock:
            raise Gone(CHANGED)


def _locks_of(files: Sequence[UUID]) -> dict[UUID, str]:
    return dict(StoredFile.objects.filter(pk__in=files).values_list("pk", "password_hash"))


async def look(request: HttpRequest, subject: StoredFile | Batch) -> Access:
    """Who asks, and what they may have. Raises `Gone` for what was withdrawn, or downloaded as often as was allowed."""
    await _with_batch(subject)
    caller = await caller_of(request)
    is_sender = await _is_sender(request, caller, subject)
    lock = _lock_of(subject)
    unlocked = _unlocked(request, subject) if lock else ""
    # Whoever began a download as less than they are by now goes on with the same one.
    recipients = tuple(tokens.digest(who) for who in (unlocked, caller.visitor, caller.person.key) if who)
    if not is_sender:
        if _is_withdrawn(subject):
            raise Gone(REVOKED)
        # The page of a batch says of each file whether it can be had; its ZIP is `listing.allowed`'s.
        if isinstance(subject, StoredFile) and await is_used_up(subject, recipients):
            raise Gone(USED_UP)
    return Access(subject, is_sender, lock, bool(unlocked), recipients)


async def is_used_up(subject: StoredFile | Batch, recipients: Sequence[str]) -> bool:
    """Whether it was downloaded as often as allowed, and this recipient has no download of it to go on with."""
    if not rules.is_used_up(subject.downloads, subject.max_downloads):
        return False
    return not await database_sync_to_async(counting.is_running)(subject.pk, recipients)


async def admit(request: HttpRequest, subject: StoredFile | Batch) -> Access:
    """As `look`; raises `Unauthorized` where it is locked."""
    access = await look(request, subject)
    if access.is_locked:
        raise Unauthorized(LOCKED, password_required=True)
    return access


async def _with_batch(subject: StoredFile | Batch) -> None:
    if isinstance(subject, StoredFile) and subject.batch_id and not StoredFile.batch.is_cached(subject):
        subject.batch = await database_sync_to_async(Batch.objects.get)(pk=subject.batch_id)


async def _is_sender(request: HttpRequest, caller: Caller, subject: StoredFile | Batch) -> bool:
    if caller.account_id is not None and caller.account_id == subject.owner_id:
        return True
    token = bearer_token(request)
    if not token:
        return False
    if isinstance(subject, StoredFile):
        return services.token_matches(subject, token)
    return await database_sync_to_async(has_token)(subject, token)


def _lock_of(subject: StoredFile | Batch) -> str:
    if isinstance(subject, Batch):
        return subject.password_hash
    return rules.lock_of(subject.password_hash, subject.batch.password_hash if subject.batch else "")


def _is_withdrawn(subject: StoredFile | Batch) -> bool:
    if subject.revoked_at:
        return True
    return isinstance(subject, StoredFile) and bool(subject.batch and subject.batch.revoked_at)


def _unlocked(request: HttpRequest, subject: StoredFile | Batch) -> str:
    """The unlocking that came with the request, as a token or as a cookie; empty where none is good here.

    That of a batch opens those of its files that have no password of their own.
    """
    lock = _lock_of(subject)
    opened_by = [subject.pk]
    if isinstance(subject, StoredFile) and subject.batch_id and not subject.password_hash:
        opened_by.append(subject.batch_id)
    bearer = bearer_token(request)
    for pk in opened_by:
        for token in (bearer, unlocking.cookie_of(request, pk)):
            if token and (key := unlocking.key_of(token, pk, lock)):
                return f"unlocked {key}"
    return ""
