"""Where files rest. `get_store()` gives the store that the settings name; everything else asks the port in `base`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import TypeVar

from uploads.storage.base import Store

AT_ONCE = 4

T = TypeVar("T")


@cache
def get_store() -> Store:
    """The one store of this process."""
    from django.conf import settings

    from uploads.storage.local import LocalStore

    return LocalStore(settings.DATA_DIR / "storage", settings.LOCAL_FREE_SPACE_FLOOR_BYTES)


async def for_each(keys: Iterable[str], call: Callable[[str], Awaitable[T]]) -> list[T]:
    """What `call` of the store says to each of these keys, in their order.

    A few are under way at a time: what moves the bytes of uploads waits for the same threads. Raises what one raises.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(key: str) -> T:
        async with gate:
            return await call(key)

    return list(await asyncio.gather(*map(one, keys)))
