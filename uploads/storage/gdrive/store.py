"""Google Drive as a place where files rest: sessions and files by key, on a pool of accounts. Needs no Django."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

from uploads.storage.base import (
    LeftOver,
    ObjectMissingError,
    PartialObject,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    Store,
    Tidied,
    checked_key,
    is_key,
)
from uploads.storage.digest import RunningDigest
from uploads.storage.gdrive.calls import NO_FAULTS_OF_READING, NO_FAULTS_OF_REMOVING, Calls
from uploads.storage.gdrive.client import DriveClient
from uploads.storage.gdrive.errors import DriveBusyError, DriveGoneError, DriveRefusedError
from uploads.storage.gdrive.partial import DrivePartial
from uploads.storage.gdrive.patience import Patience
from uploads.storage.gdrive.ports import Account, Accounts, Checkpoint, SessionHold, Sessions
from uploads.storage.gdrive.session import MARK, RemoteUpload, Seal

HOLD_SECONDS = 5.0  # how long to wait for another writer to let go
DIGESTS_KEPT = 1024  # running digests of uploads whose connection was lost; a few hundred bytes each
ABUSIVE = "cannotDownloadAbusiveFile"


class DriveStore(Store, Tidied):
    """A store at the API's `root`. `seal` and `unseal` encrypt what is kept of a session's URL.

    `unseal` raises `DriveGoneError` for what cannot be read any longer.
    """

    name = "gdrive"

    def __init__(
        self,
        root: str,
        accounts: Accounts,
        sessions: Sessions,
        *,
        seal: Seal,
        unseal: Seal,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        self._client = DriveClient(root, patience)
        self._calls = Calls(self._client, accounts, patience)
        self._accounts, self._sessions, self._patience = accounts, sessions, patience
        self._seal, self._unseal = seal, unseal
        self._digests: OrderedDict[str, RunningDigest] = OrderedDict()

    async def close(self) -> None:
        await self._client.close()

    async def open(self, key: str, size: int, *, take: bool = False) -> PartialObject:
        hold = await self._hold(checked_key(key), take)
        remote = RemoteUpload(self._calls, self._seal, self._unseal, key, size, hold)
        try:
            await remote.open()
        except BaseException:
            await remote.close()
            await hold.let_go()
            raise
        digest = _farther(self._digests.pop(key, None), remote.checkpoint)
        return DrivePartial(
            remote, hold, digest, self._patience, read=partial(self._read, remote), closed=partial(self._keep, key)
        )

    async def _hold(self, key: str, take: bool) -> SessionHold:
        """Wait a while for another writer; then `take` it from that one, whose bytes Drive refuses or knows already."""
        deadline = time.monotonic() + HOLD_SECONDS
        while True:
            over = time.monotonic() > deadline
            try:
                return await self._sessions.hold(key, take=take and over)
            except StorageUnavailableError:
                if over:
                    raise
                await asyncio.sleep(0.1)

    def _keep(self, key: str, digest: RunningDigest) -> None:
        self._digests[key] = digest
        while len(self._digests) > DIGESTS_KEPT:
            self._digests.popitem(last=False)

    async def stored_bytes(self, key: str) -> int:
        session = await self._sessions.load(key)
        if session is None:
            return 0
        return session.size if session.finished else session.offset

    async def room(self) -> int | None:
        return await self._accounts.room()

    async def check(self) -> None:
        await self._accounts.check()

    async def keys(self) -> list[tuple[str, float]]:
        return await self._sessions.ages()

    # --- reading ---

    async def read(self, key: str, start: int, length: int, *, size: int | None = None) -> AsyncGenerator[bytes]:
        session = await self._sessions.load(key)
        if session is None or not session.finished:
            raise ObjectMissingError(key)
        account = await self._accounts.get(session.account_id)
        # A recipient is told to come back rather than kept waiting for a Drive that is known to be away.
        await self._accounts.refuse_while_away()
        return await self._begin_reading(account, session.file_id, start, length, size, brief=True)

    async def _read(self, remote: RemoteUpload, start: int, length: int) -> AsyncGenerator[bytes]:
        """The same of a file that is open for writing, and whole."""
        assert remote.account is not None
        assert remote.session is not None
        return await self._begin_reading(remote.account, remote.session.file_id, start, length, remote.size)

    async def _begin_reading(
        self, account: Account, file_id: str, start: int, length: int, size: int | None, *, brief: bool = False
    ) -> AsyncGenerator[bytes]:
        blocks = self._blocks(account, file_id, start, start + length, size, brief=brief)
        await anext(blocks)  # whatever is wrong is to be known before the first block is sent
        return blocks

    async def _blocks(
        self, account: Account, file_id: str, position: int, end: int, size: int | None, *, brief: bool
    ) -> AsyncGenerator[bytes]:
        """Nothing, once the first block is there, and then the blocks.

        Where a connection breaks in the middle, the next goes on from there. `brief`: not much patience at the start.
        """
        broken: DriveBusyError | None = None
        has_begun = position == end
        if has_begun:
            yield b""
        while position < end:
            begin = partial(self._begin_download, file_id, position, end, size)
            try:
                block, blocks = await self._calls.make(
                    account, begin, after=broken, brief=brief and not has_begun, no_faults=NO_FAULTS_OF_READING
                )
            except DriveGoneError as error:
                raise ObjectMissingError(str(error)) from None
            except StorageFullError as error:
                raise StorageUnavailableError(str(error)) from None  # of what the account may hand out, not take
            async with contextlib.aclosing(blocks):
                if not has_begun:
                    has_begun = True
                    yield b""
                try:
                    while block:
                        position += len(block)
                        yield block
                        block = await anext(blocks, b"")
                except DriveBusyError as error:
                    broken = error

    async def _begin_download(
        self, file_id: str, start: int, end: int, size: int | None, token: str
    ) -> tuple[bytes, AsyncGenerator[bytes]]:
        """The first block, and what brings the others."""
        try:
            return await _begun(self._client.download(token, file_id, start, end, size=size))
        except DriveRefusedError as error:
            # What Drive takes for malware is the recipient's to judge: our pages never run it.
            if error.reason != ABUSIVE:
                raise
        return await _begun(self._client.download(token, file_id, start, end, size=size, abusive=True))

    # --- removing ---

    async def delete(self, key: str) -> None:
        self._digests.pop(key, None)
        session = await self._sessions.load(checked_key(key))
        if session is not None:
            with contextlib.suppress(ObjectMissingError):  # an account that was removed took its files along
                account = await self._accounts.get(session.account_id)
                if session.sealed_url:
                    await self._cancel(account, session.sealed_url)
                await self._remove(account, session.file_id)
        await self._sessions.delete(key)

    async def _cancel(self, account: Account, sealed_url: str) -> None:
        with contextlib.suppress(DriveGoneError):
            url = self._unseal(sealed_url)
            await self._calls.make(account, lambda token: self._client.cancel(token, url), brief=True)

    async def _remove(self, account: Account, file_id: str) -> None:
        call = partial(self._client.delete, file_id=file_id)
        await self._calls.make(account, call, brief=True, no_faults=NO_FAULTS_OF_REMOVING)

    async def left_over(self, least_age: float) -> AsyncIterator[LeftOver]:
        made_before = (datetime.now(UTC) - timedelta(seconds=least_age)).isoformat(timespec="seconds")
        query = (
            f"appProperties has {{ key='{MARK}' and value='upload' }} and trashed = false "
            f"and createdTime < '{made_before}'"
        )
        failures = []
        for account in await self._accounts.all():
            try:
                async for left in self._left_over_of(account, query):
                    yield left
            except StorageError as error:
                failures.append(f"account {account.name}: {error}")
        if failures:
            raise StorageUnavailableError("; ".join(failures))

    async def _left_over_of(self, account: Account, query: str) -> AsyncIterator[LeftOver]:
        token = await self._accounts.token(account)
        async for file in self._client.files(token, query, account.drive_id):
            key = file.properties.get("key", "")
            session = await self._sessions.load(key) if is_key(key) else None
            # Accounts can see each other's files, on a shared drive say: whose list it is in says nothing.
            if session is None or session.file_id != file.id:
                yield LeftOver(key, file.id, session is not None, partial(self._remove, account, file.id))


def _farther(own: RunningDigest | None, kept: Checkpoint | None) -> RunningDigest:
    """The digests that know of more: this process's own, or the checkpoint's where the upload was elsewhere meanwhile.

    They may lie before what Drive has, or behind it.
    """
    if kept is None or (own is not None and own.offset >= kept.offset):
        return own or RunningDigest.kept()
    return RunningDigest.resumed(kept.offset, kept.crc32, kept.sha256_state)


async def _begun(blocks: AsyncGenerator[bytes]) -> tuple[bytes, AsyncGenerator[bytes]]:
    """The first block, and what brings the others."""
    return await anext(blocks), blocks
