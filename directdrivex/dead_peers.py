"""Peers that went without a word: the kernel notices, whose acknowledgements wait behind nothing that is queued."""

import socket
from typing import Any

DEAD_PEER_SECONDS = 40.0


def end_without_acknowledgement(connection: Any, seconds: float = DEAD_PEER_SECONDS) -> None:
    """Have the kernel end this connection when its peer has acknowledged nothing of what was sent for so long."""
    if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
