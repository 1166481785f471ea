"""One file downloaded by one plain client: from us, from nginx, and from Starlette's FileResponse."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import raw
from bench.measure import FAILURES, Run, Series, timed, work_folder
from bench.peers import OurServer, Server, start_nginx, start_sink

OURS, NGINX, STARLETTE = "download of DirectDriveX", "download of nginx", "download of Starlette FileResponse"
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


def measure(home: Path, file: Path, runs: int) -> Iterable[Series]:
    every = {name: Series(name) for name in WAYS}
    size = file.stat().st_size
    ready: dict[str, tuple[Server, str]] = {}
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
    return every.values()


def run_once(server: Server, path: str, size: int) -> Run:
    return timed(server.pid, size, lambda: raw.download(server.port, path, size))
