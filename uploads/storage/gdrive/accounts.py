"""The pool of accounts behind the store: the port `ports.Accounts` over the database and google-auth.

What is counted is gathered in this process and written every few seconds: no database call for a chunk. A worker that
is killed forgets those seconds; a day's budget can bear that.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import timezone

from uploads.drive_models import DriveAccount, StorageCircuit
from uploads.storage.base import (
    BudgetSpentError,
    ObjectMissingError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from uploads.storage.gdrive import budget, checkup, circuits, ledger, troubles
from uploads.storage.gdrive.budget import Choice, Chosen, Failing, WaitUntil
from uploads.storage.gdrive.credentials import TokenMaker
from uploads.storage.gdrive.ports import Account, AccountBrokenError, Accounts
from uploads.storage.gdrive.troubles import TroubleError

KNOWN_SECONDS = 2.0  # an admin's change is in force after that
COUNTED_SECONDS = 5.0
# Drive's words for a day that is over; with others a full account is out of room.
DAY_REASONS = frozenset({"dailyLimitExceeded", "userRateLimitExceeded", "uploadLimitExceeded"})

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass
class Tally:
    """Bytes of one upload that were stored and not yet written down; `written_at` is of a monotonic clock."""

    length: int = 0
    written_at: float = 0.0


class Pool(Accounts):
    """The accounts of this process. `now` says what time it is."""

    def __init__(self, now: Callable[[], datetime] = timezone.now) -> None:
        self._now = now
        self._rows: dict[int, DriveAccount] = {}
        self._whole_failing = False
        self._read_at = float("-inf")
        self._makers: dict[int, tuple[str, TokenMaker]] = {}
        self._tallies: dict[tuple[int, int | None], Tally] = {}
        self._checks: dict[int, asyncio.Task[None]] = {}

    # --- which account ---

    async def choose(self, size: int, avoid: frozenset[int] = frozenset()) -> Account:
        checks = await self._begin_checks()
        choice, booking = await self._choose(size, avoid)
        if booking is None and checks:
            # Nobody else can take it: wait for what those say that are being asked.
            await asyncio.wait(checks)
            choice, booking = await self._choose(size, avoid)
        if not isinstance(choice, Chosen):
            raise refusal(choice, self._now())
        try:
            row = await self._row(choice.id, anew=True)
        except BaseException:
            await _unbook(booking)
            raise
        return _account(row, booking)

    async def _choose(self, size: int, avoid: frozenset[int]) -> tuple[Choice, int | None]:
        return await _book(lambda made: made[1], ledger.choose, size, self._now(), avoid)

    async def get(self, account_id: int, more: int = 0) -> Account:
        row = await self._row(account_id)
        if not more:
            return _account(row)
        return _account(row, await _book(lambda made: made, ledger.book, account_id, more, self._now()))

    async def all(self) -> Sequence[Account]:
        await self._read()
        return [_account(row) for row in self._rows.values()]

    async def room(self) -> int | None:
        standings = [standing for standing in await _db(ledger.standings, self._now()) if standing.on]
        rooms = [standing.room for standing in standings if standing.has_room(0, self._now())]
        if not standings or None in rooms:
            return None
        return max((room for room in rooms if room is not None), default=0)

    async def check(self) -> None:
        now = self._now()
        choice = budget.choose(await _db(ledger.standings, now), 1, now)
        until = await _db(circuits.whole_storage_open_until, now)
        if until is not None:
            choice = Failing(until)
        if not isinstance(choice, Chosen | WaitUntil):
            raise refusal(choice, now)

    async def refuse_while_away(self) -> None:
        await self._read()
        if self._whole_failing and (until := await _db(circuits.whole_storage_open_until, self._now())):
            raise refusal(Failing(until), self._now())

    # --- its tokens ---

    async def token(self, account: Account, refused: str | None = None) -> str:
        row = await self._row(account.id)
        try:
            return await self._maker(row).token(refused=refused)
        except TroubleError as trouble:
            await self._note(row.pk, trouble)
            raise

    def _maker(self, row: DriveAccount) -> TokenMaker:
        known = self._makers.get(row.pk)
        if known is None or known[0] != row.sealed_credentials:
            maker = TokenMaker(row.kind, row.sealed_credentials, settings.GDRIVE_TOKEN_URL)
            known = self._makers[row.pk] = row.sealed_credentials, maker
        return known[1]

    # --- what happened to it ---

    async def stored(self, account: Account, length: int) -> None:
        tally = self._tallies.setdefault((account.id, account.booking), Tally(written_at=time.monotonic()))
        tally.length += length
        if time.monotonic() - tally.written_at >= COUNTED_SECONDS and (tally.length or account.booking is not None):
            try:
                await self._write(account)
            except DatabaseError as error:
                log.warning("drive_account_not_noted", account=account.name, cause=str(error))  # with the next ones

    async def let_go(self, account: Account) -> None:
        try:
            await self._write(account)
            if account.booking is not None:
                await _db(ledger.end, account.booking)
        except DatabaseError as error:
            log.warning("drive_account_not_noted", account=account.name, cause=str(error))  # it lapses by itself
        self._tallies.pop((account.id, account.booking), None)

    async def _write(self, account: Account) -> None:
        tally = self._tallies.get((account.id, account.booking))
        if tally is None:
            return
        length, tally.length, tally.written_at = tally.length, 0, time.monotonic()
        try:
            await _db(ledger.count, account.id, account.booking, length, self._now())
        except DatabaseError:
            tally.length += length
            raise

    async def failed(self, account: Account, error: StorageError, reason: str | None) -> None:
        cause = f"{reason}: {error}" if reason and reason not in str(error) else str(error)
        if isinstance(error, TroubleError):
            return  # `token` has noted it
        if isinstance(error, StorageFullError):
            code = troubles.DAY_SPENT if reason in DAY_REASONS else troubles.FULL
            await self._noted(circuits.refused, account.id, self._now(), code, cause)
        else:
            code = troubles.STALLED if reason == troubles.STALLED else troubles.FAILING
            await self._noted(circuits.failed, account.id, self._now(), code, cause, whole=reason is None)

    async def worked(self, account: Account) -> None:
        row = await self._row(account.id)
        if row.failures or row.error_code or self._whole_failing:
            await self._noted(circuits.worked, account.id, self._now())

    async def _note(self, account_id: int, trouble: TroubleError) -> None:
        await self._noted(
            circuits.failed,
            account_id,
            self._now(),
            trouble.code,
            str(trouble),
            at_once=isinstance(trouble, AccountBrokenError),
            whole=not isinstance(trouble, AccountBrokenError),
        )

    async def _noted(self, write: Callable[..., None], *arguments: Any, **options: Any) -> None:
        """Write it down; a database that is away makes nothing worse for who only reports."""
        try:
            await _db(write, *arguments, **options)
        except DatabaseError as error:
            log.warning("drive_account_not_noted", account=arguments[0], cause=str(error))
        self._read_at = float("-inf")

    # --- how they fare ---

    async def look(self, account_id: int) -> None:
        """Ask Drive how the account fares, and write it down. Raises `TroubleError`, kept beside the account."""
        row = await self._row(account_id, anew=True)
        try:
            await checkup.look(row, self._maker, self._now)
        except TroubleError as trouble:
            await self._note(account_id, trouble)
            raise
        finally:
            self._read_at = float("-inf")

    async def _begin_checks(self) -> list[asyncio.Task[None]]:
        """Ask those that have to be asked, beside whoever needs an account now."""
        for account_id in await _db(checkup.due, self._now()):
            if account_id not in self._checks:
                task = self._checks[account_id] = asyncio.create_task(self._look_quietly(account_id))
                task.add_done_callback(partial(self._asked, account_id))
        return list(self._checks.values())

    def _asked(self, account_id: int, _task: asyncio.Task[None]) -> None:
        self._checks.pop(account_id, None)

    async def _look_quietly(self, account_id: int) -> None:
        try:
            await self.look(account_id)
        except StorageError as trouble:
            log.info("drive_account_check_failed", account=account_id, cause=str(trouble))
        except DatabaseError as error:
            log.warning("drive_account_not_noted", account=account_id, cause=str(error))

    # --- their rows ---

    async def _row(self, account_id: int, *, anew: bool = False) -> DriveAccount:
        await self._read(anew=anew or account_id not in self._rows)
        if account_id not in self._rows:
            raise ObjectMissingError(f"there is no Drive account {account_id}")
        return self._rows[account_id]

    async def _read(self, *, anew: bool = False) -> None:
        if anew or time.monotonic() - self._read_at >= KNOWN_SECONDS:
            self._read_at = time.monotonic()
            self._rows, self._whole_failing = await _db(_rows)


def refusal(choice: Choice, now: datetime) -> StorageError:
    """The port's error for what no account can take."""
    match choice:
        case WaitUntil(until):
            return BudgetSpentError("the day's budget of every account is spent", until)
        case Failing(None):
            return StorageUnavailableError("no Drive account is there and switched on, or none is left to try")
        case Failing(retry_at):
            assert retry_at is not None
            error = StorageUnavailableError("Drive is failing, or every account that has the room")
            error.retry_after = max(1.0, (retry_at - now).total_seconds())
            return error
    return StorageFullError("no Drive account has the room")


