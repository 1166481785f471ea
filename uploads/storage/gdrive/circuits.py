"""The circuit of each account and the one round Drive as a whole, kept in rows that all workers share. Synchronous.

An account's circuit opens where that account fails; the whole one where Drive or the way to it does, whichever account
is asked. Half-open, an account is first asked how it fares (`accounts.py`); only then it gets a file again.
"""

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from uploads.drive_models import CircuitColumns, DriveAccount, StorageCircuit
from uploads.storage.breaker import Circuit, State, Temper
from uploads.storage.gdrive import troubles
from uploads.storage.gdrive.budget import DAY

CALLS = Temper(failures=3, first=timedelta(seconds=10), longest=timedelta(minutes=5))
# Some accounts stand still for an hour before Drive says that their day is over.
STALLS = Temper(failures=1, first=timedelta(minutes=10), longest=timedelta(hours=1))
WHOLE = Temper(failures=6, first=timedelta(seconds=10), longest=timedelta(minutes=1))
# What a passing check says nothing about.
SHOWN_BY_WORK = frozenset({troubles.FAILING, troubles.STALLED, troubles.REFUSED})
ASKING = timedelta(seconds=5)
FULL_FOR = timedelta(hours=1)
STORAGE = "gdrive"

log = structlog.get_logger(__name__)


def circuit_of(row: CircuitColumns) -> Circuit:
    return Circuit(row.failures, row.failing_since, row.openings, row.retry_at, row.trying)


def whole_storage_rests(now: datetime) -> datetime | None:
    """Until when nobody goes to Drive at all; None: go. Half-open, the first who asks goes, and tells how it went."""
    row = StorageCircuit.objects.select_for_update().filter(name=STORAGE).first()
    if row is None or (state := circuit_of(row).state(now)) is State.CLOSED:
        return None
    if state is State.OPEN:
        return row.retry_at
    _put(row, circuit_of(row).tried(now))
    return None


def whole_storage_open_until(now: datetime) -> datetime | None:
    """The same for somebody who only looks."""
    row = StorageCircuit.objects.filter(name=STORAGE).first()
    return row.retry_at if row is not None and circuit_of(row).state(now) is State.OPEN else None


def claim(account_id: int, now: datetime) -> bool:
    """Whether the caller is the one to ask a half-open account how it fares."""
    with transaction.atomic():
        row = _account(account_id)
        if row is None or circuit_of(row).state(now) is not State.HALF_OPEN:
            return False
        _put(row, circuit_of(row).tried(now))
        return True


def failed(
    account_id: int, now: datetime, code: str, cause: str, *, at_once: bool = False, whole: bool = False
) -> None:
    """A call failed. `at_once`: no need to see it again; `whole`: it may be Drive's fault, not the account's."""
    temper = STALLS if code == troubles.STALLED else CALLS
    with transaction.atomic():
        row = _account(account_id)
        if row is None:
            return
        before = circuit_of(row).state(now)
        _put(row, circuit_of(row).failed(now, temper, at_once=at_once or code == troubles.STALLED), code, cause)
        if before is State.CLOSED and circuit_of(row).state(now) is State.OPEN:
            log.warning("drive_account_failing", account=row.name, code=code, cause=cause)
        if whole:
            StorageCircuit.objects.get_or_create(name=STORAGE)
            all_of_it = StorageCircuit.objects.select_for_update().get(name=STORAGE)
            _put(all_of_it, circuit_of(all_of_it).failed(now, WHOLE), code, cause)


def refused(account_id: int, now: datetime, code: str, cause: str) -> None:
    """Drive takes no more from the account: for a day where the day is spent, or until there may be room again."""
    pause = {"refused_until": now + DAY} if code == troubles.DAY_SPENT else {"full_until": now + FULL_FOR}
    if DriveAccount.objects.filter(pk=account_id).update(error_code=code, last_error=cause, **pause):
        log.warning("drive_account_out", account=account_id, code=code, cause=cause)


def answered(account_id: int, now: datetime) -> None:
    """The account told how it fares: it may be given a file. If it was work that failed, it has to prove itself."""
    with transaction.atomic():
        row = _account(account_id)
        if row is not None and row.error_code in SHOWN_BY_WORK:
            _put(row, circuit_of(row).on_probation(CALLS))
        elif row is not None:
            _mend(row, now)
        every = _whole()
        if every is not None:
            _put(every, circuit_of(every).on_probation(WHOLE))


def worked(account_id: int, now: datetime) -> None:
    """Bytes were stored."""
    with transaction.atomic():
        row = _account(account_id)
        if row is not None:
            _mend(row, now)
        every = _whole()
        if every is not None:
            _put(every, Circuit(), "", "")


def _mend(row: DriveAccount, now: datetime) -> None:
    """All is well, but that an account which is out stays so: what had begun may still end there."""
    until = {troubles.DAY_SPENT: row.refused_until, troubles.FULL: row.full_until}.get(row.error_code)
    if until is not None and now < until:
        _put(row, Circuit())
    elif circuit_of(row) != Circuit() or row.error_code:
        _put(row, Circuit(), "", "")


def _whole() -> StorageCircuit | None:
    """Always held after the account's row: two who hold both never wait for each other crosswise."""
    return StorageCircuit.objects.select_for_update().filter(name=STORAGE, failures__gt=0).first()


def _account(account_id: int) -> DriveAccount | None:
    return DriveAccount.objects.select_for_update().filter(pk=account_id).first()


def _put(row: CircuitColumns, circuit: Circuit, code: str | None = None, cause: str | None = None) -> None:
    row.failures, row.failing_since, row.openings = circuit.failures, circuit.since, circuit.openings
    row.retry_at, row.trying = circuit.retry_at, circuit.trying
    if code is not None and cause is not None:
        row.error_code, row.last_error = code, cause
    row.save(update_fields=["failures", "failing_since", "openings", "retry_at", "trying", "error_code", "last_error"])
