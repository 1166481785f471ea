"""What is known about the whole program, gathered at most once a second in a process, however many ask."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import Count, Q, Sum
from django.utils import timezone

from monitoring import alerts, line
from monitoring.alerts import Alert, StuckWatch
from monitoring.beside import beside
from monitoring.once import Shared
from monitoring.state import (
    AccountState,
    BufferState,
    DriveState,
    LastHour,
    MemoryState,
    ProgramState,
    StorageState,
    Today,
)
from uploads import drive_accounts
from uploads.fleet.fleet import get_fleet
from uploads.fleet.report import Report
from uploads.models import FileEvent, StoredFile
from uploads.slots.admission import admits
from uploads.slots.keeper import get_keeper
from uploads.slots.manager import SlotSnapshot, SlotsUnavailableError
from uploads.states import TERMINAL, Status
from uploads.storage import get_store
from uploads.storage.base import StorageError, StorageFullError

LEAST_AGE_SECONDS = 1.0
STORAGE_BOUND_SECONDS = 2.0
DATABASE_BOUND_SECONDS = 2.0
STORAGE_AGE_SECONDS = 5.0
FIGURES_AGE_SECONDS = 10.0


def read_today(now: datetime) -> Today:
    """The uploads announced since UTC midnight, in one indexed query."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    figures = StoredFile.objects.filter(created_at__gte=midnight).aggregate(
        attempted=Count("pk"),
        # A file that was completed and then deleted was completed all the same.
        completed=Count("pk", filter=Q(completed_at__isnull=False)),
        failed=Count("pk", filter=Q(status=Status.FAILED)),
        stored_bytes=Sum("stored_bytes", filter=~Q(status__in=list(TERMINAL)), default=0),
    )
    return Today(**figures)


def read_last_hour(now: datetime) -> LastHour:
    """The uploads that ended within the last hour, in one indexed query."""
    figures = FileEvent.objects.filter(at__gte=now - timedelta(hours=1)).aggregate(
        completed=Count("pk", filter=Q(new_status=Status.COMPLETED) & ~Q(old_status=Status.COMPLETED)),
        failed=Count("pk", filter=Q(new_status=Status.FAILED) & ~Q(old_status=Status.FAILED)),
    )
    return LastHour(**figures)


class Figures:
    """What the database counts. Where counting takes long it is asked less often: at most a twentieth of the time."""

    def __init__(self) -> None:
        self._known: tuple[Today, LastHour] | None = None
        self._next_at = 0.0

    def read(self) -> tuple[Today, LastHour]:
        with transaction.atomic():
            pass  # SQLite answers who reads although nobody can write: that is to be seen too
        begun = time.monotonic()
        if self._known is None or begun >= self._next_at:
            now = timezone.now()
            self._known = read_today(now), read_last_hour(now)
            took = time.monotonic() - begun
            self._next_at = time.monotonic() + min(20 * took, FIGURES_AGE_SECONDS)
        return self._known


async def probe_storage() -> StorageState:
    """Ask the storage whether it could take an upload, and wait no longer than two seconds for an answer."""
    store = get_store()
    reason, detail = "", ""
    try:
        async with asyncio.timeout(STORAGE_BOUND_SECONDS):
            await store.check()
    except TimeoutError:
        reason, detail = "timeout", f"no answer within {STORAGE_BOUND_SECONDS:g} s"
    except StorageFullError as error:
        reason, detail = "full", str(error)
    except StorageError as error:
        reason, detail = "unavailable", str(error)
    return StorageState(store.name, not reason, reason, detail)


_storage = Shared(probe_storage, STORAGE_AGE_SECONDS)


def read_drive() -> DriveState:
    """How Drive and its accounts stand, where files go there; four queries."""
    now = timezone.now()
    accounts = tuple(
        AccountState(row.name, shown.condition, shown.circuit, shown.until, shown.used, row.daily_bytes, shown.room)
        for row, shown in drive_accounts.overview(now)
        if row.enabled
    )
    return DriveState(accounts, drive_accounts.as_a_whole(now).circuit) if accounts else DriveState()


_read_drive_beside = beside(read_drive)


async def probe_drive() -> DriveState:
    """Nobody knows of any account while the database does not answer; it has an alert of its own."""
    try:
        async with asyncio.timeout(DATABASE_BOUND_SECONDS):
            found: DriveState = await _read_drive_beside()
            return found
    except (TimeoutError, DatabaseError):
        return DriveState()


_drive = Shared(probe_drive, STORAGE_AGE_SECONDS)


