"""What workers tell each other of uploads, through the channel layer. A hint may be lost: nothing rests on it alone.

Every worker listens once, for all its connections, in one group: a subscription for each connection would cost the
layer a call at every handshake, and end all uploads together with the layer.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn
from uuid import UUID

import structlog
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

GROUP = "uploads"
# For consumers, which would end together with the layer if they listened to it.
NO_CHANNEL_LAYER = "none"
# What a channel layer fails with.
LAYER_ERRORS = (RedisError, OSError, ChannelFull)

log = structlog.get_logger(__name__)


async def tell(upload_id: UUID | str, epoch: int | None = None) -> None:
    """Tell the connections of this upload, on whichever worker, to read its row again; not that of `epoch`."""
    message = {"type": "upload.changed", "upload_id": str(upload_id), "epoch": epoch}
    try:
        await get_channel_layer().group_send(GROUP, message)
    except LAYER_ERRORS as error:
        log.warning("hint_not_sent", file=str(upload_id), cause=str(error))


async def listen(heard: Callable[[str, int | None], None], ready: Callable[[], None]) -> NoReturn:
    """Pass hints on to `heard` until cancelled; `ready` is called when none goes past it. Raises `LAYER_ERRORS`."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    try:
        await layer.group_add(GROUP, channel)
        ready()
        while True:
            message = await layer.receive(channel)
            # Of another release, perhaps: what it lacks is found by the poll.
            heard(str(message.get("upload_id")), message.get("epoch"))
    finally:
        with suppress(*LAYER_ERRORS):
            await layer.group_discard(GROUP, channel)
