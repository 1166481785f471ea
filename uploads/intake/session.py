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
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from uploads import doors, hints, lifecycle, services
from uploads.errors import (
    Cancelled,
    Gone,
    IdleTimeout,
    Incomplete,
    InvalidRequest,
    Maintenance,
    ServerRestart,
    SizeExceeded,
    Superseded,
    UploadError,
    WrongState,
)
from uploads.fleet.fleet import get_fleet
from uploads.intake import changes, ejection, protocol, registry
from uploads.intake.events import (
    Connection,
    ConnectionLost,
    Drained,
    Event,
    Opened,
    RowChanged,
    SlotChanged,
    Verified,
)
from uploads.intake.faults import as_upload_error
from uploads.intake.mailbox import Mailbox
from uploads.intake.place import QUEUE_REPORT_SECONDS, Place
from uploads.intake.protocol import Cancel, Finish, Resume, Start
from uploads.intake.transfer import Transfer
from uploads.intake.verification import Verification
from uploads.models import StoredFile
from uploads.slots.manager import Granted, SlotError, Waiting, WaitingFor
from uploads.states import Status
from uploads.storage import store_of
from uploads.storage.base import BudgetSpentError, PartialObject, RewindError

VERIFYING_POLL_SECONDS = 1.0
FLUSH_SECONDS = 3.0  # what a lost connection has sent is still written, if the storage takes it in this time
PAUSE_CODE = 1000
STORAGE_POLL_SECONDS = 60.0

log = structlog.get_logger(__name__)


