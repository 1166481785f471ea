"""One worker's connection to the Redis that keeps the slots: a script and its answer, within bounded time."""

import asyncio
from collections.abc import Mapping
from typing import Any

from channels_redis.utils import create_pool
from redis.asyncio import Redis
from redis.exceptions import RedisError

from uploads.slots import scripts
from uploads.slots.manager import SlotsUnavailableError

LINES = 8  # connections at most; a call takes a fraction of a millisecond


class Store:
    """`host` is one of the channel layer's hosts, as `channels_redis` reads them; an answer takes at most `seconds`.

    All scripts have the keys of `scripts.KEYS`. A second try of a call whose connection broke changes nothing more.
    """

    def __init__(self, host: Mapping[str, Any], *, seconds: float, clock: str | None = None) -> None:
        # redis-py would keep this bound by `wait_for`, which can swallow a cancellation.
        self._client = Redis(connection_pool=create_pool({**host, "socket_timeout": None}))
        self._scripts = {verb: self._client.register_script(scripts.compose(verb, clock)) for verb in scripts.VERBS}
        self._seconds, self._lines = seconds, asyncio.Semaphore(LINES)

    async def call(self, verb: str, arguments: list[str | int]) -> list[Any]:
        """Run the script of this verb. Raises `SlotsUnavailableError` where Redis does not do it in time."""
        try:
            async with asyncio.timeout(self._seconds), self._lines:
                answer: list[Any] = await self._scripts[verb](keys=scripts.KEYS, args=arguments)
        except TimeoutError as error:
            raise SlotsUnavailableError(f"Redis gave no answer within {self._seconds:g} s") from error
        except (RedisError, OSError) as error:
            raise SlotsUnavailableError(str(error)) from error
        return answer

    async def settings(self) -> Mapping[str, Any]:
        """What Redis says of its memory and persistence. Raises `SlotsUnavailableError`."""
        try:
            async with asyncio.timeout(self._seconds):
                return {**await self._client.info("memory"), **await self._client.info("persistence")}
        except TimeoutError as error:
            raise SlotsUnavailableError(f"Redis gave no answer within {self._seconds:g} s") from error
        except (RedisError, OSError) as error:
            raise SlotsUnavailableError(str(error)) from error

    async def close(self) -> None:
        await self._client.aclose(close_connection_pool=True)
