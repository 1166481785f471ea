"""The counts of `rates.py` for all workers together: in Redis, by the moving window of `limits`.

While Redis is away each worker counts by itself: a limit that is looser for a minute does less harm than none, or than
a closed door.
"""

import asyncio
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import structlog
from channels_redis.utils import create_pool
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from uploads.rates import WINDOW_SECONDS, MemoryRateStore

PREFIX = "{directdrivex.rates}"
ANSWER_SECONDS = 1.0
AWAY_SECONDS = 5.0  # after a failure Redis is not asked for so long

log = structlog.get_logger(__name__)


class SharedRateStore:
    """`host` is one of the channel layer's hosts, as `channels_redis` reads them."""

    def __init__(self, host: Mapping[str, Any], window_seconds: float = WINDOW_SECONDS) -> None:
        self._host, self._window_seconds = dict(host), round(window_seconds)
        self._own = MemoryRateStore()
        self._ask_again_at = 0.0

    @cached_property
    def _limiter(self) -> MovingWindowRateLimiter:
        # Made on first use: connections belong to the event loop.
        pool: Any = create_pool(self._host)
        storage = RedisStorage("redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)
        return MovingWindowRateLimiter(storage)

    async def take(self, key: str, limit: int) -> float:
        if time.monotonic() >= self._ask_again_at:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    return await self._take(key, limit)
            except (RedisError, OSError, TimeoutError) as error:
                self._ask_again_at = time.monotonic() + AWAY_SECONDS
                log.warning("rates_counted_alone", cause=str(error))
        return await self._own.take(key, limit)

    async def _take(self, key: str, limit: int) -> float:
        item = RateLimitItemPerSecond(limit, self._window_seconds)
        if await self._limiter.hit(item, key):
            return 0.0
        stats = await self._limiter.get_window_stats(item, key)
        return max(0.001, stats.reset_time - time.time())
