"""Wake-ups between workers through the channel layer, which may lose them: whoever hears one looks for himself."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

PAUSE_SECONDS = 1.0
LAST_WORDS_SECONDS = 2.0
LAYER_ERRORS = (RedisError, OSError, ChannelFull)

log = structlog.get_logger(__name__)


def _group(worker: str) -> str:
    return f"slots.{worker}"


class Hints:
    """Tells other workers which of their uploads to look at, and passes on to `heard` what they tell `worker`."""

    def __init__(self, worker: str, heard: Callable[[Sequence[str]], None]) -> None:
        self._worker, self._heard = worker, heard
        self._untold: dict[str, set[str]] = {}
        self._telling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    def tell(self, others: Mapping[str, Sequence[str]]) -> None:
        """Tell each of these workers of its uploads, soon; what comes meanwhile goes with the next message."""
        for worker, uploads in others.items():
            self._untold.setdefault(worker, set()).update(uploads)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    def listen(self) -> None:
        """Listen until `stop`; more calls change nothing."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())

    def rest(self) -> None:
        """Listen no longer."""
        if self._listening is not None:
            self._listening.cancel()

    async def stop(self) -> None:
        """For good, once those who are to be told have been told."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=LAST_WORDS_SECONDS)
        for task in (self._listening, self._telling):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

    async def _tell(self) -> None:
        layer = get_channel_layer()
        while self._untold:
            worker, uploads = self._untold.popitem()
            try:
                await layer.group_send(_group(worker), {"type": "slots.changed", "uploads": sorted(uploads)})
            except LAYER_ERRORS as error:
                log.warning("slot_hint_lost", cause=str(error))

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except LAYER_ERRORS as error:
                log.warning("slot_hints_unheard", cause=str(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _hear(self) -> None:
        layer: Any = get_channel_layer()
        channel = await layer.new_channel()
        try:
            await layer.group_add(_group(self._worker), channel)
            while True:
                self._heard((await layer.receive(channel)).get("uploads", ()))
        finally:
            with contextlib.suppress(*LAYER_ERRORS):
                await layer.group_discard(_group(self._worker), channel)
