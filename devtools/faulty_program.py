"""`manage.py` on a machine that fails on demand, for tests and trials: `python -m devtools.faulty_program serve`.

The product knows nothing of it: calls of the operating system are wrapped before the program is loaded, and steered
over a loopback port that is written to the file FAULTS_PORT_FILE. See `devtools/faulty_server.py` for the other side.

One line of JSON each way: a whole state in, `{}` out once it is in force. Its members, all optional:

    calls       {"pwritev": {"errno": 28, "seconds": 0.2, "path": "/partial/", "spare": 3}, …}: each such call on a
                path with that in it first sleeps (until the next order at most), then raises; the first `spare` ones
                go well
    sqlite      an sqlite error name such as SQLITE_FULL, raised by all that writes
    free        bytes that the disk says are free
    available   bytes of memory that the machine says it has
    clock       seconds that the wall clock is off; the monotonic clock never is
    block       seconds that the event loop does nothing at all, once

FAULTS_PATIENCE shortens, in seconds, how long the program waits for its database.
"""

import json
import os
import signal
import socketserver
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import time_machine

from directdrivex.databases import breaker

_readlink, _sleep = os.readlink, time.sleep
BY_DESCRIPTOR = ("pwritev", "pwrite", "fsync", "fdatasync", "ftruncate", "pread", "fstat")
BY_PATH = ("open", "replace", "statvfs", "mkdir", "unlink", "stat")
READS = ("SELECT", "PRAGMA", "EXPLAIN", "ROLLBACK", "SAVEPOINT", "RELEASE")


class Machine:
    """The state in force, and what each wrapped call does by it."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self._met: dict[str, int] = {}
        self._guard = threading.Lock()
        self._another = threading.Event()
        self._clock: time_machine.travel | None = None
        self._main = threading.get_ident()

    def become(self, state: dict[str, Any]) -> None:
        self.state, self._met = state, {}
        self._another.set()
        self._another = threading.Event()
        self._step(state.get("clock", 0))
        if "block" in state:
            signal.pthread_kill(self._main, signal.SIGUSR1)

    def _step(self, seconds: float) -> None:
        if self._clock is not None:
            self._clock.stop()
            self._clock = None
        if seconds:
            self._clock = time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True)
            self._clock.start()

    def block(self, *_: object) -> None:
        """A handler of signals, which Python runs in the main thread: that of the event loop."""
        _sleep(self.state["block"])

    def meet(self, call: str, path: str) -> None:
        """What befalls this call. Raises `OSError`."""
        another, fault = self._another, self.state.get("calls", {}).get(call)
        if fault is None or fault.get("path", "/storage/") not in path:
            return
        with self._guard:
            self._met[call] = self._met.get(call, 0) + 1
            if self._met[call] <= fault.get("spare", 0):
                return
        another.wait(fault.get("seconds", 0))
        if fault.get("errno"):
            raise OSError(fault["errno"], os.strerror(fault["errno"]), path)

    def wrap_calls(self) -> None:
        for name in BY_DESCRIPTOR:
            self._wrap(name, _path_of_descriptor)
        for name in BY_PATH:
            self._wrap(name, str)

    def _wrap(self, name: str, path_of: Callable[[Any], str]) -> None:
        real = getattr(os, name)

        def wrapped(target: Any, *arguments: Any, **more: Any) -> Any:
            if name in self.state.get("calls", {}):
                self.meet(name, path_of(target))
            return real(target, *arguments, **more)

        setattr(os, name, wrapped)

    def wrap_free_space(self) -> None:
        real = os.statvfs

        def statvfs(path: Any) -> os.statvfs_result:
            state, free = real(path), self.state.get("free")
            if free is None:
                return state
            blocks = free // state.f_frsize
            return os.statvfs_result((*state[:3], blocks, blocks, *state[5:]))

        os.statvfs = statvfs

    def wrap_memory(self) -> None:
        real = psutil.virtual_memory

        def virtual_memory() -> Any:
            available = self.state.get("available")
            return real() if available is None else real()._replace(available=available)

        psutil.virtual_memory = virtual_memory

    def wrap_sqlite(self) -> None:
        from django.db.backends.sqlite3.base import SQLiteCursorWrapper

        def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
            def execute(cursor: Any, query: str, *parameters: Any) -> Any:
                name = self.state.get("sqlite")
                if name and not query.lstrip().upper().startswith(READS):
                    error = sqlite3.OperationalError(f"injected: {name}")
                    error.sqlite_errorname, error.sqlite_errorcode = name, getattr(sqlite3, name)
                    raise error
                return real(cursor, query, *parameters)

            return execute

        for method in ("execute", "executemany"):
            setattr(SQLiteCursorWrapper, method, wrap(getattr(SQLiteCursorWrapper, method)))


def _path_of_descriptor(descriptor: int) -> str:
    with suppress(OSError):
        return _readlink(f"/proc/self/fd/{descriptor}")
    return ""


def listen(machine: Machine, port_file: Path) -> None:
    """Take orders in a thread of its own; the port is in the file when orders are taken."""

    class Orders(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            machine.become(json.loads(self.rfile.readline()))
            self.wfile.write(b"{}\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Orders)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fresh = port_file.with_suffix(".new")
    fresh.write_text(str(server.server_address[1]))
    fresh.replace(port_file)


def main() -> None:
    machine = Machine()
    signal.signal(signal.SIGUSR1, machine.block)
    machine.wrap_free_space()
    machine.wrap_calls()
    machine.wrap_memory()
    machine.wrap_sqlite()
    if patience := os.environ.get("FAULTS_PATIENCE"):
        breaker.PATIENCE_SECONDS = breaker.TRY_SECONDS = float(patience)
    listen(machine, Path(os.environ["FAULTS_PORT_FILE"]))
    sys.argv[0] = "manage.py"
    from manage import main as manage

    manage()


if __name__ == "__main__":
    main()
