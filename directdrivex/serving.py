"""The servers that run the program: one listening socket, then uvicorn or daphne, and a shutdown that loses nothing.

Both are told the same: the largest WebSocket message is `settings.UPLOAD_CHUNK_BYTES`, no forwarded header is believed
(`TRUSTED_PROXIES` decides that in the program), nothing is compressed.
"""

import asyncio
import codecs
import contextlib
import ctypes
import gc
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn
from django.conf import settings
from django.template.loader import get_template
from django.utils import translation

from directdrivex.databases.sqlite3.log import kept_log
from directdrivex.doorstep import Acceptor, Doorstep
from directdrivex.reading import MeasuredHTTP, Readers
from directdrivex.turns import beside_uploads
from directdrivex.uvicorn_socket import PatientWebSocket
from uploads.intake import registry

GRACEFUL_SECONDS = 15  # for downloads and requests that still run at shutdown, after the uploads were let go
PING_SECONDS = 20.0
HANDSHAKE_SECONDS = 60  # of a socket that is there in full, but waits behind many of its own person's
BACKLOG = 2048
# glibc's mallopt: what is free at the top of the heap goes back to the system above this, and not at 2 MiB.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_HEAP_BYTES = 32 * 1024 * 1024


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `OSError`, as for a port that is taken."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def drain_uploads() -> None:
    """Tell each live upload `server_restart` and close it with what has arrived safely stored."""
    from uploads.fleet.fleet import get_fleet  # after the apps are loaded

    await registry.drain()
    await get_fleet().end()


async def close_stores() -> None:
    """Give up the connections to where files rest; downloads that still run break off."""
    from uploads import storage

    await storage.close_stores()


async def drain_and_close() -> None:
    await drain_uploads()
    await close_stores()


def join_fleet() -> None:
    """Let other workers know of this one, until `drain_uploads`; to be called on the event loop."""
    from uploads.fleet.fleet import get_fleet

    get_fleet().begin()


class UvicornServer(uvicorn.Server):
    """uvicorn's, but for how connections are accepted; `run` it with sockets."""

    def __init__(self, config: uvicorn.Config, doorstep: Doorstep, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._doorstep, self._ready, self._readers = doorstep, ready, Readers()
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        self._acceptors = [Acceptor(listener, self._doorstep, self._protocol) for listener in sockets or []]
        join_fleet()
        self._ready()

    def _protocol(self) -> asyncio.Protocol:
        return MeasuredHTTP(
            self._readers,
            self._doorstep.person_of,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Nobody may come back to a server that is going.
        for acceptor in self._acceptors:
            await acceptor.close()
        for listener in sockets or []:
            listener.close()
        await drain_uploads()
        await super().shutdown(sockets)
        await close_stores()


def serve_uvicorn(listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called when requests are answered."""
    config = uvicorn.Config(
        "directdrivex.asgi:application",
        loop="auto",  # uvloop where there is one
        http=MeasuredHTTP,  # on h11: httptools takes request headers of any size into memory
        ws=PatientWebSocket,
        ws_per_message_deflate=False,
        ws_max_size=settings.UPLOAD_CHUNK_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=None,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )

    def stopped(*_: object) -> None:
        raise SystemExit(0)

    # uvicorn takes the signals while it serves, and hands each to these when all is shut down.
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGINT, stopped)
    UvicornServer(config, Doorstep(beside_uploads(), settings.TRUSTED_PROXIES), ready).run([listener])


def serve_daphne(listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called when requests are answered."""
    # Importing it installs Twisted's reactor for good.
    from daphne.server import twisted_loop
    from twisted.internet import reactor

    from directdrivex.asgi import application
    from directdrivex.daphne_server import DaphneServer

    twisted_loop.call_soon(join_fleet)  # `ready` is called before it runs
    DaphneServer(
        application,
        # Twisted closes this number itself: whoever closed it again would close what has it by then.
        endpoints=[f"fd:fileno={listener.detach()}"],
        most_body_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        drain=drain_and_close,
        doorstep=Doorstep(beside_uploads(), settings.TRUSTED_PROXIES),
        ping_timeout=0,
        websocket_timeout=-1,
        websocket_handshake_timeout=HANDSHAKE_SECONDS,
        websocket_connect_timeout=HANDSHAKE_SECONDS,
        websocket_max_message_size=settings.UPLOAD_CHUNK_BYTES,
        websocket_max_frame_size=settings.UPLOAD_CHUNK_BYTES,
        # A verification may outlive its connection.
        application_close_timeout=600,
        server_name="",
        verbosity=0,
        # It listens before it heeds signals.
        ready_callable=lambda: reactor.callWhenRunning(ready),
    ).run()


def keep_heap() -> None:
    """Let the allocator keep a few frames' room, where it is glibc's.

    Each frame is a buffer of a MiB. Given back after each and taken anew, its pages are cleared by the kernel every
    time: 0.1 processor seconds per GiB, several times that on virtual machines.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, KEPT_HEAP_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_HEAP_BYTES)


def spare_the_collector() -> None:
    """Take what is loaded by now out of the garbage collector's rounds: a full one stopped everybody for 0.2 s."""
    gc.collect()
    gc.freeze()
    gc.enable()


def use_all_descriptors() -> None:
    """Take as many open files and sockets as the system allows: the usual soft limit is 1,024 idle connections."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems name no hard limit and refuse to be asked for it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def load_what_faults_need() -> None:
    """An answer to a fault must not need a file first: then there may be no descriptor left, or no disk."""
    codecs.lookup("unicode_escape")  # by which Django logs an error's address
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            translation.gettext("Something went wrong")
    get_template("500.html")


def serve(listener: socket.socket, ready: Callable[[], None]) -> None:
    """Run the server that `SERVER` names on this socket."""
    gc.disable()  # until all is loaded, as manage.py has it
    keep_heap()
    use_all_descriptors()
    load_what_faults_need()

    def loaded() -> None:
        spare_the_collector()
        ready()

    database = settings.DATABASES["default"]
    embedded = database["ENGINE"] == "directdrivex.databases.sqlite3"
    with contextlib.closing(listener), kept_log(Path(database["NAME"])) if embedded else contextlib.nullcontext():
        {"uvicorn": serve_uvicorn, "daphne": serve_daphne}[settings.SERVER](listener, loaded)
