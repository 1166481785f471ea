"""One file downloaded by one plain client: from us, from nginx, and from Starlette's FileResponse; and by many."""

import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import raw
from bench.measure import FAILURES, MIB, Run, Series, timed, work_folder
from bench.peers import OurServer, Server, start_nginx, start_sink
from bench.scale import Figure
from devtools.processes import memory_of

OURS, NGINX, STARLETTE = "download of DirectDriveX", "download of nginx", "download of Starlette FileResponse"
FIRST_BYTE, UNREAD = "first byte of a download", "downloads that nobody reads"
FIRST_BYTES, MANY = 20, 100
SETTLE_SECONDS = 2.0
Place = Callable[[Server, Path], str]


def by_upload(server: Server, file: Path) -> str:
    return str(raw.directdrivex(server.port, file)["value"])


def by_copy(to: str, path: str) -> Place:
    def place(server: Server, file: Path) -> str:
        shutil.copy(file, server.folder / to / file.name)
        return f"{path}/{file.name}"

    return place


# Each: how the server starts, and how the file gets there; the latter returns its address.
WAYS: dict[str, tuple[Callable[[Path], Server], Place]] = {
    OURS: (lambda folder: OurServer(folder), by_upload),
    NGINX: (start_nginx, by_copy("files", "")),
    STARLETTE: (lambda folder: start_sink(folder), by_copy(".", "/download")),
}


def measure(home: Path, file: Path, runs: int) -> Iterable[Series | Figure]:
    every = {name: Series(name) for name in WAYS}
    size = file.stat().st_size
    ready: dict[str, tuple[Server, str]] = {}
    figures: list[Figure] = []
    with ExitStack() as stack:
        for name, (start, place) in WAYS.items():
            try:
                server = start(stack.enter_context(work_folder(home)))
                stack.callback(server.stop)
                ready[name] = server, place(server, file)
            except FAILURES as error:
                every[name].fail(error)
        for number in range(runs):
            for name, (server, path) in ready.items():
                every[name].add(number, partial(run_once, server, path, size))
        firsts = [f"{name}: {first_byte(server, path)}" for name, (server, path) in ready.items()]
        figures.append(Figure(FIRST_BYTE, "; ".join(firsts)))
        if OURS in ready:
            figures.append(Figure(UNREAD, unread(home, file)))
    return [*every.values(), *figures]


def first_byte(server: Server, path: str) -> str:
    seconds = sorted(raw.first_byte(server.port, path) for _ in range(FIRST_BYTES))
    return f"{statistics.median(seconds) * 1e3:.1f} ms, at most {seconds[-1] * 1e3:.1f} ms"


def unread(home: Path, file: Path) -> str:
    """What each of MANY downloads costs of whose bytes nobody takes one."""
    with work_folder(home) as folder:
        server = OurServer(folder, MAX_CONCURRENT_DOWNLOADS_PER_USER=str(MANY))
        try:
            path = by_upload(server, file)
            raw.download(server.port, path, file.stat().st_size)
            before = memory_of(server.pid)
            with ExitStack() as stack:
                for _ in range(MANY):
                    connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                time.sleep(SETTLE_SECONDS)
                return f"{(memory_of(server.pid) - before) / MIB / MANY:.2f} MiB for each of {MANY}"
        finally:
            server.stop()


def run_once(server: Server, path: str, size: int) -> Run:
    return timed(server.pid, size, lambda: raw.download(server.port, path, size))
