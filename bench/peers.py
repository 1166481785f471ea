"""The servers that are measured: how each is started on a free port, and how a file is sent to it."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import install, raw
from devtools import machine
from devtools.postgres import free_port
from devtools.processes import bound_to_parent, end
from devtools.server_process import ServerProcess, prepare

SERVERS = Path(__file__).parent / "servers"
START_SECONDS = 30.0
WITHOUT_DIGESTS = ("-m", "bench.servers.without_digests")


class Running:
    """A server that has been started: its port, its process id, and the folder that it writes to."""

    def __init__(self, command: list[str], port: int, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.port, self.folder = port, folder
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, **bound_to_parent()
            )
        self.pid = self._process.pid
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{command} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        end(self._process)


class OurServer:
    """The program itself, with limits out of the way."""

    def __init__(self, folder: Path, program: Sequence[str] = ("manage.py", "serve"), **environment: str) -> None:
        data = folder / "data"
        data.mkdir()
        self.environment = {"SECRET_KEY": "bench", "LOG_LEVEL": "warning", **environment}
        prepare({**self.environment, "DATA_DIR": str(data)})
        self.process = ServerProcess(data, self.environment, program)
        self.process.start()
        self.port, self.pid, self.folder = self.process.port, self.process.pid, folder

    def stop(self) -> None:
        self.process.stop()


Server = Running | OurServer


@dataclass(frozen=True)
class Peer:
    """`start` takes an empty folder; `send` uploads a file to the server that runs there."""

    name: str
    start: Callable[[Path], Server]
    send: Callable[[Server, Path], object]


def start_tus_node(folder: Path) -> Running:
    port, home = free_port(), install.node_peers()
    script = home / "tus_server.mjs"  # beside node_modules, where Node looks for imports
    shutil.copy(SERVERS / "tus_server.mjs", script)
    files = folder / "files"
    files.mkdir()
    return Running(["node", str(script), str(port), str(files)], port, folder)


def _uvicorn(application: str, folder: Path, **environment: str) -> Running:
    port = free_port()
    options = ["--log-level=warning", "--lifespan=off", "--ws=websockets-sansio", "--ws-per-message-deflate=false"]
    command = [str(install.python_peers()), "-m", "uvicorn", application, "--port", str(port), *options]
    command += ["--app-dir", str(SERVERS)]
    return Running(command, port, folder, install.environment(FOLDER=str(folder), **environment))


def start_tuspy(folder: Path) -> Running:
    return _uvicorn("tuspy_server:application", folder)


def start_sink(folder: Path, pages: Path | None = None) -> Running:
    return _uvicorn("sink:application", folder, PAGES=str(pages or folder))


def start_copyparty(folder: Path) -> Running:
    port, files = free_port(), folder / "files"
    files.mkdir()
    command = [str(install.python_peers()), "-m", "copyparty", "-q", "-i", "127.0.0.1", "-p", str(port)]
    command += ["-v", f"{files}::A", "--hist", str(folder / "hist")]
    # Its settings and its caches would go to the home folder.
    return Running(command, port, folder, install.environment(HOME=str(folder), XDG_CONFIG_HOME=str(folder)))


def start_nginx(folder: Path) -> Running:
    program = machine.nginx()
    files = folder / "files"
    files.mkdir()
    for path in (folder, files):
        path.chmod(0o777)  # its worker is another user
    port = free_port()
    (folder / "nginx.conf").write_text((SERVERS / "nginx.conf").read_text().format(folder=folder, port=port))
    return Running([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], port, folder)


def _put(path: str, **headers: str) -> Callable[[Server, Path], object]:
    return lambda server, file: raw.put(server.port, path, file, headers)


OURS = Peer("DirectDriveX, uvicorn", lambda f: OurServer(f), lambda s, file: raw.directdrivex(s.port, file))
OURS_DAPHNE = Peer("DirectDriveX, daphne", lambda f: OurServer(f, SERVER="daphne"), OURS.send)
OURS_BARE = Peer("DirectDriveX, digests aside", lambda f: OurServer(f, program=WITHOUT_DIGESTS), OURS.send)
TUS_NODE = Peer("@tus/server + file-store", start_tus_node, lambda s, file: raw.tus(s.port, "/files", file))
TUS_PYTHON = Peer("tuspyserver", start_tuspy, lambda s, file: raw.tus(s.port, "/files/", file))
COPYPARTY = Peer("copyparty PUT, its digest", start_copyparty, _put("/upload.bin"))
COPYPARTY_PLAIN = Peer("copyparty PUT, no digest", start_copyparty, _put("/upload.bin", CK="no"))
NGINX = Peer("nginx DAV PUT, default buffers", start_nginx, _put("/upload.bin"))
SINK_LOOP = Peer("bare ASGI sink, writes in the loop", start_sink, lambda s, file: raw.sink(s.port, "/ws/loop", file))
SINK_THREAD = Peer("bare ASGI sink, queue and writer", start_sink, lambda s, file: raw.sink(s.port, "/ws/thread", file))

PEERS = [OURS, OURS_BARE, OURS_DAPHNE, TUS_NODE, TUS_PYTHON, COPYPARTY, COPYPARTY_PLAIN, NGINX, SINK_LOOP, SINK_THREAD]
