"""What the slot tests steer: a backend with a clock, limits and memory of their own, and short names for its verbs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle

import pytest
import redis

from quotas.rules import SlotLimits
from uploads.slots.admission import NodeMemory
from uploads.slots.manager import (
    Claim,
    Granted,
    LeaseView,
    SlotManager,
    SlotSnapshot,
    Standing,
    TicketView,
    Waiting,
)
from uploads.slots.memory import MemorySlotManager
from uploads.slots.redis import Caller, RedisSlotManager, Runs, Tell
from uploads.slots.scripts import HASH_TAG
from uploads.slots.store import Store

MIB = 1024 * 1024
WINDOW = 8 * MIB
LEASE = 30.0
HERE = Caller("here", "worker")
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

    async def postpone(self, upload: str, seconds: float) -> bool:
        return await self.manager.postpone(upload, self.owners[upload], seconds)

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


# --- Redis, whose time a test steers by a key of its own beside the slots ---

CLOCK_KEY = f"{HASH_TAG}:clock"
TESTS_CLOCK = f"local function clock() return tonumber(redis.call('GET', '{CLOCK_KEY}')) end"


class RedisClock(Clock):
    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self._client = client
        self._show()

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._show()

    def _show(self) -> None:
        self._client.set(CLOCK_KEY, round(1000 * self.now))


class Memo:
    """The last run of Redis, as the database would keep it."""

    def __init__(self, run: str | None = "") -> None:
        self.run = run

    async def last(self) -> str | None:
        return self.run

    async def keep(self, run: str) -> bool:
        self.run = run
        return True


def redis_rig(url: str) -> Rig:
    """A worker on a Redis with nothing in it."""
    client = redis.Redis.from_url(url)
    client.flushdb()
    rig = Rig.__new__(Rig)
    clock, memory = RedisClock(client), Room()
    rig.__init__(redis_manager(url, rig), clock, memory)
    return rig


def redis_manager(
    url: str, rig: Rig, caller: Caller = HERE, tell: Tell = lambda _: None, runs: Runs | None = None
) -> RedisSlotManager:
    """One worker's manager under the limits, the memory and the clock of `rig`; its hints to others go to `tell`."""
    return RedisSlotManager(
        Store({"address": url}, seconds=10, clock=TESTS_CLOCK),
        lambda: rig.limits,
        RigsMemory(rig),
        runs or Memo(),
        caller=caller,
        tell=tell,
        lease_seconds=LEASE,
    )


@dataclass
class RigsMemory:
    rig: Rig

    def figures(self) -> NodeMemory:
        return NodeMemory(self.rig.memory.room, self.rig.memory.ceiling, 0)


class SeveralWorkers(SlotManager):
    """Connections spread over workers, each of which has its own manager; admins ask now the one, now the other."""

    def __init__(self, managers: list[RedisSlotManager]) -> None:
        self._turns = cycle(managers)
        self._of: dict[tuple[str, str], RedisSlotManager] = {}
        self._managers = managers

    def _whose(self, upload_id: str, owner: str) -> RedisSlotManager:
        return self._of.get((upload_id, owner), self._managers[0])

    async def acquire(self, claim: Claim) -> Granted | Waiting:
        manager = self._of.setdefault((claim.upload_id, claim.owner), next(self._turns))
        return await manager.acquire(claim)

    async def standing(self, upload_id: str, owner: str) -> Standing:
        return await self._whose(upload_id, owner).standing(upload_id, owner)

    async def standings(self, holders: Sequence[tuple[str, str]]) -> list[Standing]:
        return [await self.standing(*holder) for holder in holders]

    async def changed(self, upload_id: str, owner: str, timeout: float) -> bool:
        return await self._whose(upload_id, owner).changed(upload_id, owner, timeout)

    async def renew(self, holders: Iterable[tuple[str, str]]) -> set[str]:
        own: dict[RedisSlotManager, list[tuple[str, str]]] = {manager: [] for manager in self._managers}
        for holder in holders:
            own[self._whose(*holder)].append(holder)
        return set().union(*[await manager.renew(theirs) for manager, theirs in own.items()])

    async def release(self, upload_id: str, owner: str) -> bool:
        return await self._whose(upload_id, owner).release(upload_id, owner)

    async def detach(self, upload_id: str, owner: str, seconds: float) -> None:
        await self._whose(upload_id, owner).detach(upload_id, owner, seconds)

    async def postpone(self, upload_id: str, owner: str, seconds: float) -> bool:
        return await self._whose(upload_id, owner).postpone(upload_id, owner, seconds)

    async def take_away(self, upload_id: str) -> bool:
        return await next(self._turns).take_away(upload_id)

    async def pause(self, upload_id: str) -> bool:
        return await next(self._turns).pause(upload_id)

    async def unpause(self, upload_id: str) -> bool:
        return await next(self._turns).unpause(upload_id)

    async def to_front(self, upload_id: str) -> bool:
        return await next(self._turns).to_front(upload_id)

    async def tick(self) -> None:
        await next(self._turns).tick()

    async def find_all(self, upload_ids: Sequence[str]) -> dict[str, LeaseView | TicketView]:
        return await next(self._turns).find_all(upload_ids)

    async def snapshot(self) -> SlotSnapshot:
        return await next(self._turns).snapshot()

    async def check(self) -> list[str]:
        return await next(self._turns).check()

    async def repair(self) -> list[str]:
        return await next(self._turns).repair()

    async def close(self) -> None:
        for manager in self._managers:
            await manager.close()


def several_workers_rig(url: str) -> Rig:
    """Three workers on one node and one Redis, who hear what they tell each other at once."""
    rig = redis_rig(url)
    managers: dict[str, RedisSlotManager] = {}

    def tell(others: Mapping[str, Sequence[str]]) -> None:
        for worker, uploads in others.items():
            managers[worker].heard(uploads)

    for name in ("one", "two", "three"):
        managers[name] = redis_manager(url, rig, Caller("here", name), tell)
    rig.manager = SeveralWorkers(list(managers.values()))
    return rig


BACKENDS = ("memory", "redis", "redis, several workers")


def make_rig(backend: str, request: pytest.FixtureRequest) -> Rig:
    """A backend with nothing in it. Redis: of the fixture `private_redis`."""
    if backend == "memory":
        return memory_rig()
    url = request.getfixturevalue("private_redis").url
    return redis_rig(url) if backend == "redis" else several_workers_rig(url)
