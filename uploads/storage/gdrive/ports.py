"""What the Drive store asks of others: accounts to store with, and a place to keep its sessions. Needs no Django.

Its docstrings are the contract; the store knows neither how accounts are kept nor which database holds a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from uploads.storage.base import StorageError, StorageUnavailableError


class AccountBrokenError(StorageUnavailableError):
    """This account cannot be used until somebody mends it: its grant was withdrawn, its key deleted."""


class TakenOverError(StorageUnavailableError):
    """Another writer has the upload now."""


@dataclass(frozen=True)
class Account:
    """One account of the pool. `folder_id`: where its files go; `drive_id`: the shared drive that it stores on.

    `booking` is the pool's own note of what it reserved for one upload, in the account that it gave for that upload:
    give this very value back with everything that concerns the upload.
    """

    id: int
    name: str
    folder_id: str | None = None
    drive_id: str | None = None
    booking: int | None = None


class Accounts(Protocol):
    """The pool of accounts. Every method may be called from any number of uploads at once, none per frame."""

    async def choose(self, size: int, avoid: frozenset[int] = frozenset()) -> Account:
        """The account for a new file of `size` bytes, none of `avoid`, with its place in the day's budget reserved.

        Raises `StorageUnavailableError` where all that could take it are failing or off, `StorageFullError` where none
        has the room, and `BudgetSpentError`, with the time when one may, where only the day's budgets are in the way.
        """

    async def get(self, account_id: int, more: int = 0) -> Account:
        """The account that a file lies on, switched off or not. Raises `ObjectMissingError` where it was removed.

        `more`: so many bytes of an upload that goes on are still to come; they are reserved whatever is left of the
        day, since Drive lets end what has begun.
        """

    async def let_go(self, account: Account) -> None:
        """Its upload ended, or its connection is gone: what is still reserved for it is free. Never raises.

        Where nobody says so (a killed worker), a reservation lapses two minutes after it was last used.
        """

    async def all(self) -> Sequence[Account]:
        """Every account that may have files of ours, switched off or not; for the cleanup."""

    async def refuse_while_away(self) -> None:
        """Raise `StorageUnavailableError` while Drive as a whole fails, whichever account is asked; for who reads.

        One account that takes no bytes may well hand them out.
        """

    async def token(self, account: Account, refused: str | None = None) -> str:
        """An access token that is valid now; made once for all who ask at the same time.

        `refused`: Drive refused this one (401), so that it is not given again. Raises `AccountBrokenError` where none
        is given any longer, `StorageUnavailableError` where nobody answers; either is beside the account then, and
        the store does not report it by `failed` again.
        """

    async def stored(self, account: Account, length: int) -> None:
        """`length` more bytes were accepted by Drive, for the day's budget. Called once per Drive chunk or rarer.

        Called with 0 at least every `RENEW_SECONDS` while its upload is open: a reservation lapses that is not used.
        """

    async def failed(self, account: Account, error: StorageError, reason: str | None) -> None:
        """A call failed by the account's or Drive's fault, for breaker, health and budget.

        `reason` is Drive's own word (`storageQuotaExceeded`, `userRateLimitExceeded`), `stalled` where nothing moved or
        was answered for long, else None. A `StorageFullError` means that this account can take no more for now.
        """

    async def worked(self, account: Account) -> None:
        """A call succeeded. Called once per Drive chunk or rarer."""

    async def room(self) -> int | None:
        """How many bytes the account with the most room could take, budgets aside; None where nobody knows."""

    async def check(self) -> None:
        """Raise the `StorageError` with which `choose` would refuse a file of one byte now; asks Drive nothing new.

        Budgets that are spent are no fault: uploads wait for them in line.
        """


@dataclass(frozen=True)
class Checkpoint:
    """The digests of the first `offset` bytes; `sha256_state` is the running state, None where it was lost."""

    offset: int
    crc32: int
    sha256_state: bytes | None


@dataclass(frozen=True)
class DriveSession:
    """What must be known to go on with an upload in any process, and to find its file later.

    `sealed_url` is the session's URL, encrypted, empty where none is open; `file_id` the id on Drive, generated before
    the upload starts; `offset` how much Drive said last that it has. `finished`: the file is whole on Drive.
    """

    account_id: int
    file_id: str
    size: int
    sealed_url: str = ""
    offset: int = 0
    checkpoint: Checkpoint | None = None
    finished: bool = False


class SessionHold(Protocol):
    """One upload's session, held for one writer. `session` is what was kept last, None for an upload that is new."""

    session: DriveSession | None

    async def save(self, session: DriveSession) -> None:
        """Keep it, and go on holding. Raises `TakenOverError`, or `StorageUnavailableError` where it cannot be kept."""

    async def renew(self) -> None:
        """Go on holding; called at least every `RENEW_SECONDS`. Raises as `save` does."""

    async def let_go(self) -> None:
        """Let another writer in. Never raises."""


RENEW_SECONDS = 5.0


class Sessions(Protocol):
    """Where the sessions are kept: by upload key, and so that every process sees the same."""

    async def hold(self, key: str, *, take: bool = False) -> SessionHold:
        """Take the upload for one writer. Raises `StorageUnavailableError` while another, alive, has it.

        With `take` it is taken from that one, whose next call fails with `TakenOverError`.
        """

    async def load(self, key: str) -> DriveSession | None:
        """The session, held or not; None where there is none."""

    async def delete(self, key: str) -> None:
        """Forget the session; nothing happens where there is none."""

    async def ages(self) -> list[tuple[str, float]]:
        """Every key that has a session, with the seconds since it was saved last; for the cleanup."""
