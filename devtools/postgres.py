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
from devtools.processes import bound_to_parent, end

START_SECONDS = 60.0
START_TRIES = 5  # a free port may be taken between our look and PostgreSQL's own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PrivatePostgres:
    """Starts on construction; `url` is for DATABASE_URL. Raises `MissingToolError` where there is no PostgreSQL."""

    def __init__(self) -> None:
        initdb, self._program = postgresql("initdb"), postgresql("postgres")
        self._folder = Path(tempfile.mkdtemp(prefix="directdrivex-postgres-"))
        self._data = self._folder / "data"
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

    def _start(self) -> None:
        for _ in range(START_TRIES):
            self.port = free_port()
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": self.port,
                "unix_socket_directories": "",
                "max_connections": 200,
                # The data dies with the run: nothing needs to survive a power cut.
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
            }
            command = [self._program, "-D", str(self._data)]
            command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdout=log, stderr=log, cwd=self._folder, **self._user, **bound_to_parent()
                )
            if self._is_up():
                return
        raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def _is_up(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if "ready to accept connections" in (self._folder / "log").read_text():
                return True
            time.sleep(0.05)
        end(self._process)
        return False

    def stop(self) -> None:
        end(self._process, by=signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)
