"""The Drive store over the real emulator, with accounts and sessions that need no database."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from devtools.emulator_process import EmulatorProcess
from uploads.storage.base import ObjectMissingError, StorageError, StorageFullError, StorageUnavailableError
from uploads.storage.gdrive.patience import Patience
from uploads.storage.gdrive.ports import Account, DriveSession, TakenOverError
from uploads.storage.gdrive.store import DriveStore

QUICK = Patience(connect=2, answer=10, stall=10, idle=10, first=0.01, longest=0.1, enough=1, brief=0.5)
SEAL = "sealed:"


class FixedAccounts:
    """A pool whose accounts are the emulator's users `refresh-1`, `refresh-2`, …, chosen in their order."""

    def __init__(self, emulator: EmulatorProcess, count: int = 1, room: int = 1 << 40) -> None:
        self._emulator, self._room = emulator, room
        self.accounts = [Account(number, f"account {number}") for number in range(1, count + 1)]
        self.failures: list[tuple[int, StorageError, str | None]] = []
        self.bytes: dict[int, int] = {}
        self.fresh_tokens = 0
        self.away: StorageError | None = None
        self.bookings: set[int] = set()
        self._numbers = itertools.count(1)
        self._tokens: dict[int, str] = {}

    async def choose(self, size: int, avoid: frozenset[int] = frozenset()) -> Account:
        if size > self._room:
            raise StorageFullError("no account has so much room")
        for account in self.accounts:
            if account.id not in avoid:
                return self._booked(account)
        raise StorageUnavailableError("no account is left")

    async def get(self, account_id: int, more: int = 0) -> Account:
        for account in self.accounts:
            if account.id == account_id:
                return self._booked(account) if more else account
        raise ObjectMissingError("the account was removed")

    def _booked(self, account: Account) -> Account:
        number = next(self._numbers)
        self.bookings.add(number)
        return replace(account, booking=number)

    async def let_go(self, account: Account) -> None:
        self.bookings -= {account.booking}

    async def all(self) -> Sequence[Account]:
        return self.accounts

    async def refuse_while_away(self) -> None:
        if self.away is not None:
            raise self.away

    async def token(self, account: Account, refused: str | None = None) -> str:
        self.fresh_tokens += refused is not None
        if refused is not None or account.id not in self._tokens:
            self._tokens[account.id] = await asyncio.to_thread(self._emulator.token, f"refresh-{account.id}")
        return self._tokens[account.id]

    async def stored(self, account: Account, length: int) -> None:
        self.bytes[account.id] = self.bytes.get(account.id, 0) + length

    async def failed(self, account: Account, error: StorageError, reason: str | None) -> None:
        self.failures.append((account.id, error, reason))

    async def worked(self, account: Account) -> None:
        pass

    async def room(self) -> int | None:
        return self._room

    async def check(self) -> None:
        await self.choose(1)


@dataclass
class Row:
    session: DriveSession | None = None
    holder: "MemoryHold | None" = None
    saved_at: float = field(default_factory=time.monotonic)


class MemoryHold:
    def __init__(self, rows: dict[str, Row], key: str) -> None:
        self._rows, self._key = rows, key
        self.session = rows[key].session

    def _row(self) -> Row:
        row = self._rows.get(self._key)
        if row is None or row.holder is not self:
            raise TakenOverError("another writer has this upload now")
        return row

    async def save(self, session: DriveSession) -> None:
        row = self._row()
        row.session, row.saved_at = session, time.monotonic()

    async def renew(self) -> None:
        self._row()

    async def let_go(self) -> None:
        row = self._rows.get(self._key)
        if row is not None and row.holder is self:
            row.holder = None


class MemorySessions:
    """Sessions in memory; `crash` lets go of all that a killed process would have held."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    async def hold(self, key: str, *, take: bool = False) -> MemoryHold:
        row = self.rows.setdefault(key, Row())
        if row.holder is not None and not take:
            raise StorageUnavailableError("another writer holds this upload")
        row.holder = MemoryHold(self.rows, key)
        return row.holder

    async def load(self, key: str) -> DriveSession | None:
        return self.rows[key].session if key in self.rows else None

    async def delete(self, key: str) -> None:
        self.rows.pop(key, None)

    async def ages(self) -> list[tuple[str, float]]:
        now = time.monotonic()
        return [(key, now - row.saved_at) for key, row in self.rows.items() if row.session]

    def crash(self) -> None:
        for row in self.rows.values():
            row.holder = None


def drive_store(
    emulator: EmulatorProcess,
    accounts: FixedAccounts | None = None,
    sessions: Any = None,
    patience: Patience = QUICK,
) -> DriveStore:
    """A store as another process would have it: the same emulator, accounts and sessions, and nothing in memory."""
    return DriveStore(
        emulator.url,
        accounts or FixedAccounts(emulator),
        sessions or MemorySessions(),
        seal=lambda text: SEAL + text[::-1],
        unseal=lambda sealed: sealed.removeprefix(SEAL)[::-1],
        patience=patience,
    )
