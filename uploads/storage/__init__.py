"""Where files rest. `get_store()` is the store for new files, `store_of(file)` the one that a file was begun in.

Everything else asks the port in `base`; which store there is behind which name is said here alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Protocol, TypeVar

from uploads.storage.base import Store

AT_ONCE = 4
LOCAL, GDRIVE = "local", "gdrive"

K = TypeVar("K")
T = TypeVar("T")


class Stored(Protocol):
    @property
    def storage(self) -> str: ...


@cache
def get_store() -> Store:
    """The store of this process for new files, which the settings name."""
    from django.conf import settings

    return _make(settings.STORAGE)


def store_of(file: Stored) -> Store:
    """The store that this file's bytes are in: those of before a change of the settings stay where they are."""
    return store_named(file.storage)


def store_named(name: str) -> Store:
    store = get_store()
    return store if store.name == name else _other(name)


async def close_stores() -> None:
    """Before the process, or its event loop, ends."""
    for store in (get_store(), *_others.values()):
        await store.close()


_others: dict[str, Store] = {}


def _other(name: str) -> Store:
    if name not in _others:
        _others[name] = _make(name)
    return _others[name]


def _make(name: str) -> Store:
    from django.conf import settings

    if name == LOCAL:
        from uploads.storage.local import LocalStore

        return LocalStore(settings.DATA_DIR / "storage", settings.LOCAL_FREE_SPACE_FLOOR_BYTES)
    if name == GDRIVE:
        from uploads.storage.gdrive.wiring import make_store

        return make_store()
    raise ValueError(f"there is no storage named {name!r}")


async def for_each(items: Iterable[K], call: Callable[[K], Awaitable[T]]) -> list[T]:
    """What `call` of a store says to each of these items, in their order.

    A few are under way at a time: what moves the bytes of uploads waits for the same threads. Raises what one raises.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: K) -> T:
        async with gate:
            return await call(item)

    return list(await asyncio.gather(*map(one, items)))
