"""A private PostgreSQL for one test run: own folder, own port on loopback, own password, gone at the end."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from devtools.machine import postgresql
from devtools.processes import bound_to_parent, end, tree

START_SECONDS = 60.0
START_TRIES = 5  # a free port may be taken between our look and PostgreSQL's own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PrivatePostgres:
    """Starts on construction; `url` is for DATABASE_URL. Raises `MissingToolError` where there is no PostgreSQL.

    `settings` are the server's own, by their names.
    """

    def __init__(self, **settings: str) -> None:
        self._settings = settings
        initdb, self._program = postgresql("initdb"), postgresql("postgres")
        self._folder = Path(tempfile.mkdtemp(prefix="directdrivex-postgres-"))
        self._data, self._log = self._folder / "data", self._folder / "log"
        # initdb refuses root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self._folder, "nobody")
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        password = secrets.token_urlsafe(16)
        pwfile = self._folder / "password"
        pwfile.write_text(password)
        subprocess.run(
            [
                *(initdb, "--encoding=UTF8", "--locale=C", "--no-sync", "--auth=scram-sha-256"),
                *(f"--pgdata={self._data}", "--username=test", f"--pwfile={pwfile}"),
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )
        self._start()
        self.url = f"postgres://test:{password}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        return self._process.pid

    def _start(self) -> None:
        for _ in range(START_TRIES):
            self.port = free_port()
            if self._runs():
                return
        raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}")

    def _runs(self) -> bool:
        """Start on `port`; whether it came up."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            # The data dies with the run: nothing needs to survive a power cut.
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            **self._settings,
        }
        command = [self._program, "-D", str(self._data)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        seen = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, **self._user, **bound_to_parent()
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if b"ready to accept connections" in self._log.read_bytes()[seen:]:
                return True
            time.sleep(0.05)
        end(self._process)
        return False

    # --- for tests of what happens without it ---

    def freeze(self) -> None:
        """It takes connections, as the kernel does that, and answers nothing until `thaw`."""
        for process in tree(self._process.pid):
            process.suspend()

    def thaw(self) -> None:
        for process in tree(self._process.pid):
            process.resume()

    def halt(self) -> None:
        """It is gone: connections break, and new ones are refused, until `revive`."""
        end(self._process, by=signal.SIGINT)  # by SIGQUIT it would lose what it said was committed: see its settings

    def revive(self) -> None:
        """The same data on the same port again."""
        if not self._runs():
            raise RuntimeError(f"PostgreSQL did not come back: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        end(self._process, by=signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)