def _rows() -> tuple[dict[int, DriveAccount], bool]:
    whole = StorageCircuit.objects.filter(name=circuits.STORAGE, failures__gt=0).exists()
    return {row.pk: row for row in DriveAccount.objects.order_by("pk")}, whole


def _account(row: DriveAccount, booking: int | None = None) -> Account:
    return Account(row.pk, row.name, row.folder_id or None, row.drive_id or None, booking)


async def _db(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return await database_sync_to_async(function)(*arguments, **options)


async def _book(number_in: Callable[[T], int | None], function: Callable[..., T], *arguments: Any) -> T:
    """The same for what reserves: nothing stays reserved for a caller who is cancelled while the database works.

    Or whoever connects and leaves, again and again, would soon have reserved all that there is.
    """
    booking = asyncio.ensure_future(_db(function, *arguments))
    try:
        return await asyncio.shield(booking)
    except asyncio.CancelledError:
        await asyncio.wait({booking})
        if booking.exception() is None:
            await _unbook(number_in(booking.result()))
        raise


async def _unbook(booking: int | None) -> None:
    if booking is not None:
        try:
            await _db(ledger.end, booking)
        except DatabaseError as error:
            log.warning("drive_booking_not_ended", booking=booking, cause=str(error))  # it lapses by itself
