"""The conversation of one upload connection: start, line, bytes, finish (wire.md, "WebSocket").

Everything that happens to a connection becomes an event in one mailbox, and one task works them off in order; only
binary frames go past it, straight into the `Transfer`.
"""

import asyncio
import time
from contextlib import suppress
from typing import NoReturn

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils.translation import gettext_lazy as _

from uploads import services
from uploads.errors import (
    Cancelled,
    Gone,
    IdleTimeout,
    Incomplete,
    InvalidRequest,
    ServerRestart,
    SizeExceeded,
    Superseded,
    UploadError,
    WrongState,
)
from uploads.intake import protocol, registry
from uploads.intake.events import (
    Connection,
    ConnectionLost,
    Drained,
    Event,
    RowChanged,
    SlotChanged,
    Verified,
)
from uploads.intake.faults import as_upload_error
from uploads.intake.mailbox import Mailbox
from uploads.intake.protocol import Cancel, Finish, Resume, Start
from uploads.intake.transfer import Transfer
from uploads.intake.verification import Verification
from uploads.models import StoredFile
from uploads.slots.keeper import Hold, get_keeper
from uploads.slots.manager import Absent, Granted, SlotError, Waiting
from uploads.states import Status
from uploads.storage import get_store

QUEUE_REPORT_SECONDS = 2.0
VERIFYING_POLL_SECONDS = 1.0
SLOT_WATCH_SECONDS = 60.0
FLUSH_SECONDS = 3.0  # what a lost connection has sent is still written, if the storage takes it in this time
PAUSE_CODE = 1000

log = structlog.get_logger(__name__)


