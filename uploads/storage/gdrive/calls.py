"""Calls to Drive on behalf of an account: its token, tries, and what the pool hears of how they ended.

Needs no Django.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from uploads.storage.base import StorageError
from uploads.storage.gdrive.client import DriveClient
from uploads.storage.gdrive.errors import (
    DriveBusyError,
    DriveFullError,
    DriveGoneError,
    DriveRateError,
    DriveRefusedError,
    DriveTakenError,
    DriveTokenError,
    is_foreign,
    reason_of,
)
from uploads.storage.gdrive.patience import Patience
from uploads.storage.gdrive.ports import Account, Accounts

T = TypeVar("T")

# Answers about one session or file, which say nothing against the account.
NO_FAULTS = (DriveGoneError, DriveTakenError)
# The same of a file that is read: how often it was handed out, or to whom, is a matter of this one file, and who asks
# for one too often must not keep all others from storing theirs.
NO_FAULTS_OF_READING = (*NO_FAULTS, DriveFullError, DriveRefusedError, DriveRateError)
# And of one that is to be removed, which somebody may have moved to where the account may not.
NO_FAULTS_OF_REMOVING = (*NO_FAULTS, DriveRefusedError)


class Calls:
    """`client` makes one call; here it is made until it is answered, or patience is at its end."""

    def __init__(self, client: DriveClient, accounts: Accounts, patience: Patience) -> None:
        self.client, self.accounts, self.patience = client, accounts, patience

    async def make(
        self,
        account: Account,
        call: Callable[[str], Awaitable[T]],
        *,
        after: DriveBusyError | None = None,
        brief: bool = False,
        no_faults: tuple[type[StorageError], ...] = NO_FAULTS,
    ) -> T:
        """What `call`, given an access token, returns. A token that is refused is made anew once.

        `after`: it was busy just now, so that a pause comes first. Raises the errors of `errors.py`, which the pool has
        been told then, but for `no_faults`.
        """
        try:
            async for attempt in self.patience.tries(brief=brief):
                with attempt:
                    if after is not None:
                        busy, after = after, None
                        raise busy
                    result = await self._with_token(account, call)
        except StorageError as error:
            await self.report(account, error, no_faults)
            raise
        return result

    async def _with_token(self, account: Account, call: Callable[[str], Awaitable[T]]) -> T:
        token = await self.accounts.token(account)
        try:
            return await call(token)
        except DriveTokenError:
            return await call(await self.accounts.token(account, refused=token))

    async def report(
        self, account: Account, error: StorageError, no_faults: tuple[type[StorageError], ...] = NO_FAULTS
    ) -> None:
        """Tell the pool that a call failed, where that is the account's fault or Drive's."""
        if is_foreign(error) and not isinstance(error, no_faults):
            await self.accounts.failed(account, error, reason_of(error))
