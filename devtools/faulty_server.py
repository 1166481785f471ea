"""The real program on a machine that fails on demand (`faulty_program.py`), and how a test makes it fail."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

import psutil

from devtools.server_process import ServerProcess

ORDER_SECONDS = 30.0


class FaultyServer(ServerProcess):
    """A `ServerProcess` whose machine can be made to fail; what is in force stays so over a restart."""

    def __init__(self, data_dir: Path, overrides: dict[str, str] | None = None) -> None:
        self._port_file = Path(data_dir) / "faults.port"
        overrides = {**(overrides or {}), "FAULTS_PORT_FILE": str(self._port_file)}
        super().__init__(data_dir, overrides, program=("-m", "devtools.faulty_program", "serve"))
        self.state: dict[str, Any] = {}

    def start(self) -> None:
        self._port_file.unlink(missing_ok=True)
        super().start()
        if self.state:
            self._order(self.state)

    # --- what fails ---

    def fail(self, *calls: str, errno: int = 0, seconds: float = 0.0, path: str = "/storage/", spare: int = 0) -> None:
        """From now on each of these calls on such a path first takes `seconds`, then fails, but for `spare` of them.

        The next order ends the sleep of those that sleep.
        """
        fault = {"errno": errno, "seconds": seconds, "path": path, "spare": spare}
        self._change(calls=self.state.get("calls", {}) | dict.fromkeys(calls, fault))

    def mend(self) -> None:
        """Nothing fails any longer, and the clock is right."""
        self.state = {}
        self._order({})

    def step_clock(self, seconds: float) -> None:
        """The wall clock is off by so much from now on; the monotonic clock is not."""
        self._change(clock=seconds)

    def fail_database(self, sqlite_error: str) -> None:
        """All that writes to SQLite fails with this error, such as SQLITE_FULL."""
        self._change(sqlite=sqlite_error)

    def leave_room(self, free: int) -> None:
        """The disk says that so many bytes are free."""
        self._change(free=free)

    def leave_memory(self, available: int) -> None:
        """The machine says that it has so many bytes of memory left."""
        self._change(available=available)

    def block_loop(self, seconds: float) -> None:
        """The event loop does nothing at all for so long, from now."""
        self._order({**self.state, "block": seconds})

    def freeze(self) -> None:
        """Stop the process (SIGSTOP) until `thaw`."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def limit_descriptors(self, most: int) -> int:
        """Let the process open no descriptor from `most` on; returns the limit before."""
        process = psutil.Process(self.pid)
        soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (most, hard))
        return int(soft)

    # --- looking on ---

    def threads(self) -> int:
        return psutil.Process(self.pid).num_threads()

    def descriptors(self) -> int:
        return psutil.Process(self.pid).num_fds()

    def _change(self, **more: Any) -> None:
        self.state = {**self.state, **more}
        self._order(self.state)

    def _order(self, state: dict[str, Any]) -> None:
        """Return when it is in force."""
        port = int(self._port_file.read_text())
        with socket.create_connection(("127.0.0.1", port), timeout=ORDER_SECONDS) as connection:
            connection.sendall(json.dumps(state).encode() + b"\n")
            answer = connection.makefile().readline()
        if answer != "{}\n":
            raise RuntimeError(f"the program did not take the order: {answer!r}")
