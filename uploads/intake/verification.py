"""The end of an upload: digests compared, bytes made durable, the file completed.

It runs in a task of its own, so that a connection lost at the last moment takes nothing with it, and holds the slot
until it is over (wire.md: the slot is free again before `success` or `error` is sent).
"""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any, NoReturn, Protocol

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from uploads import services
from uploads.errors import Cancelled, ChecksumMismatch, ServerRestart, StorageUnavailable, UploadError
from uploads.intake import registry
from uploads.intake.faults import as_upload_error
from uploads.models import StoredFile
from uploads.states import ACTIVE, Status
from uploads.storage.base import Digests, OwnDigest, PartialObject, RewindError

SIGNS_A_LEASE = 3
FIRST_EPOCH = 1  # of the one connection that sent it all

log = structlog.get_logger(__name__)


class Releasable(Protocol):
    async def release(self) -> Any: ...


def receipt_of(digests: Digests, own: OwnDigest, browser: str | None) -> dict[str, Any]:
    """Each digest with its maker; null with a reason where one could not be made."""
    return {
        "browser": {"sha256": browser, "reason": None if browser else "the sender gave no digest"},
        "server": {"sha256": digests.sha256, "crc32": f"{digests.crc32:08x}", "reason": digests.reason},
        "storage": {"sha256": own.sha256, "reason": own.reason, **({"md5": own.md5} if own.md5 else {})},
    }


class Verification:
    """One file being verified; `await outcome()` from as many connections as like to."""

    def __init__(
        self, file: StoredFile, partial: PartialObject, hold: Releasable, sha256: str | None, *, epoch: int
    ) -> None:
        """`epoch` is that with which the file was opened for writing: where another has one since, it stands back."""
        self.file, self.size, self.began_at, self.epoch = file, file.size, time.monotonic(), epoch
        self._partial, self._hold, self._sha256 = partial, hold, sha256
        self._ending = False
        registry.verification_began(str(file.pk), self)
        self.task: asyncio.Task[StoredFile] = asyncio.create_task(self._run())
        # Nobody may be there to hear of a failure: it is in the log and beside the file then.
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def outcome(self) -> StoredFile:
        """The completed file. Raises the `UploadError` that it ended with, or `RewindError`."""
        await asyncio.wait({self.task})
        if self.task.cancelled():
            # A listener must not take the end of this task for its own.
            await self._raise_how_it_ended()
            raise ServerRestart()
        return self.task.result()

    async def abandon(self) -> None:
        """The file was ended elsewhere: stop the work on it, and return when slot and partial file are free."""
        await asyncio.sleep(0)  # a task that is cancelled before its first step clears nothing up
        if not self._ending:
            self._ending = True  # several may come, and a second cancel would hit the clearing up
            self.task.cancel()
        await asyncio.wait({self.task})

    async def _say_so(self) -> None:
        """Keep it in the row that somebody works on this, until it is known that nobody should."""
        still_verifying = database_sync_to_async(services.still_verifying)
        alive = True
        while alive:
            await asyncio.sleep(settings.SLOT_LEASE_SECONDS / SIGNS_A_LEASE)
            with suppress(DatabaseError, InterfaceError):  # a row that cannot be written cannot be judged either
                alive = await still_verifying(self.file.pk, epoch=self.epoch)

    async def _run(self) -> StoredFile:
        signs = asyncio.create_task(self._say_so())
        try:
            await self._verify()
        except RewindError as rewind:
            await self._retreat(f"the storage went back to {rewind.offset}: {rewind.reason}")
            raise
        except (UploadError, asyncio.CancelledError):
            raise
        except Exception as error:  # whatever it is, the file must not stay `verifying`
            await self._retreat(str(error) or repr(error))
            raise await as_upload_error(self.file.pk, error) from error
        finally:
            self._ending = True
            signs.cancel()
            async with AsyncExitStack() as ending:
                ending.callback(registry.verification_ended, str(self.file.pk))
                ending.push_async_callback(self._hold.release)
                await self._partial.close()
        return await database_sync_to_async(services.find)(self.file.pk)

    async def _verify(self) -> None:
        digests = await self._partial.digests()
        announced = {digest for digest in (self.file.expected_sha256, self._sha256) if digest}
        if announced - {digests.sha256} and (digests.sha256 or len(announced) > 1):
            # Who was wrong cannot be told from here, so that the bytes count as received.
            cause = f"announced {', '.join(sorted(announced))}; the server computed {digests.sha256}"
            await self._mismatch(cause, ours=False)
        own = await self._partial.finish()
        if own.size not in (None, self.size):
            await self._mismatch(f"the storage has {own.size} bytes of {self.size}", ours=True)
        if own.sha256 and digests.sha256 and own.sha256 != digests.sha256:
            # Who sends other bytes the second time can make this, too, and must not have sent them for nothing.
            once = digests.once and self.epoch == FIRST_EPOCH
            await self._mismatch(f"the storage has {own.sha256}; the server computed {digests.sha256}", ours=once)
        if own.sha256 and announced - {own.sha256}:
            # The server's own digest was lost: again it cannot be told who was wrong.
            cause = f"announced {', '.join(sorted(announced))}; the storage has {own.sha256}"
            await self._mismatch(cause, ours=False)
        receipt = receipt_of(digests, own, self._sha256 or self.file.expected_sha256 or None)
        known = replace(digests, sha256=digests.sha256 or own.sha256)
        if not await database_sync_to_async(services.complete)(self.file, known, receipt, epoch=self.epoch):
            await self._stand_back()

    async def _mismatch(self, cause: str, *, ours: bool) -> NoReturn:
        error = ChecksumMismatch()
        log.warning("checksum_mismatch", file=str(self.file.pk), cause=cause)
        await self._partial.close()
        if not await services.fail(self.file, error, cause, fault_is_ours=ours, epoch=self.epoch):
            await self._raise_how_it_ended()
            raise StorageUnavailable()  # another writer has it by now, and will see for itself
        error.noted = True
        raise error

    async def _stand_back(self) -> None:
        """Somebody changed the row in the meantime: that stands. The bytes go only where the file is over."""
        file = await database_sync_to_async(services.find)(self.file.pk)
        if file.status == Status.COMPLETED:
            return
        if file.status in ACTIVE:
            # This verification was taken for dead. Whoever did so, or the sender, verifies the same bytes again.
            log.warning("verification_overtaken", file=str(self.file.pk), status=file.status)
            raise StorageUnavailable()
        await services.remove_bytes(file)
        await self._raise_how_it_ended()

    async def _retreat(self, cause: str) -> None:
        """Back to pending. Raises what ended the file elsewhere: a cancel takes the bytes away under our hands."""
        if not await database_sync_to_async(services.back_to_pending)(self.file.pk, cause, epoch=self.epoch):
            await self._raise_how_it_ended()

    async def _raise_how_it_ended(self) -> None:
        """Raise what ended the file elsewhere, if anything did."""
        file = await database_sync_to_async(services.find)(self.file.pk)
        if file.status == Status.CANCELLED:
            raise Cancelled()
        services.refuse_gone(file, Status.FAILED, Status.EXPIRED)
