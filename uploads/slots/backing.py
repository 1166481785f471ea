"""Where the slots of this process are kept: in its own memory, or in the Redis of the channel layer."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog
from channels_redis.utils import decode_hosts
from django.conf import settings

from quotas.rules import SlotLimits
from uploads.slots.admission import Admission, node_name
from uploads.slots.control import ControlServer, InUseError, Slots
from uploads.slots.hints import Hints
from uploads.slots.manager import SlotManager, SlotsUnavailableError
from uploads.slots.memory import MemorySlotManager
from uploads.slots.redis import Caller, RedisSlotManager
from uploads.slots.runs import DatabaseRuns
from uploads.slots.store import Store

REDIS_SECONDS = 2.0
# What promise 9 of docs/slots.md asks of Redis, by the names in which it reports them.
REDIS_SETTINGS = {"maxmemory_policy": "noeviction", "aof_enabled": 1}

log = structlog.get_logger(__name__)


class Backing(Protocol):
    """A slot manager, and what this process does for it from its first upload to its last."""

    manager: SlotManager
    node: str

    async def open(self) -> None:
        """Before the first upload comes. Raises `SlotsUnavailableError`."""

    async def anything_left(self) -> bool:
        """Is there anything that only this process looks after?"""

    def rest(self) -> None:
        """No upload is left."""

    async def stop(self) -> None:
        """For good."""


class InMemory:
    """The slots of one process, which has the lock of its data folder while they are in use."""

    node = ""

    def __init__(
        self, limits: Callable[[], SlotLimits], admission: Admission, lease_seconds: float, slots: Slots
    ) -> None:
        self.manager: SlotManager = MemorySlotManager(limits, admission, lease_seconds=lease_seconds)
        self._control = ControlServer(slots, settings.DATA_DIR)

    async def open(self) -> None:
        try:
            await self._control.open()
        except InUseError as error:
            log.error("slots_of_another_server", cause=str(error))
            raise SlotsUnavailableError(str(error)) from error

    async def anything_left(self) -> bool:
        state = await self.manager.snapshot()
        return bool(state.leases or state.tickets)

    def rest(self) -> None:
        self._control.close()

    async def stop(self) -> None:
        self._control.close()


class InRedis:
    """The slots of all workers. One that only looks on has no node and hears no hints."""

    def __init__(
        self,
        host: Mapping[str, Any],
        limits: Callable[[], SlotLimits],
        admission: Admission,
        lease_seconds: float,
        *,
        looks_on: bool,
    ) -> None:
        self.node = "" if looks_on else node_name()
        worker = "" if looks_on else secrets.token_hex(8)
        self._store = Store(host, seconds=min(REDIS_SECONDS, max(1.0, lease_seconds / 6)))
        self._hints = Hints(worker, lambda uploads: manager.heard(uploads))
        manager = RedisSlotManager(
            self._store,
            limits,
            admission,
            DatabaseRuns(),
            caller=Caller(self.node, worker),
            tell=self._hints.tell,
            lease_seconds=lease_seconds,
        )
        self.manager: SlotManager = manager
        self._asked_for_settings = False

    async def open(self) -> None:
        if not self._asked_for_settings:
            found = await self._store.settings()
            self._asked_for_settings = True
            for name, wanted in REDIS_SETTINGS.items():
                if found.get(name, wanted) != wanted:
                    log.warning("redis_may_forget_slots", setting=name, found=found[name], wanted=wanted)
        self._hints.listen()

    async def anything_left(self) -> bool:
        return False  # the others look after what they have; what nobody has lapses at anybody's next call

    def rest(self) -> None:
        self._hints.rest()

    async def stop(self) -> None:
        await self._hints.stop()
        await self.manager.close()


def redis_host() -> Mapping[str, Any] | None:
    """The Redis of the channel layer, as `channels_redis` reads it; None where the layer is in memory."""
    layer: Any = settings.CHANNEL_LAYERS["default"]
    hosts = layer.get("CONFIG", {}).get("hosts")
    return decode_hosts(hosts)[0] if hosts else None