class UploadSession(Mailbox):
    """One connection of one upload. `let_go` is set when it no longer touches the upload, `ended` when it is over."""

    def __init__(self, upload_id: str, connection: Connection) -> None:
        super().__init__()
        self.upload_id, self._connection = upload_id, connection
        self.connected_at = time.monotonic()
        self.let_go, self.ended = asyncio.Event(), asyncio.Event()
        self.transfer: Transfer | None = None
        self.halted = False
        self._file: StoredFile | None = None
        self._hold: Hold | None = None
        self._verifying = False

    def take(self, data: bytes) -> None:
        if self._verifying:
            raise SizeExceeded()
        if self.transfer is None:
            raise InvalidRequest("message", _("Binary frames come after `ready`."))
        self.transfer.take(data)

    # --- the conversation ---

    async def run(self) -> None:
        """Talk until the upload or the connection ends. Never raises, and leaves nothing held."""
        registry.arrived(self)
        try:
            await self._converse()
        except ConnectionLost as lost:
            await self._let_go(keep_place=lost.code != PAUSE_CODE, flush=True)
        except Exception as error:  # noqa: BLE001 - the outermost edge of a connection: logged, kept and answered
            await self._refuse(error)
        finally:
            self.deaf = True
            await self._let_go(keep_place=False)
            registry.left(self)
            if self._file is not None:
                await self._connection.leave(self.upload_id)
            self.ended.set()

    async def _converse(self) -> None:
        start = await self._expect_start()
        file = self._file = await database_sync_to_async(services.authorise_upload)(self.upload_id, start.token)
        self.upload_id = str(file.pk)
        await self._connection.listen(self.upload_id)
        while True:
            file = await self._reload()
            if file.status == Status.COMPLETED:
                await self._succeed(file)
            services.refuse_gone(file, Status.CANCELLED, Status.FAILED, Status.EXPIRED)
            if file.status == Status.VERIFYING:
                await self._join_verification()
            elif self._hold is not None:
                break
            else:
                await database_sync_to_async(services.begin_upload)(file)
                older = registry.claim(self)
                keeper = get_keeper()
                keeper.held_bytes = registry.buffered_bytes
                self._hold = await keeper.enter(self.upload_id, file.person, settings.UPLOAD_WINDOW_BYTES)
                # The row is read again after this: the older connection may have said `finish` just before.
                await registry.displace(older)
        self.spawn(self._watch_slot(self._hold))
        await self._wait_in_line()
        await self._receive()

    async def _expect_start(self) -> Start:
        try:
            async with asyncio.timeout(settings.UPLOAD_START_SECONDS):
                event = await self.next()
        except TimeoutError:
            raise IdleTimeout(_("The first message did not come in time.")) from None
        if not isinstance(event, Start):
            raise InvalidRequest("type", _("The first message is `start`."))
        return event

    async def _wait_in_line(self) -> None:
        """Tell the place in line until a slot is granted. While waiting, only `cancel` is allowed."""
        told: Waiting | None = None
        told_at = 0.0
        while not isinstance(standing := self._held().standing, Granted):
            if not isinstance(standing, Waiting):
                await self._enter_again()
                continue
            pause = told_at + QUEUE_REPORT_SECONDS - time.monotonic() if told else 0.0
            if standing != told and pause <= 0:
                told, told_at = standing, time.monotonic()
                await self._connection.send(
                    protocol.queued_message(standing.position, standing.waiting_for, standing.eta_seconds)
                )
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(None if standing == told else pause):
                    await self._handle_in_line(await self.next())

    async def _handle_in_line(self, event: Event) -> None:
        match event:
            case Cancel():
                await self._cancel()
            case RowChanged():
                await self._check_row()
            case Finish() | Resume() | Drained() if self.halted:
                pass  # on its way when the pause was told
            case SlotChanged():
                pass
            case _:
                raise InvalidRequest("type", _("While in line, only `cancel` is allowed."))

    async def _receive(self) -> None:
        """Take bytes until they are all there and verified."""
        file = self._upload()
        transfer = self.transfer = Transfer(
            await get_store().open(self.upload_id, file.size),
            size=file.size,
            chunk_size=settings.UPLOAD_CHUNK_BYTES,
            window=settings.UPLOAD_WINDOW_BYTES,
            report=self._report,
            rewound=self._tell_rewind,
        )
        await self._check_row()  # a cancel may have come before the file was open
        self.spawn(transfer.run())
        self.spawn(transfer.watch(settings.UPLOAD_IDLE_SECONDS))
        await self._tell_ready(transfer)
        while True:
            match await self.next():
                case Resume(offset):
                    if not transfer.dropping:
                        raise InvalidRequest("type", _("A `resume` answers a `rewind`, or a `ready` after a pause."))
                    transfer.resume(offset)  # one for an older rewind changes nothing
                case Finish() as finish if not transfer.dropping:
                    await self._finish(transfer, finish)
                case Drained(finish) if transfer.complete:
                    return await self._verify(transfer, finish)
                case Cancel():
                    await self._cancel()
                case RowChanged():
                    await self._check_row()
                case SlotChanged():
                    await self._mind_the_slot(transfer)
                case Start():
                    raise InvalidRequest("type", _("The upload has started already."))

    async def _finish(self, transfer: Transfer, finish: Finish) -> None:
        if not transfer.complete:
            return await self._connection.send_error(Incomplete(received=transfer.arrived, size=transfer.size))

        async def tell_when_drained() -> None:
            await transfer.drained()
            self.put(Drained(finish))

        self.spawn(tell_when_drained())
        return None

    async def _verify(self, transfer: Transfer, finish: Finish) -> None:
        await self.stop_tasks()
        if not await database_sync_to_async(services.begin_verifying)(self.upload_id):
            await self._check_row()
            raise WrongState()
        # From here on the verification has partial file and slot, and outlives this connection.
        verification = Verification(self._upload(), transfer.partial, self._held(), finish.sha256)
        self.transfer = self._hold = None
        self.let_go.set()
        await self._hear(verification)

    async def _join_verification(self) -> None:
        """Wait for the end of a verification that runs already, or put an end to one whose worker was lost."""
        if running := registry.verification(self.upload_id):
            return await self._hear(running)
        await self._connection.send({"type": "verifying"})
        while (await self._reload()).status == Status.VERIFYING:
            if self._hold is not None or await get_keeper().find(self.upload_id) is None:
                # A verification holds its slot to the end: without one, its worker is gone.
                await database_sync_to_async(services.back_to_pending)(self.upload_id, "its worker was lost")
            with suppress(TimeoutError):
                async with asyncio.timeout(VERIFYING_POLL_SECONDS):
                    if isinstance(await self.next(), Cancel):
                        await self._cancel()
        return None

    async def _hear(self, verification: Verification) -> None:
        """Pass the outcome of a verification on; the caller reads the row for a success."""
        self._verifying = True
        await self._connection.send({"type": "verifying"})

        async def tell_when_over() -> None:
            await asyncio.wait({verification.task})
            self.put(Verified())

        self.spawn(tell_when_over())
        while True:
            match await self.next():
                case Verified():
                    await self._succeed(await verification.outcome())
                case Cancel():
                    await self._cancel()
                case RowChanged():
                    await self._check_row()

    async def _succeed(self, file: StoredFile) -> NoReturn:
        await self._let_go(keep_place=False)
        facts = {"file_id": str(file.pk), "size": file.size, "sha256": file.sha256, "receipt": file.receipt}
        await self._connection.send({"type": "success", **facts, **self._connection.links(str(file.pk))})
        await self._connection.close(1000, "")
        raise ConnectionLost(PAUSE_CODE)

    # --- the slot ---

    async def _watch_slot(self, hold: Hold) -> None:
        while not isinstance(before := hold.standing, Absent):
            # Places move up without anybody being woken: the line is read again as often as it may be told.
            await hold.changed(QUEUE_REPORT_SECONDS if isinstance(before, Waiting) else SLOT_WATCH_SECONDS)
            if hold.standing != before:
                self.put(SlotChanged())

    async def _enter_again(self) -> None:
        """Slot and place are gone (lapsed, or an admin released them): to the end of the line."""
        if registry.current(self.upload_id) is not self:
            raise Superseded()
        self._hold = await get_keeper().enter(self.upload_id, self._upload().person, settings.UPLOAD_WINDOW_BYTES)
        self.spawn(self._watch_slot(self._hold))

    async def _mind_the_slot(self, transfer: Transfer) -> None:
        """Without a slot no byte moves: stop, wait in line, and go on from what is stored."""
        if isinstance(self._held().standing, Granted):
            return
        self.halted = True
        transfer.halt(waiting=True)
        await self._wait_in_line()
        await transfer.drained()
        self.halted = False
        await self._tell_ready(transfer)

    # --- messages ---

    async def _tell_ready(self, transfer: Transfer) -> None:
        transfer.restart()
        await self._connection.send(
            protocol.ready_message(transfer.partial.offset, transfer.chunk_size, transfer.window, transfer.size)
        )

    async def _report(self, received: int, stored: int, rate: float) -> None:
        await self._connection.send(protocol.progress_message(received, stored, self._upload().size, rate))

    async def _tell_rewind(self, offset: int, reason: str) -> None:
        await self._connection.send({"type": "rewind", "offset": offset, "reason": reason})

    # --- ends ---

    async def _cancel(self) -> NoReturn:
        await services.cancel(self.upload_id, "sender")
        await self._let_go(keep_place=False)
        await get_store().delete(self.upload_id)
        await self._connection.send({"type": "cancelled"})
        await self._connection.close(1000, "cancelled")
        raise ConnectionLost(PAUSE_CODE)

    async def _check_row(self) -> None:
        """Raise what ended the file elsewhere, if anything did."""
        file = await self._reload()
        if file.status == Status.CANCELLED:
            raise Cancelled()
        services.refuse_gone(file, Status.FAILED, Status.EXPIRED)

    async def _refuse(self, error: Exception) -> None:
        """Answer with the error's own code, when slot and partial file are free."""
        if self._file is not None and not isinstance(error, UploadError):
            # Bytes that a cancel removed look like a failing storage to the writer.
            try:
                await self._check_row()
            except UploadError as truer:
                error = truer
            except DatabaseError as failure:
                log.warning("row_unreadable", file=self.upload_id, cause=str(failure))
        ours = await as_upload_error(self.upload_id if self._file else None, error)
        await self._let_go(keep_place=False, flush=isinstance(ours, ServerRestart))
        if isinstance(ours, Cancelled | Gone) and self._file is not None:
            await get_store().delete(self.upload_id)
        with suppress(ConnectionLost):
            await self._connection.send_error(ours)
            await self._connection.close(ours.close_code or 1008, ours.code)

    async def _let_go(self, *, keep_place: bool, flush: bool = False) -> None:
        """Close the partial file and give the slot back, or keep it for this upload's return; once."""
        transfer, self.transfer = self.transfer, None
        hold, self._hold = self._hold, None
        if transfer is not None and flush:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await transfer.drained()
        await self.stop_tasks()
        try:
            if transfer is not None:
                await transfer.partial.close()
                await database_sync_to_async(services.note_progress)(self.upload_id, transfer.partial.offset)
            if hold is not None:
                await (hold.detach() if keep_place else hold.release())
        except (DatabaseError, SlotError) as failure:
            # The lease lapses by itself, and the storage knows the offset.
            log.warning("not_let_go_cleanly", file=self.upload_id, cause=str(failure))
        finally:
            self.let_go.set()

    # --- small things ---

    async def _reload(self) -> StoredFile:
        self._file = await database_sync_to_async(services.find)(self.upload_id)
        return self._file

    def _upload(self) -> StoredFile:
        assert self._file is not None
        return self._file

    def _held(self) -> Hold:
        assert self._hold is not None
        return self._hold
