"""The counts of `rates.py` for all workers together: in Redis, by the moving window of `limits`.

While Redis is away each worker counts by itself: a limit that is looser for a minute does less harm than none, or than
a closed door.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any, TypeVar

import structlog
from channels_redis.utils import create_pool
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from uploads.rates import WINDOW_SECONDS, MemoryRateStore

PREFIX = "{directdrivex.rates}"
ANSWER_SECONDS = 1.0
AWAY_SECONDS = 5.0  # after a failure Redis is not asked for so long

T = TypeVar("T")
log = structlog.get_logger(__name__)


class SharedRateStore:
    """`host` is one of the channel layer's hosts, as `channels_redis` reads them."""

    def __init__(self, host: Mapping[str, Any]) -> None:
        self._host = dict(host)
        self._own = MemoryRateStore()
        self._ask_again_at = 0.0

    @cached_property
    def _storage(self) -> RedisStorage:
        # Made on first use: connections belong to the event loop.
        pool: Any = create_pool(self._host)
        return RedisStorage("redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)

    @cached_property
    def _limiter(self) -> MovingWindowRateLimiter:
        return MovingWindowRateLimiter(self._storage)

    async def take(self, key: str, limit: int, window: float = WINDOW_SECONDS, *, cost: int = 1) -> float:
        asked = self._take(key, _item(limit, window), min(cost, limit))
        return await self._first(asked, lambda: self._own.take(key, limit, window, cost=cost))

    async def counted(self, key: str, limit: int, window: float = WINDOW_SECONDS) -> int:
        asked = self._counted(key, _item(limit, window))
        return await self._first(asked, lambda: self._own.counted(key, limit, window))

    async def take_back(self, key: str, limit: int, window: float = WINDOW_SECONDS) -> None:
        asked = self._take_back(key, _item(limit, window))
        await self._first(asked, lambda: self._own.take_back(key, limit, window))

    async def _first(self, shared: Coroutine[Any, Any, T], alone: Callable[[], Awaitable[T]]) -> T:
        """What Redis answers, or what this worker knows by itself while Redis is away."""
        if time.monotonic() >= self._ask_again_at:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await shared
            except (RedisError, OSError, TimeoutError) as error:
                self._ask_again_at = time.monotonic() + AWAY_SECONDS
                log.warning("rates_counted_alone", cause=str(error))
        shared.close()
        return await alone()

    async def _take(self, key: str, item: RateLimitItem, cost: int) -> float:
        if await self._limiter.hit(item, key, cost=cost):
            return 0.0
        # The library tells when the oldest is over, which is not enough for what costs more than one.
        last_in_the_way = await self._times.lindex(self._prefixed(key, item), item.amount - cost)
        return max(0.001, float(last_in_the_way or 0) + item.get_expiry() - time.time())

    async def _counted(self, key: str, item: RateLimitItem) -> int:
        return item.amount - (await self._limiter.get_window_stats(item, key)).remaining

    async def _take_back(self, key: str, item: RateLimitItem) -> None:
        # The library takes nothing back.
        await self._times.lpop(self._prefixed(key, item))

    @property
    def _bridge(self) -> Any:  # of the library's two only that of redis-py has a connection to ask for
        return self._storage.bridge

    @property
    def _times(self) -> Any:
        """A connection to where the library's windows are lists of times, the last of which stands first."""
        return self._bridge.get_connection()

    def _prefixed(self, key: str, item: RateLimitItem) -> str:
        return str(self._bridge.prefixed_key(item.key_for(key)))


def _item(limit: int, window: float) -> RateLimitItem:
    return RateLimitItemPerSecond(limit, round(window))
