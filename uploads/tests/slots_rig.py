"""What the slot tests steer: a backend with a clock, limits and memory of their own, and short names for its verbs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from quotas.rules import SlotLimits
from uploads.slots.manager import Claim, Granted, SlotManager, Standing, Waiting
from uploads.slots.memory import MemorySlotManager

MIB = 1024 * 1024
WINDOW = 8 * MIB
LEASE = 30.0
LIMITS = SlotLimits(all_uploads=20, per_person=5, queued=500, max_memory_percent=100, reserved_memory_bytes=0)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Room:
    """Memory that has room for so many bytes of windows."""

    room: int = 10**12
    ceiling: int = 10**12

    def admits(self, window: int, promised: int) -> bool:
        return promised + window <= min(self.room, self.ceiling)


@dataclass
class Rig:
    manager: SlotManager
    clock: Clock
    memory: Room
    limits: SlotLimits = LIMITS
    owners: dict[str, str] = field(default_factory=dict)

    def limit(self, **changes: int) -> None:
        self.limits = replace(self.limits, **changes)

    async def ask(
        self, upload: str, person: str = "ann", owner: str | None = None, window: int = WINDOW
    ) -> Granted | Waiting:
        """Acquire for `upload`; its owner token is remembered for the calls below."""
        self.owners[upload] = owner or f"{upload}-1"
        return await self.manager.acquire(Claim(upload, self.owners[upload], person, window))

    async def standing(self, upload: str) -> Standing:
        return await self.manager.standing(upload, self.owners[upload])

    async def release(self, upload: str) -> bool:
        return await self.manager.release(upload, self.owners[upload])

    async def detach(self, upload: str, seconds: float = 15.0) -> None:
        await self.manager.detach(upload, self.owners[upload], seconds)

    async def renew(self, *uploads: str) -> set[str]:
        return await self.manager.renew([(upload, self.owners[upload]) for upload in uploads])

    async def holders(self) -> list[str]:
        """Who holds a slot, in the order of the grants."""
        return [lease.upload_id for lease in (await self.manager.snapshot()).leases]

    async def line(self) -> list[str]:
        return [ticket.upload_id for ticket in (await self.manager.snapshot()).tickets]


def memory_rig() -> Rig:
    rig = Rig.__new__(Rig)
    clock, memory = Clock(), Room()
    manager = MemorySlotManager(lambda: rig.limits, memory, lease_seconds=LEASE, clock=clock)
    rig.__init__(manager, clock, memory)
    return rig


BACKENDS: dict[str, Callable[[], Rig]] = {"memory": memory_rig}
