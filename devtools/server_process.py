"""The real program (`manage.py serve`) as a child process, for tests, trials and benchmarks."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from devtools import shared_stores
from devtools.processes import bound_to_parent, cpu_seconds_of, end, memory_of

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0  # a few workers on a machine with much else to do
ADDRESS = re.compile(r"listens on (http://\S+)")


class ServerFailedError(Exception):
    """The program ended, or did not say its address in time; the message has the end of its log."""


def program_environment(overrides: dict[str, str]) -> dict[str, str]:
    """The environment of a child: ours, with nothing of a .env file, on loopback and a free port.

    `TEST_SERVER` names the server of every child that asks for none: the same tests run over uvicorn and daphne. With
    `TEST_WORKERS` every child that names no store of its own runs as so many workers.
    """
    names = re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    settings = dict.fromkeys(names, "")  # empty means unset, and wins over .env
    settings |= {"ENVIRONMENT": "development", "HOST": "127.0.0.1", "PORT": "0", "LOG_LEVEL": "info"}
    settings["SERVER"] = os.environ.get("TEST_SERVER", "")
    if "DATA_DIR" in overrides and not overrides.get("DATABASE_URL") and not overrides.get("REDIS_URL"):
        settings |= shared_stores.environment(overrides["DATA_DIR"])
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "directdrivex.settings", **settings, **overrides}


def prepare(overrides: dict[str, str]) -> None:
    """Run `manage.py prepare`: migrations and seeds."""
    done = subprocess.run(
        [sys.executable, "manage.py", "prepare"],
        cwd=ROOT,
        env=program_environment(overrides),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServerFailedError(f"manage.py prepare failed: {done.stdout}{done.stderr}")


class ProgramProcess:
    """A program that prints its address, as a child process. Its port stays over a restart.

    `url` is its address without a trailing slash, `log` the file with all that it printed. `with` starts and stops it.
    """

    title: str
    address: re.Pattern[str]

    def __init__(self, log: Path) -> None:
        self.log = log
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return when the program has printed its address. Raises `ServerFailedError`."""
        raise NotImplementedError

    def launch(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start `command` with Python, and wait for its address. Raises `ServerFailedError`."""
        with self.log.open("ab") as log:
            seen = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **bound_to_parent(),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            text = self.log.read_bytes()[seen:].decode(errors="replace")
            if match := self.address.search(text):
                self.url = match[1]
                return
            if ended:
                break
            time.sleep(0.02)
        self.stop()
        raise ServerFailedError(f"the {self.title} did not start: {text[-4000:]}")

    def kill(self) -> None:
        """kill -9: nothing is flushed, nobody is told."""
        self.stop(by=signal.SIGKILL)

    def stop(self, *, by: int = signal.SIGTERM, grace: float = 30.0) -> int:
        """Ask the program to end, as an operator would; returns its exit code."""
        assert self.process
        return end(self.process, by=by, grace=grace)

    def restart(self) -> None:
        """Start again on the same port and data, after `kill` or `stop`."""
        self.start()

    def text(self) -> str:
        """All that the program has printed."""
        return self.log.read_text(errors="replace")

    def memory(self) -> int:
        """Memory in bytes: the proportional set size (PSS) of the process and all its children."""
        return memory_of(self.pid)

    def cpu_seconds(self) -> float:
        """Processor time used so far, system time included."""
        return cpu_seconds_of(self.pid)


class ServerProcess(ProgramProcess):
    """One server on `data_dir` (prepared before), with environment `overrides`."""

    title = "server"
    address = ADDRESS

    def __init__(
        self, data_dir: Path, overrides: dict[str, str] | None = None, program: Sequence[str] = ("manage.py", "serve")
    ) -> None:
        super().__init__(Path(data_dir) / "server.log")
        self.data_dir = Path(data_dir)
        self.overrides = dict(overrides or {})
        self.program = list(program)

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def start(self) -> None:
        environment = program_environment({"DATA_DIR": str(self.data_dir), **self.overrides})
        if self.url:
            environment["PORT"] = str(self.port)
        self.launch(self.program, environment)
