"""The hint that limits have changed. It may be lost: whoever goes by the limits also reads them at each poll."""

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

LIMITS_GROUP = "limits"


def limits_changed() -> None:
    """Tell every process that limits have changed, so that a raised one wakes the line at once."""
    async_to_sync(get_channel_layer().group_send)(LIMITS_GROUP, {"type": "limits.changed"})
