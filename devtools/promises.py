"""What trials hold the program to: a broken promise ends them, and says which."""

import asyncio
import time

import psutil

from devtools.server_process import ServerProcess


class TrialFailedError(Exception):
    """A promise was broken; the message says which."""


def expect(true: bool, promise: str) -> None:
    """Raise `TrialFailedError` with this promise unless it is kept."""
    if not true:
        raise TrialFailedError(promise)


def open_files(server: ServerProcess) -> list[str]:
    """The files of the storage that the server has open."""
    storage = str(server.data_dir / "storage")
    return [file.path for file in psutil.Process(server.pid).open_files() if file.path.startswith(storage)]


async def nothing_is_open(server: ServerProcess, *, within: float) -> None:
    """No file of the storage stays open for a client that has gone; `within` seconds. Raises `TrialFailedError`."""
    deadline = time.monotonic() + within
    while files := open_files(server):
        expect(time.monotonic() < deadline, f"the server still has {files} open")
        await asyncio.sleep(0.05)
