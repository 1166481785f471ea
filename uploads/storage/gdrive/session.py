"""One upload's session on Drive: opened, asked, lost and opened anew, on this account or on another.

Needs no Django. What Drive says that it has is believed, and never a count of our own (docs/drive.md).
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from uploads.storage.base import (
    BudgetSpentError,
    ObjectMissingError,
    OwnDigest,
    RewindError,
    StorageError,
    StorageFullError,
)
from uploads.storage.gdrive.calls import Calls
from uploads.storage.gdrive.chunk import Body
from uploads.storage.gdrive.client import DriveFile, Progress
from uploads.storage.gdrive.errors import (
    DriveBusyError,
    DriveGoneError,
    DriveRefusedError,
    DriveStalledError,
    DriveTakenError,
    DriveTokenError,
)
from uploads.storage.gdrive.ports import Account, AccountBrokenError, Checkpoint, DriveSession, SessionHold

MARK = "directdrivex"  # in a file's appProperties, with its key: what has none is not ours to touch
FULL, UNAVAILABLE = "storage_full", "storage_unavailable"

Seal = Callable[[str], str]


class RemoteUpload:
    """The upload `key` of `size` bytes, on `account`.

    `accepted`: how much Drive has, as it said last; `file`: what it says of the whole file, once there is one;
    `checkpoint`: what is to be kept of the digests, which are the sender's bytes' and outlive a session that is lost;
    """

    def __init__(self, calls: Calls, seal: Seal, unseal: Seal, key: str, size: int, hold: SessionHold) -> None:
        self._calls, self._seal, self._unseal = calls, seal, unseal
        self.key, self.size, self._hold = key, size, hold
        self._avoided: frozenset[int] = frozenset()
        self._url = self._token = ""
        self.session: DriveSession | None = None
        self.account: Account | None = None
        self.accepted = 0
        self.checkpoint: Checkpoint | None = None
        self.file: DriveFile | None = None
        self._reason = UNAVAILABLE
        self._saving = asyncio.Lock()

    @property
    def finished(self) -> bool:
        """Is the file whole on Drive?"""
        return self.session is not None and self.session.finished

    # --- from the beginning ---

    async def open(self) -> None:
        """Go on with the session that is kept, or begin one."""
        kept = self._hold.session
        if kept is None or kept.size != self.size:
            return await self._begin_somewhere()
        self.session, self.checkpoint = kept, kept.checkpoint
        try:
            more = 0 if kept.finished else self.size - kept.offset
            self.account = await self._calls.accounts.get(kept.account_id, more)
        except ObjectMissingError:
            return await self._begin_somewhere()
        self.accepted = kept.offset
        if kept.finished:
            self.accepted = self.size
            return None
        try:
            self._url = self._unseal(kept.sealed_url)
        except DriveGoneError:
            return await self._begin_anew()
        return await self.ask()

    async def _begin_somewhere(self, cause: StorageError | None = None) -> None:
        """Begin on whichever account takes it. `cause`: why the one before does not. Raises the last cause."""
        while True:
            try:
                account = await self._calls.accounts.choose(self.size, self._avoided)
            except StorageError as none_left:
                # Where all that is missing is a new day, that says more than why one of them failed.
                raise none_left if cause is None or isinstance(none_left, BudgetSpentError) else cause
            try:
                file_id = await self._calls.make(account, self._calls.client.generate_id, brief=True)
                url = await self._start(account, file_id)
            except StorageError as error:
                await self._calls.accounts.let_go(account)
                self._avoided |= {account.id}
                cause = error
            except BaseException:  # its sender went away meanwhile, say
                await self._calls.accounts.let_go(account)
                raise
            else:
                return await self._adopt(account, file_id, url)

    async def _start(self, account: Account, file_id: str) -> str:
        """Open a session for the file of this id; returns its URL."""
        properties = {MARK: "upload", "key": self.key}
        metadata: dict[str, Any] = {"id": file_id, "name": self.key, "appProperties": properties}
        if parent := account.folder_id or account.drive_id:
            metadata["parents"] = [parent]
        client = self._calls.client
        return await self._calls.make(account, lambda token: client.start(token, metadata, self.size), brief=True)

    async def _adopt(self, account: Account, file_id: str, url: str) -> None:
        """From now on the upload goes to this session, from its beginning; the one before is given up."""
        before, before_url = self.account, self._url
        self.account, self._url, self.accepted, self.file = account, url, 0, None
        left = before if before is not None and before.id != account.id else None
        try:
            await self._save(DriveSession(account.id, file_id, self.size, sealed_url=self._seal(url)))
        finally:
            if left is not None:
                await self._calls.accounts.let_go(left)
        if left is not None:
            await self._drop(left, before_url)

    async def _drop(self, account: Account, url: str) -> None:
        """Cancel a session that nobody goes on with, if its account can still be spoken to; it lapses by itself."""
        with contextlib.suppress(StorageError):
            token = await self._calls.accounts.token(account)
            await self._calls.client.cancel(token, url)

    # --- bytes ---

    async def put(self, body: Body, length: int) -> Progress:
        """Send one chunk, which belongs behind what Drive has; the caller believes or mends what comes of it."""
        account, url, start = self._account(), self._url, self.accepted
        self._token = await self._calls.accounts.token(account)
        return await self._calls.client.put(self._token, url, start, length, self.size, body)

    async def put_empty(self) -> None:
        """Make the file, which has no bytes."""
        client, url = self._calls.client, self._url
        await self.believe(await self._calls.make(self._account(), lambda token: client.put_empty(token, url)))

    async def believe(self, progress: Progress) -> None:
        """Drive has this much."""
        account, more = self._account(), progress.offset - self.accepted
        self.accepted = progress.offset
        if progress.file is not None:
            self.file = progress.file
            await self._save(replace(self._session(), sealed_url="", finished=True))
        if more > 0:
            await self._calls.accounts.stored(account, more)
            await self._calls.accounts.worked(account)

    async def ask(self, after: DriveBusyError | None = None) -> None:
        """Ask where the upload stands, and believe it; where Drive has forgotten it, begin anew."""
        client, account, url = self._calls.client, self._account(), self._url
        try:
            # Where Drive has nothing yet, another account costs nothing: no long wait for this one.
            progress = await self._calls.make(
                account, lambda token: client.where(token, url, self.size), after=after, brief=not self.accepted
            )
        except DriveGoneError:
            await self._begin_anew()
        except StorageError as error:
            await self._leave(error)
        else:
            await self.believe(progress)

    async def mend(self, failure: StorageError) -> None:
        """A chunk failed: know again what Drive has. Raises what cannot be mended."""
        account = self._account()
        if isinstance(failure, DriveGoneError):
            return await self._begin_anew()
        if isinstance(failure, DriveTokenError):
            # `ask` would notice by itself, unless the session is one that is not asked who we are.
            await self._calls.accounts.token(account, refused=self._token)
            return await self.ask()
        if isinstance(failure, DriveStalledError):
            await self._calls.report(account, failure)
            if not self.accepted:
                # Some accounts take nothing for an hour before they say that their day is over.
                with contextlib.suppress(StorageError):
                    return await self._leave(failure)
        if isinstance(failure, DriveBusyError):
            return await self.ask(after=failure)
        await self._calls.report(account, failure)
        return await self._leave(failure)

    async def _leave(self, error: StorageError) -> None:
        """Begin again on another account, where this one can no more or there is nothing to lose. Raises `error`."""
        account = self._account()
        hopeless = isinstance(error, StorageFullError | DriveRefusedError | DriveTokenError | AccountBrokenError)
        if self.accepted and not hopeless:
            raise error
        self._avoided |= {account.id}
        await self._begin_somewhere(error)
        self._reason = FULL if isinstance(error, StorageFullError) else UNAVAILABLE

    async def _begin_anew(self) -> None:
        """The session is gone: with the file made, whose answer was lost, or with all that it had."""
        account, file_id, client = self._account(), self._session().file_id, self._calls.client
        try:
            file = await self._calls.make(account, lambda token: client.get(token, file_id))
        except DriveGoneError:
            pass
        else:
            if file.size == self.size and not file.trashed:
                return await self.believe(Progress(self.size, file))
            file_id = await self._calls.make(account, client.generate_id)
        try:
            url = await self._start(account, file_id)
        except DriveTakenError:
            # Made just now by the session that is gone.
            await self.believe(Progress(self.size, await self._calls.make(account, lambda t: client.get(t, file_id))))
        except StorageError as error:
            await self._leave(error)
        else:
            await self._adopt(account, file_id, url)

    # --- the end ---

    async def own_digest(self) -> OwnDigest:
        """What Drive says of the whole file. Raises `RewindError` where it is not there."""
        file = self.file or await self._look()
        if not file.sha256:
            file = await self._look(with_md5=True)
        reason = None if file.sha256 else "Google Drive gave no SHA-256"
        return OwnDigest(file.sha256, reason, md5=None if file.sha256 else file.md5, size=file.size)

    async def _look(self, *, with_md5: bool = False) -> DriveFile:
        """The whole file as Drive has it now. Where somebody removed it there, the upload begins anew."""
        client, file_id = self._calls.client, self._session().file_id
        file: DriveFile | None = None
        with contextlib.suppress(DriveGoneError):
            file = await self._calls.make(self._account(), lambda token: client.get(token, file_id, with_md5=with_md5))
        if file is None or file.trashed:
            await self._begin_anew()
            raise RewindError(self.accepted, self.take_reason())
        return file

    async def close(self) -> None:
        """Nobody writes here any longer; what is kept of it is for the next one."""
        if self.account is not None:
            await self._calls.accounts.let_go(self.account)

    def take_reason(self) -> str:
        """The code with which a sender is told that bytes were lost."""
        reason, self._reason = self._reason, UNAVAILABLE
        return reason

    async def stay(self) -> None:
        """Go on holding what is reserved, however long nothing comes."""
        if not self.finished:
            await self._calls.accounts.stored(self._account(), 0)

    async def save(self) -> None:
        """Keep the session as it is now. Raises what the hold raises."""
        await self._save()

    async def _save(self, new: DriveSession | None = None) -> None:
        async with self._saving:  # or the one who is slower would put the other's back
            session = replace(new or self._session(), offset=self.accepted, checkpoint=self.checkpoint)
            await self._hold.save(session)
            self.session = session

    def _account(self) -> Account:
        assert self.account is not None
        return self.account

    def _session(self) -> DriveSession:
        assert self.session is not None
        return self.session
