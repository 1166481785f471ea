"""How much of what was sent to a client is still in the hands of this machine."""

import fcntl
import socket
import struct
import sys
import termios


def unacknowledged(connection: socket.socket) -> int:
    """Bytes that the operating system holds for this client; 0 where it does not say."""
    if sys.platform != "linux":
        return 0
    try:
        (held,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # it is closed, or of a kind that tells nothing
        return 0
    return int(held)
