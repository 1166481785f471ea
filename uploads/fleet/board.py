"""Where workers leave their reports: in Redis, each for a few seconds.

Keys, all with one hash tag: `workers`, the set of names; `worker:NAME`, a report that lapses; `idle:UPLOAD`, the idle
clock of an upload between two of its connections, which may be on different workers.
"""

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar, cast

from channels_redis.utils import create_pool
from redis.asyncio import Redis
from redis.exceptions import RedisError

from uploads.fleet.report import Report, loads

TAG = "{directdrivex.fleet}"
REPORT_SECONDS = 5
ANSWER_SECONDS = 2.0

T = TypeVar("T")


class BoardError(Exception):
    """Redis cannot be reached."""


class Board:
    """`host` is one of the channel layer's hosts, as `channels_redis` reads them. All methods raise `BoardError`."""

    def __init__(self, host: Mapping[str, Any]) -> None:
        self._redis = Redis(connection_pool=create_pool(dict(host)))

    async def post(self, report: Report) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.sadd(f"{TAG}:workers", report.worker)
            pipe.set(f"{TAG}:worker:{report.worker}", report.dumps(), ex=REPORT_SECONDS)
            await self._bounded(pipe.execute())

    async def withdraw(self, worker: str) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.srem(f"{TAG}:workers", worker)
            pipe.delete(f"{TAG}:worker:{worker}")
            await self._bounded(pipe.execute())

    async def reports(self) -> list[Report]:
        """Those of all workers that were heard of within a few seconds; the names of others are forgotten."""
        members = cast("Awaitable[set[bytes]]", self._redis.smembers(f"{TAG}:workers"))
        names = sorted(name.decode() for name in await self._bounded(members))
        if not names:
            return []
        texts = await self._bounded(self._redis.mget([f"{TAG}:worker:{name}" for name in names]))
        gone = [name for name, text in zip(names, texts, strict=True) if text is None]
        if gone:
            await self._bounded(cast("Awaitable[int]", self._redis.srem(f"{TAG}:workers", *gone)))
        return [report for text in texts if text is not None and (report := loads(text)) is not None]

    async def keep_idle(self, upload_id: str, offset: int, since: float, seconds: float) -> None:
        text = json.dumps([offset, since])
        await self._bounded(self._redis.set(f"{TAG}:idle:{upload_id}", text, px=max(1, round(1000 * seconds))))

    async def take_idle(self, upload_id: str) -> tuple[int, float] | None:
        text = await self._bounded(self._redis.getdel(f"{TAG}:idle:{upload_id}"))
        return tuple(json.loads(text)) if text else None

    async def close(self) -> None:
        await self._redis.aclose(close_connection_pool=True)

    async def _bounded(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except (RedisError, OSError, TimeoutError) as error:
            raise BoardError(str(error) or f"no answer within {ANSWER_SECONDS:g} s") from error
