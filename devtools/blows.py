"""What can befall a server while uploads run: functions that strike and mend again, which `make trials` mixes."""

import asyncio
import errno
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from devtools.client import Client, Upload
from devtools.faulty_server import FaultyServer
from devtools.postgres import PrivatePostgres

DISK_CALLS = (("pwritev",), ("fsync",), ("open",), ("replace",), ("pwritev", "fsync", "open", "replace", "fdatasync"))
DISK_ERRORS = (errno.EIO, errno.ENOSPC)
HOUR = 3600


class CutClient(Client):
    """A client whose connections can be cut, as when the network goes away: nobody says goodbye."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self._sockets: set[Any] = set()

    def connect(self, upload: Upload) -> Any:
        return self._remembered(super().connect(upload))

    @asynccontextmanager
    async def _remembered(self, connecting: Any) -> Any:
        async with connecting as socket:
            self._sockets.add(socket)
            try:
                yield socket
            finally:
                self._sockets.discard(socket)

    def cut(self) -> None:
        for socket in self._sockets:
            socket.transport.abort()


@dataclass
class Field:
    """What is struck."""

    server: FaultyServer
    client: CutClient
    postgres: PrivatePostgres | None = None


@dataclass(frozen=True)
class Blow:
    """Strikes once `at` bytes are stored, or with the first `verifying` where that is more than all; for `seconds`.

    `seed` is for what else there is to choose.
    """

    at: int
    kind: str
    seconds: float
    seed: int = 0


async def kill(field: Field, blow: Blow) -> None:
    """kill -9, and a start."""
    field.server.kill()
    await asyncio.to_thread(field.server.restart)


async def stop(field: Field, blow: Blow) -> None:
    """SIGSTOP, and SIGCONT."""
    field.server.freeze()
    await asyncio.sleep(blow.seconds)
    field.server.thaw()


async def cut(field: Field, blow: Blow) -> None:
    """Every connection breaks at once."""
    field.client.cut()


async def break_disk(field: Field, blow: Blow) -> None:
    """Some or all calls of the disk fail."""
    random_ = random.Random(blow.seed)
    await _order(field.server.fail, *random_.choice(DISK_CALLS), errno=random_.choice(DISK_ERRORS))
    await asyncio.sleep(blow.seconds)
    await _order(field.server.mend)


async def slow_disk(field: Field, blow: Blow) -> None:
    """Every write and sync takes 100 ms more."""
    await _order(field.server.fail, "pwritev", "fsync", "fdatasync", seconds=0.1)
    await asyncio.sleep(blow.seconds)
    await _order(field.server.mend)


async def block(field: Field, blow: Blow) -> None:
    """The event loop stands still."""
    await _order(field.server.block_loop, blow.seconds)
    await asyncio.sleep(blow.seconds)


async def step_clock(field: Field, blow: Blow) -> None:
    """The wall clock is hours off, and then right again."""
    await _order(field.server.step_clock, random.Random(blow.seed).choice((-10, -1, 1, 10)) * HOUR)
    await asyncio.sleep(blow.seconds)
    await _order(field.server.mend)


async def lose_database(field: Field, blow: Blow) -> None:
    """SQLite is locked by another process; PostgreSQL answers no more (an even seed), or is gone (an odd one)."""
    if field.postgres is None:
        path = field.server.data_dir / "directdrivex.sqlite3"
        other = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        try:
            await asyncio.to_thread(other.execute, "BEGIN EXCLUSIVE")
            await asyncio.sleep(blow.seconds)
        finally:
            other.close()
    elif blow.seed % 2 == 0:
        await asyncio.to_thread(field.postgres.freeze)
        await asyncio.sleep(blow.seconds)
        await asyncio.to_thread(field.postgres.thaw)
    else:
        await asyncio.to_thread(field.postgres.halt)
        await asyncio.sleep(blow.seconds)
        await asyncio.to_thread(field.postgres.revive)


async def _order(order: Callable[..., None], *arguments: Any, **more: Any) -> None:
    """The program may have to be waited for: its event loop, and this one, go on meanwhile."""
    await asyncio.to_thread(order, *arguments, **more)


@dataclass(frozen=True)
class Kind:
    """How a blow strikes, how often beside the others, for how many seconds at most, and what uploads may be told."""

    strike: Callable[[Field, Blow], Awaitable[None]]
    weight: int
    seconds: float
    codes: frozenset[str] = frozenset()


KINDS = {
    "kill": Kind(kill, 8, 0),
    "stop": Kind(stop, 3, 2),
    "cut": Kind(cut, 4, 0),
    "broken disk": Kind(break_disk, 4, 1, frozenset({"storage_full", "storage_unavailable"})),
    "slow disk": Kind(slow_disk, 2, 1),
    "blocked loop": Kind(block, 2, 2),
    "stepped clock": Kind(step_clock, 2, 1),
    "lost database": Kind(lose_database, 3, 2, frozenset({"internal"})),
}


def drawn(random_: random.Random, size: int) -> Blow:
    """A blow by chance, on an upload of `size` bytes; one in ten comes while it is verified."""
    [name] = random_.choices(list(KINDS), [kind.weight for kind in KINDS.values()])
    at = min(random_.randrange(0, int(size * 1.1) + 2), size + 1)
    return Blow(at, name, random_.uniform(0.1, 1) * KINDS[name].seconds, random_.randrange(2**32))
