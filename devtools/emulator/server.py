"""The emulator as a server: its routes, its listening socket, its end."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from devtools.emulator import consent, faults, tokens
from devtools.emulator.certificates import server_context
from devtools.emulator.control import Control
from devtools.emulator.door import Door
from devtools.emulator.drives import Drives
from devtools.emulator.errors import DriveError, in_googles_form
from devtools.emulator.files import Files
from devtools.emulator.uploads import Uploads
from devtools.emulator.world import World

HOST = "127.0.0.1"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
READ_BUFFER = 512 * 1024
SHUTDOWN_SECONDS = 1.0


@web.middleware
async def our_own_at_home_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What is not Google's (`/_faults` and the like) is for this machine, and for no name that merely leads to it."""
    if request.path.startswith("/_") and (request.remote not in LOOPBACK or request.url.host not in LOOPBACK):
        raise DriveError(403, "forbidden", "Only from this machine, by its own name.")
    return await handler(request)


def application(world: World) -> web.Application:
    app = web.Application(middlewares=[in_googles_form, our_own_at_home_only])
    app.add_routes(faults.routes(world.faults))
    app.add_routes(tokens.routes(world.tokens))
    app.add_routes(consent.routes(world.tokens))
    for part in (Uploads(world), Files(world), Drives(world), Control(world)):
        app.add_routes(part.routes())
    return app


async def serve(folder: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` hears the address. Raises `OSError` where the port is taken."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    runner = web.AppRunner(
        application(World(folder)), access_log=None, read_bufsize=READ_BUFFER, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        context = server_context(folder)
        http = runner.server
        assert http
        listener = await loop.create_server(lambda: Door(http, context), sock=socket.create_server((HOST, port)))
        ready(f"http://{HOST}:{listener.sockets[0].getsockname()[1]}")
        await stop.wait()
        listener.close()  # waiting for it would be waiting for every idle connection
    finally:
        await runner.cleanup()