async def read_slots() -> tuple[SlotSnapshot | None, str, tuple[str, ...]]:
    """The slots, why they cannot be read, and which invariants they break."""
    try:
        return await line.snapshot.get(), "", await line.violations.get()
    except SlotsUnavailableError as error:
        return None, str(error), ()


def memory_state(slots: SlotSnapshot | None, workers: Sequence[Report]) -> MemoryState:
    """This machine's reading and decision: what is shown is what uploads are admitted by."""
    keeper = get_keeper()
    here = [lease for lease in slots.leases if lease.node == keeper.node] if slots else []
    reading, ceiling = keeper.admission.reading(), keeper.admission.ceiling
    return MemoryState(
        reading=reading,
        ceiling_percent=keeper.limits.max_memory_percent,
        reserved_bytes=keeper.limits.reserved_memory_bytes,
        admitting=admits(
            reading,
            keeper.limits,
            window=settings.UPLOAD_WINDOW_BYTES,
            promised=sum(lease.window for lease in here),
            held=sum(worker.buffered_bytes for worker in workers if worker.node == keeper.node),
            ceiling=max(ceiling, settings.UPLOAD_WINDOW_BYTES),
        ),
    )


def buffer_state(workers: Sequence[Report]) -> BufferState:
    """What all workers hold, and what all their machines together may."""
    limits = {worker.node: worker.buffer_limit for worker in workers}
    held = sum(worker.buffered_bytes for worker in workers)
    return BufferState(sum(limits.values()), held, settings.UPLOAD_CHUNK_BYTES)


def machine_alerts(workers: Sequence[Report]) -> list[Alert]:
    """Those of every machine's memory; which machine is named where there are several."""
    machines = {worker.node: worker for worker in reversed(workers)}
    found: list[Alert] = []
    for worker in machines.values():
        name = worker.process.host if len(machines) > 1 else ""
        found += alerts.memory_alerts(worker.memory.percent, worker.memory.available, name)
    return found


class Watch:
    """Gathers the state, and remembers from one look to the next since when the line has been stuck."""

    def __init__(self) -> None:
        self._read_beside = beside(lambda: self._figures.read())
        self._reading = Shared(self._read_beside, seconds=0.0)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._figures, self._stuck = Figures(), StuckWatch()
        self._counted = Today(), LastHour()
        self._reading.forget()

    async def _count(self) -> str:
        """Count anew; returns why the figures are still those of the last time, if the database does not answer."""
        try:
            async with asyncio.timeout(DATABASE_BOUND_SECONDS):
                self._counted = await self._reading.get()
        except TimeoutError:
            return f"no answer within {DATABASE_BOUND_SECONDS:g} s"
        except DatabaseError as error:
            return str(error)
        return ""

    async def gather(self) -> ProgramState:
        slots, slots_error, violations = await read_slots()
        database_error = await self._count()
        today, last_hour = self._counted
        storage = await _storage.get()
        drive = await _drive.get()
        workers = await get_fleet().reports()
        memory = memory_state(slots, workers)
        return ProgramState(
            at=timezone.now(),
            environment=settings.ENVIRONMENT,
            slots=slots,
            slots_error=slots_error,
            violations=violations,
            transfers=tuple({view.upload_id: view for each in reversed(workers) for view in each.transfers}.values()),
            memory=memory,
            buffers=buffer_state(workers),
            today=today,
            last_hour=last_hour,
            storage=storage,
            database_error=database_error,
            alerts=(
                *alerts.database_alerts(database_error),
                *self._alerts(slots, slots_error, violations, last_hour, storage),
                *machine_alerts(workers),
                *alerts.account_alerts({account.name: account.condition for account in drive.accounts}),
            ),
            drive=drive,
            workers=tuple(workers),
        )

    def _alerts(
        self,
        slots: SlotSnapshot | None,
        slots_error: str,
        violations: tuple[str, ...],
        last_hour: LastHour,
        storage: StorageState,
    ) -> list[Alert]:
        stuck = self._stuck.look(slots, time.monotonic()) if slots else (0.0, 0)
        return [
            *alerts.slot_alerts(slots_error, violations),
            *alerts.storage_alerts(storage.ok, storage.detail),
            *alerts.stuck_alerts(*stuck),
            *alerts.failure_alerts(last_hour.completed, last_hour.failed),
        ]


_watch = Watch()
_state = Shared(_watch.gather, LEAST_AGE_SECONDS)


async def current() -> ProgramState:
    """The state of the program, at most a second old."""
    return await _state.get()


def forget() -> None:
    """Make the next look a fresh one."""
    _watch.forget()
    _state.forget()
    _storage.forget()
    _drive.forget()
