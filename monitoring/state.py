"""What is known about the whole program at one moment, frozen. Sizes in bytes, times in seconds."""

from dataclasses import dataclass
from datetime import datetime

from monitoring.alerts import Alert
from uploads.fleet.report import Report
from uploads.intake.registry import TransferView
from uploads.slots.admission import MemoryReading
from uploads.slots.manager import SlotSnapshot
from uploads.storage.breaker import State
from uploads.storage.gdrive.conditions import Condition


@dataclass(frozen=True)
class MemoryState:
    """One reading, the ceilings of the profile in force, and whether one more upload would be admitted now."""

    reading: MemoryReading
    ceiling_percent: int
    reserved_bytes: int
    admitting: bool


@dataclass(frozen=True)
class BufferState:
    """Memory that uploads may hold for bytes on their way to the storage, and what they hold."""

    limit_bytes: int
    in_use_bytes: int
    chunk_size: int


@dataclass(frozen=True)
class Today:
    """The uploads announced since UTC midnight, and how many of them came to an end."""

    attempted: int = 0
    completed: int = 0
    failed: int = 0
    stored_bytes: int = 0

    @property
    def failure_rate_percent(self) -> float:
        return round(100 * self.failed / self.attempted, 1) if self.attempted else 0.0


@dataclass(frozen=True)
class LastHour:
    """The uploads that ended within the last hour, whenever they began."""

    completed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class StorageState:
    """`reason` is a short word that strangers may read; `detail` is the true cause, for staff."""

    name: str
    ok: bool
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class AccountState:
    """One account that files are stored with, and is switched on; `until` is when it is over or tried again."""

    name: str
    condition: Condition
    circuit: State
    until: datetime | None
    used_bytes: int
    daily_bytes: int
    room_bytes: int | None


@dataclass(frozen=True)
class DriveState:
    """The accounts that are switched on, and the circuit round Drive as a whole; None while files go elsewhere."""

    accounts: tuple[AccountState, ...] = ()
    circuit: State | None = None


@dataclass(frozen=True)
class ProgramState:
    """The whole program. `slots` is None, and `slots_error` says why, where the slot store cannot be reached.

    `database_error` says why `today` and `last_hour` are older than they should be. The first of `workers` is the one
    that says this, and `memory` that of its machine.
    """

    at: datetime
    environment: str
    slots: SlotSnapshot | None
    slots_error: str
    violations: tuple[str, ...]
    transfers: tuple[TransferView, ...]
    memory: MemoryState
    buffers: BufferState
    today: Today
    last_hour: LastHour
    storage: StorageState
    database_error: str = ""
    alerts: tuple[Alert, ...] = ()
    drive: DriveState = DriveState()
    workers: tuple[Report, ...] = ()
