"""The channel layer on Redis, whose calls take bounded time and can be cancelled at any moment."""

import asyncio
import logging
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import RedisError

SECONDS = 2.0  # the longest wait for Redis to take a message or a subscription


def _in_one_line(record: logging.LogRecord) -> bool:
    """Its receiver tries again every second while Redis is away: each time one line is enough."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (RedisError, OSError)):
        record.msg, record.args, record.exc_info = "The channel layer hears nothing: %s", (str(error),), None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


logging.getLogger("channels_redis.pubsub").addFilter(_in_one_line)


class PatientRedisLayer(RedisPubSubChannelLayer):
    """Raises `TimeoutError` where Redis does not answer in time, besides redis-py's own errors.

    Pub/sub, in which a channel that is waited on survives a Redis that goes away and comes back. redis-py's own bound
    (`socket_timeout`) would not do: it is kept by `wait_for`, which can swallow a cancellation.
    """

    async def new_channel(self, prefix: str = "specific.") -> str:
        async with asyncio.timeout(SECONDS):
            name: str = await self._get_layer().new_channel(prefix)
        return name

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        async with asyncio.timeout(SECONDS):
            await self._get_layer().send(channel, message)

    async def group_add(self, group: str, channel: str) -> None:
        async with asyncio.timeout(SECONDS):
            await self._get_layer().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        async with asyncio.timeout(SECONDS):
            await self._get_layer().group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        async with asyncio.timeout(SECONDS):
            await self._get_layer().group_send(group, message)
