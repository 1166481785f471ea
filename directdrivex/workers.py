"""Several worker processes behind one listening socket: started, replaced when they die or on SIGHUP, ended together.

Each worker is the whole program, started anew and handed the socket. A fork would share some memory, but also threads
and connections half way through, and could not bring new code into service; uvicorn's own supervisor runs its own
server, which tells no upload that it is going, and kills a worker that is silent for five seconds, as one on a stuck
disk may be.

A worker has one line to its supervisor. It says on it that it is ready; when it ends, whoever is left hears that: a
worker without a supervisor shuts down like one that was asked to.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from directdrivex import env

VARIABLE = "DIRECTDRIVEX_WORKER"  # for a worker: the descriptors of the socket and of its line
READY = b"ready"
STOP_SECONDS = 40.0  # longer than a server gives its uploads and downloads
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0  # before a worker that could not start is tried again
ASKED_TO_STOP = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Handed:
    """What a worker was handed by its supervisor."""

    listener: socket.socket
    line: socket.socket

    def ready(self) -> None:
        """Requests are answered from now on. When the supervisor is gone, this process is asked to end."""
        self.line.send(READY)
        threading.Thread(target=self._wait_for_the_end, daemon=True, name="supervisor-line").start()

    def _wait_for_the_end(self) -> None:
        with contextlib.suppress(OSError):
            self.line.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)


def handed() -> Handed | None:
    """What this process was handed, if it is a worker."""
    value = os.environ.pop(VARIABLE, None)
    if value is None:
        return None
    listener, line = (socket.socket(fileno=int(number)) for number in value.split(":"))
    return Handed(listener, line)


@dataclass(eq=False)
class Worker:
    """One child, and our end of its line."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    is_ready: bool = False
    is_leaving: bool = False

    def ask_to_leave(self) -> None:
        self.is_leaving = True
        self.process.terminate()


class Supervisor:
    """Keeps `count` workers on `listener`; `ready` is called once, when the first of them all answer."""

    def __init__(self, listener: socket.socket, count: int, ready: Callable[[], None]) -> None:
        self._listener, self._count, self._ready = listener, count, ready
        self._workers: list[Worker] = []
        self._to_replace: deque[Worker] = deque()
        self._started = self._stopping = self._failed = False
        self._pause, self._start_at = FIRST_PAUSE_SECONDS, 0.0
        self._selector = selectors.DefaultSelector()
        self._signals: deque[int] = deque()

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT; returns the exit code. SIGHUP replaces the workers one by one."""
        with self._signals_heard():
            while not self._stopping:
                self._fill_up()
                self._wait(max(0.0, self._start_at - time.monotonic()) if self._missing() else None)
                self._replace()
            self._end_all()
        return 1 if self._failed else 0

    @contextlib.contextmanager
    def _signals_heard(self) -> Iterator[None]:
        hears, tells = socket.socketpair()
        with hears, tells:
            for end in (hears, tells):
                end.setblocking(False)
            signal.set_wakeup_fd(tells.fileno())
            for number in (*ASKED_TO_STOP, signal.SIGHUP):
                signal.signal(number, lambda caught, _frame: self._signals.append(caught))
            self._selector.register(hears, selectors.EVENT_READ)
            yield
            signal.set_wakeup_fd(-1)

    # --- starting ---

    def _missing(self) -> int:
        return self._count - sum(not worker.is_leaving for worker in self._workers)

    def _fill_up(self) -> None:
        if time.monotonic() >= self._start_at:
            for _ in range(self._missing()):
                self._start()

    def _start(self) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            handed_down = (self._listener.fileno(), theirs.fileno())
            process = subprocess.Popen(  # noqa: S603 - the command that started us, once more
                [sys.executable, *sys.orig_argv[1:]],
                env={**env.of_the_caller(), VARIABLE: f"{handed_down[0]}:{handed_down[1]}"},
                stdin=subprocess.DEVNULL,
                pass_fds=handed_down,
            )
        worker = Worker(process, ours)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    # --- what happens ---

    def _wait(self, seconds: float | None) -> None:
        for key, _events in self._selector.select(seconds):
            if isinstance(key.data, Worker):
                self._hear(key.data)
            else:
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.recv(1024)
        while self._signals:
            self._obey(self._signals.popleft())

    def _obey(self, number: int) -> None:
        if number in ASKED_TO_STOP:
            self._stopping = True
        elif self._started and not self._to_replace:
            log.info("workers_replaced", workers=len(self._workers))
            self._to_replace.extend(self._workers)

    def _hear(self, worker: Worker) -> None:
        try:
            said = worker.line.recv(len(READY))
        except OSError:
            said = b""
        if not said:
            self._bury(worker)
            return
        worker.is_ready, self._pause = True, FIRST_PAUSE_SECONDS
        if not self._started and all(each.is_ready for each in self._workers):
            self._started = True
            self._ready()

    def _bury(self, worker: Worker) -> None:
        """It has ended, or closed its line, which comes to the same."""
        worker.process.kill()
        code = worker.process.wait()
        self._selector.unregister(worker.line)
        worker.line.close()
        self._workers.remove(worker)
        if worker in self._to_replace:
            self._to_replace.remove(worker)
        if worker.is_leaving:
            return
        log.error("worker_died", worker=worker.process.pid, code=code, ready=worker.is_ready)
        if not self._started:
            self._failed = self._stopping = True  # the next would fail in the same way; its reason is in the log
        elif not worker.is_ready:
            self._to_replace.clear()  # what cannot start must replace nothing
            self._start_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def _replace(self) -> None:
        """The next of the old workers leaves as soon as a new one answers in its place."""
        if not self._to_replace or any(worker.is_leaving for worker in self._workers):
            return
        if len(self._workers) <= self._count:
            self._start()
        elif all(worker.is_ready for worker in self._workers):
            self._to_replace.popleft().ask_to_leave()

    # --- the end ---

    def _end_all(self) -> None:
        """Nobody is let in any longer; whoever has not ended in time is killed."""
        self._listener.close()
        for worker in self._workers:
            worker.ask_to_leave()
        deadline = time.monotonic() + STOP_SECONDS
        while self._workers and (left := deadline - time.monotonic()) > 0:
            self._wait(left)
        for worker in list(self._workers):
            log.error("worker_killed", worker=worker.process.pid)
            self._bury(worker)