class UploadSession(Mailbox):
    """One connection of one upload. `let_go` is set when it no longer touches the upload, `ended` when it is over.

    `persons` is who it is, for the doors: its address, its account, and whose file it is once that is known.
    """

    def __init__(self, upload_id: str, connection: Connection, persons: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.upload_id, self._connection, self.persons = upload_id, connection, persons
        self.connected_at = time.monotonic()
        self.let_go, self.ended = asyncio.Event(), asyncio.Event()
        self.transfer: Transfer | None = None
        self.epoch: int | None = None  # with which it may write the row, once it has come to the line
        self.halted = False  # a client that was ready before waits for another `ready`
        self._file: StoredFile | None = None
        self._place: Place | None = None
        self._ready = self._verifying = False
        self._late = 0
        self._to_come = (
            0  # `resume`s that the client owes; one that answers the latest `ready` alone owes some for ever
        )
        self._said: Finish | None = None  # the last `finish`, while it waits for the storage
        self._untold: RewindError | None = None  # bytes were lost, and the client does not know it yet

    def take(self, data: bytes) -> None:
        if self._verifying:
            self._late += len(data)
            if not self._to_come or self._late > settings.UPLOAD_WINDOW_BYTES:
                raise SizeExceeded()
            return  # sent once more, for a `ready` that the client heard when it had sent everything
        if self.transfer is None or not self._ready:
            raise InvalidRequest("message", _("Binary frames come after `ready`."))
        self.transfer.take(data)

    # --- the conversation ---

    async def run(self) -> None:
        """Talk until the upload or the connection ends. Never raises, and leaves nothing held."""
        registry.arrived(self)
        ejection.keep_watch()
        try:
            await changes.keep_watch()
            await self._converse()
        except ConnectionLost as lost:
            await self._let_go(keep_place=lost.code != PAUSE_CODE, flush=True)
        except Exception as error:  # noqa: BLE001 - the outermost edge of a connection: logged, kept and answered
            await self._refuse(error)
        finally:
            self.deaf = True
            await self._let_go(keep_place=False)
            registry.left(self)
            await changes.rest()
            self.ended.set()

    async def _converse(self) -> None:
        start = await self._expect_start()
        file = self._file = await database_sync_to_async(services.authorise_upload)(self.upload_id, start.token)
        self.upload_id = str(file.pk)
        self.persons = (*self.persons, file.person)
        await doors.refuse_closed(*self.persons)
        self._place = Place(self.upload_id, file.person)
        registry.listens(self)
        rewound: RewindError | None = None
        while True:
            await self._come_to_the_line(self._place)
            try:
                await self._receive(rewound, told=await self._wait_in_line(self._place))
            except BudgetSpentError as spent:
                await self._wait_for_storage(self._place, spent)
            except RewindError as rewind:
                if self.transfer is not None:
                    raise  # told already, and in vain: the client comes back later, to a storage that is opened anew
                self._untold = rewind
                if rewound is not None and rewind.offset <= rewound.offset:
                    raise  # the client comes back later, rather than sends the same bytes again and again
                # Bytes were lost at the very end: the upload is pending again, and this client sends them again.
                rewound, self.halted, self._verifying = rewind, True, False
                self.let_go.clear()

    async def _come_to_the_line(self, place: Place) -> None:
        """Until the upload may run: tell what is known of it already, or enter the line."""
        while True:
            file = await self._reload()
            if file.status == Status.COMPLETED:
                await self._succeed(file)
            services.refuse_gone(file, Status.CANCELLED, Status.FAILED, Status.EXPIRED)
            if file.status == Status.VERIFYING:
                await self._join_verification()
            elif place.taken:
                return self._watch(place)
            else:
                if (epoch := await database_sync_to_async(services.begin_upload)(file)) is None:
                    continue  # it was verified, or ended, just now
                self.epoch = epoch
                older = registry.claim(self)
                # Nobody paused what never began.
                await place.enter(paused=file.epoch > 0 and await self._is_paused())
                await hints.tell(self.upload_id, epoch)  # an older one may be on another worker
                # The row is read again after this: the older connection may have said `finish` just before.
                await registry.displace(older)

    async def _is_paused(self) -> bool:
        return await database_sync_to_async(lifecycle.is_paused)(self.upload_id)

    async def _expect_start(self) -> Start:
        try:
            async with asyncio.timeout(settings.UPLOAD_START_SECONDS):
                event = await self.next()
        except TimeoutError:
            raise IdleTimeout(_("The first message did not come in time.")) from None
        if not isinstance(event, Start):
            raise InvalidRequest("type", _("The first message is `start`."))
        return event

    async def _wait_in_line(self, place: Place) -> bool:
        """Tell the place in line until a slot is granted; returns whether anything was told."""
        told: Waiting | None = None
        told_at = 0.0
        while not isinstance(standing := place.standing, Granted):
            if not isinstance(standing, Waiting):
                await self._check_row()  # a newer connection on another worker would take it over again
                await place.enter_again(registry.current(self.upload_id) is self, paused=await self._is_paused())
                self._watch(place)
                continue
            pause = told_at + QUEUE_REPORT_SECONDS - time.monotonic() if told else 0.0
            if standing != told and pause <= 0:
                told, told_at = standing, time.monotonic()
                await self._connection.send(
                    protocol.queued_message(standing.position, standing.waiting_for, standing.eta_seconds)
                )
            elif (event := await self.next_within(None if standing == told else pause)) is not None:
                await self._handle_in_line(event)
        return told is not None

    async def _handle_in_line(self, event: Event) -> None:
        match event:
            case Cancel():
                await self._cancel()
            case RowChanged():
                await self._check_row()
            case Finish() | Drained() if self.halted:
                pass  # on its way when the pause was told
            case Resume() if self.halted:
                self._to_come = max(0, self._to_come - 1)  # the answer to an older `ready`; another one comes
            case SlotChanged() | Opened():
                pass
            case _:
                raise InvalidRequest("type", _("While in line, only `cancel` is allowed."))

    async def _wait_for_storage(self, place: Place, spent: BudgetSpentError) -> None:
        """No account takes this file before a known time: give the slot back and wait with the ticket.

        It tries again every minute, since an admin may have made room.
        """
        self.halted = self._ready
        if self.transfer is not None:
            self.transfer.halt(waiting=True)
        await self.stop_tasks()
        if self.transfer is not None:
            await self.transfer.partial.close()
        wait = max(1.0, (spent.until - timezone.now()).total_seconds())
        await place.postpone(wait)

        async def try_again() -> None:
            await asyncio.sleep(min(wait, STORAGE_POLL_SECONDS))
            await place.postpone(0)
            self.put(SlotChanged())

        self.spawn(try_again())

    async def _receive(self, rewound: RewindError | None, *, told: bool) -> None:
        """Take bytes until they are all there and verified. `told`: the client was told to wait before this.

        Raises `RewindError` where the storage lost bytes at the end.
        """
        file, place = self._upload(), self._place
        assert place is not None
        transfer = self.transfer = Transfer(
            await self._open(file),
            size=file.size,
            chunk_size=settings.UPLOAD_CHUNK_BYTES,
            window=settings.UPLOAD_WINDOW_BYTES,
            report=self._report,
            rewound=self._tell_rewind,
        )
        await self._check_row()  # a cancel, or a newer connection, may have come before the file was open
        self.spawn(transfer.run())
        self.spawn(transfer.watch(settings.UPLOAD_IDLE_SECONDS, await get_fleet().idle_mark(self.upload_id)))
        if not place.granted:
            self.put(SlotChanged())
        if rewound is not None or self.halted:
            transfer.halt()
        self.halted, self._untold, self._said = False, None, None
        if rewound is not None and not told:
            self._ready = True
            await self._tell_rewind(transfer.partial.offset, rewound.reason)
        else:
            await self._tell_ready(transfer)
        while True:
            match await self.next():
                case Resume(offset):
                    self._resume(transfer, offset)
                case Finish() as finish if not transfer.dropping:
                    await self._finish(transfer, finish)
                case Drained(finish) if transfer.complete:
                    return await self._verify(transfer, finish)
                case Cancel():
                    await self._cancel()
                case RowChanged():
                    await self._check_row()
                case SlotChanged():
                    await self._mind_the_slot(transfer, place)
                case Start():
                    raise InvalidRequest("type", _("The upload has started already."))

    async def _open(self, file: StoredFile) -> PartialObject:
        """The partial file, if need be taken from a worker that does not let go; that can last, but a cancel cannot.

        By its epoch nobody but this connection may write.
        """
        opening = asyncio.create_task(store_of(file).open(self.upload_id, file.size, take=True))
        opening.add_done_callback(lambda _: self.put(Opened()))
        later: list[Event] = []
        try:
            while not opening.done():
                match await self.next():
                    case Cancel():
                        await self._cancel()
                    case RowChanged():
                        await self._check_row()
                    case Opened():
                        pass
                    case event:
                        later.append(event)
        except BaseException:
            opening.cancel()
            await asyncio.wait({opening})
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().close()
            raise
        for event in later:
            self.put(event)
        return opening.result()

    def _resume(self, transfer: Transfer, offset: int) -> None:
        if transfer.dropping:
            transfer.resume(offset)  # one for an older rewind changes nothing
        elif self._to_come:
            transfer.resume_again(offset)
        else:
            raise InvalidRequest("type", _("A `resume` answers a `rewind`, or a `ready` after a pause."))
        self._to_come = max(0, self._to_come - 1)

    async def _finish(self, transfer: Transfer, finish: Finish) -> None:
        if not transfer.complete:
            return await self._connection.send_error(Incomplete(received=transfer.arrived, size=transfer.size))

        async def tell_when_drained() -> None:
            await transfer.drained()
            said, self._said = self._said, None
            if said is not None:
                self.put(Drained(said))

        waits, self._said = self._said is not None, finish
        if not waits:  # one is enough, however often a client says so while the disk is slow
            self.spawn(tell_when_drained())
        return None

    async def _verify(self, transfer: Transfer, finish: Finish) -> None:
        await self.stop_tasks()
        if transfer.partial.offset != transfer.size:
            raise RuntimeError(f"{transfer.partial.offset} of {transfer.size} bytes are stored, all were counted")
        assert self.epoch is not None
        if not await database_sync_to_async(services.begin_verifying)(self.upload_id, epoch=self.epoch):
            await self._check_row()
            raise WrongState()
        # From here on the verification has partial file and slot, and outlives this connection.
        assert self._place is not None
        hold, epoch = self._place.hand_over(), self.epoch
        verification = Verification(self._upload(), transfer.partial, hold, finish.sha256, epoch=epoch)
        self.transfer = None
        registry.forget_idle(self.upload_id)
        self.let_go.set()
        await self._hear(verification)

    async def _join_verification(self) -> None:
        """Wait for the end of a verification that runs already, or put an end to one whose worker was lost."""
        if running := registry.verification(self.upload_id):
            return await self._hear(running)
        await self._connection.send({"type": "verifying"})

        async def look_after() -> None:
            find = database_sync_to_async(services.find)
            while (file := await find(self.upload_id)).status == Status.VERIFYING:
                if await services.rescue(file):
                    break
                await asyncio.sleep(VERIFYING_POLL_SECONDS)
            self.put(Verified())

        self.spawn(look_after())
        while not isinstance(event := await self.next(), Verified):
            if isinstance(event, Cancel):
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
                case Start():
                    raise InvalidRequest("type", _("The upload has started already."))

    async def _succeed(self, file: StoredFile) -> NoReturn:
        await self._let_go(keep_place=False)
        facts = {"file_id": str(file.pk), "size": file.size, "sha256": file.sha256, "receipt": file.receipt}
        await self._connection.send({"type": "success", **facts, **self._connection.links(str(file.pk))})
        await self._connection.close(1000, "")
        raise ConnectionLost(PAUSE_CODE)

    # --- the slot ---

    def _watch(self, place: Place) -> None:
        self.spawn(place.watch(lambda: self.put(SlotChanged())))

    async def _mind_the_slot(self, transfer: Transfer, place: Place) -> None:
        """Without a slot no byte moves: stop, wait in line, and go on from what is stored."""
        if place.granted:
            return
        self.halted = True
        transfer.halt(waiting=True)
        if not await self._wait_in_line(place):
            # A client stops at `queued`, and only then expects another `ready`.
            await self._connection.send(protocol.queued_message(1, WaitingFor.GLOBAL_SLOTS, 0))
        await transfer.drained()
        await transfer.partial.settle()
        self.halted = False
        await self._tell_ready(transfer)

    # --- messages ---

    async def _tell_ready(self, transfer: Transfer) -> None:
        transfer.restart()
        self._to_come += self._ready  # the first is not answered
        self._ready = True
        await self._connection.send(
            protocol.ready_message(transfer.partial.offset, transfer.chunk_size, transfer.window, transfer.size)
        )

    async def _report(self, received: int, stored: int, rate: float) -> None:
        await self._connection.send(protocol.progress_message(received, stored, self._upload().size, rate))

    async def _tell_rewind(self, offset: int, reason: str) -> None:
        self._to_come += 1
        await self._connection.send({"type": "rewind", "offset": offset, "reason": reason})

    # --- ends ---

    async def _cancel(self) -> NoReturn:
        await services.cancel(self.upload_id, "sender")
        await self._let_go(keep_place=False)
        await self._clear_away()
        await self._connection.send({"type": "cancelled"})
        await self._connection.close(1000, "cancelled")
        raise ConnectionLost(PAUSE_CODE)

    async def _check_row(self) -> None:
        """Raise what ended the file elsewhere, if anything did, and `Superseded` where a newer connection has it."""
        file = await self._reload()
        if file.status == Status.CANCELLED:
            raise Cancelled()
        services.refuse_gone(file, Status.FAILED, Status.EXPIRED)
        if self.epoch is not None and file.epoch != self.epoch:
            raise Superseded()

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
        await self._let_go(
            keep_place=False,
            flush=isinstance(ours, ServerRestart | Maintenance),
            returning=isinstance(ours, Superseded),
        )
        if isinstance(ours, Cancelled | Gone) and self._file is not None:
            await self._clear_away()
        with suppress(ConnectionLost):
            if self._untold is not None:
                await self._tell_rewind(self._untold.offset, self._untold.reason)  # what was told as stored is not
            await self._connection.send_error(ours)
            await self._connection.close(ours.close_code or 1008, ours.code)

    async def _clear_away(self) -> None:
        """The upload was ended: nothing works on it any longer, and no byte of it stays."""
        if running := registry.verification(self.upload_id):
            await running.abandon()
        await services.remove_bytes(self._upload())

    async def _let_go(self, *, keep_place: bool, flush: bool = False, returning: bool = False) -> None:
        """Close the partial file and give the slot back, or keep it for this upload's return; once.

        `returning`: the upload goes on at once on a newer connection, and so does its idle clock.
        """
        transfer, self.transfer = self.transfer, None
        if transfer is not None and flush:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await transfer.drained()
        await self.stop_tasks()
        try:
            if transfer is not None:
                if keep_place or returning:
                    await get_fleet().keep_idle(self.upload_id, transfer.idle)
                await transfer.partial.close()
            # Before the database is told: that may take its time, and the next in line has waited long enough.
            if self._place is not None:
                # What a newer connection has not taken over yet must still be there when it does.
                await self._place.give_up(keep=keep_place or returning)
        except SlotError as failure:
            log.warning("slot_not_released", file=self.upload_id, cause=str(failure))  # the lease lapses by itself
        try:
            if transfer is not None and self.epoch is not None:
                note_progress = database_sync_to_async(services.note_progress)
                await note_progress(self.upload_id, transfer.partial.offset, epoch=self.epoch)
        except DatabaseError as failure:
            log.warning("progress_not_kept", file=self.upload_id, cause=str(failure))  # the storage knows it
        finally:
            self.let_go.set()

    # --- small things ---

    async def _reload(self) -> StoredFile:
        self._file = await database_sync_to_async(services.find)(self.upload_id)
        return self._file

    def _upload(self) -> StoredFile:
        assert self._file is not None
        return self._file
