"""A private Redis for one test run: own folder, own port on loopback, own password, gone at the end."""

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from devtools.machine import redis_server
from devtools.processes import bound_to_parent, end, tree

START_SECONDS = 60.0
START_TRIES = 5  # a free port may be taken between our look and Redis's own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PrivateRedis:
    """Starts on construction; `url` is for REDIS_URL. Raises `MissingToolError` where there is no Redis.

    It keeps what it is told by the settings that the README names, unless `settings` say otherwise.
    """

    def __init__(self, **settings: str) -> None:
        self._program = redis_server()
        self._folder = Path(tempfile.mkdtemp(prefix="directdrivex-redis-"))
        self._log = self._folder / "log"
        password = secrets.token_urlsafe(16)
        self._settings = {
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "requirepass": password,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self._start()
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._process.pid

    def _start(self) -> None:
        for _ in range(START_TRIES):
            self.port = free_port()
            if self._runs():
                return
        raise RuntimeError(f"Redis did not start: {self._log.read_text()[-2000:]}")

    def _runs(self) -> bool:
        """Start on `port`; whether it came up."""
        config = self._folder / "redis.conf"
        lines = {**self._settings, "port": str(self.port)}.items()
        config.write_text("".join(f'{name} "{value}"\n' for name, value in lines))
        seen = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(config)], stdout=log, stderr=log, cwd=self._folder, **bound_to_parent()
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if b"Ready to accept connections" in self._log.read_bytes()[seen:]:
                return True
            time.sleep(0.01)
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

    def kill(self) -> None:
        """kill -9: it is gone, with what it had not written yet, until `revive`."""
        end(self._process, by=signal.SIGKILL)

    def forget(self) -> None:
        """While it is gone: all that it kept is lost."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def revive(self) -> None:
        """What it had kept, on the same port again."""
        if not self._runs():
            raise RuntimeError(f"Redis did not come back: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)
