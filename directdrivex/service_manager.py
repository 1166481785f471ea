"""What systemd is told of the program, where it started it: its protocol is one datagram to NOTIFY_SOCKET."""

import os
import socket


def tell(state: str) -> None:
    """Tell `READY=1` or `STOPPING=1`; nothing where no service manager asked to be told. Raises `OSError`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace of Linux
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), address)
