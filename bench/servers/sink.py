"""Bare ASGI applications that do the least: what the server and the machine allow at all. FOLDER is in the environment.

`/ws/loop` writes each WebSocket message to a file in the event loop; `/ws/thread` hands it to a writer thread by a
short queue. A PUT is read and dropped. Both answer when the bytes announced in the query string have come.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

FOLDER = Path(os.environ["FOLDER"])


async def socket_sink(scope: Any, receive: Any, send: Any) -> None:
    size = int(scope["query_string"])
    await receive()
    await send({"type": "websocket.accept"})
    write = write_in_loop if scope["path"] == "/ws/loop" else write_in_thread
    with (FOLDER / "sink").open("wb", buffering=0) as file:
        await write(file, size, receive)
    await send({"type": "websocket.send", "text": "done"})
    await send({"type": "websocket.close", "code": 1000})


async def write_in_loop(file: Any, size: int, receive: Any) -> None:
    while size:
        data = (await receive())["bytes"]
        file.write(data)
        size -= len(data)


async def write_in_thread(file: Any, size: int, receive: Any) -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue(8)

    async def writer() -> None:
        left = size
        while left:
            blocks = [await queue.get()]
            while not queue.empty():
                blocks.append(queue.get_nowait())
            left -= sum(map(len, blocks))
            await asyncio.to_thread(os.writev, file.fileno(), blocks)

    writing = asyncio.create_task(writer())
    left = size
    while left:
        data = (await receive())["bytes"]
        left -= len(data)
        await queue.put(data)
    await writing


async def put(request: Any) -> PlainTextResponse:
    total = 0
    async for block in request.stream():
        total += len(block)
    return PlainTextResponse(str(total))


async def download(request: Any) -> FileResponse:
    return FileResponse(FOLDER / request.path_params["name"])


http = Starlette(
    routes=[
        Route("/put", put, methods=["PUT"]),
        Route("/download/{name}", download),
        Mount("/static", StaticFiles(directory=os.environ.get("PAGES") or ".")),
    ]
)


async def application(scope: Any, receive: Any, send: Any) -> None:
    await (socket_sink if scope["type"] == "websocket" else http)(scope, receive, send)
