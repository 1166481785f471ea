"""A network between browser and server that can be slow, dead or silent: a TCP proxy in a thread of its own."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

BLOCK = 64 * 1024
# Small, so that little of what the browser has sent is on its way when the network is slowed down or cut.
BUFFER = 128 * 1024


class Network:
    """Passes `url` on to the server at `port`. All methods may be called while connections are open."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._rate = 0
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._flows = asyncio.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()

    def slow_down(self, bytes_per_second: int) -> None:
        """Hold what the browser sends, all connections together, to a rate; 0 lifts it."""
        self._call(lambda: setattr(self, "_rate", bytes_per_second))

    def cut(self) -> None:
        """Every connection breaks, and new ones do too."""

        def cut() -> None:
            self._is_cut = True
            for writer in self._writers:
                writer.transport.abort()

        self._call(cut)

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._call(self._flows.clear)

    def mend(self) -> None:
        """New connections work, and frozen ones go on."""

        def mend() -> None:
            self._is_cut = False
            self._flows.set()

        self._call(mend)

    def stop(self) -> None:
        self.slow_down(0)
        self.mend()
        self._call(self._stop.set)
        self._thread.join()
        self._loop.close()

    def _call(self, function: Callable[[], Any]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        done.wait()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._listener, limit=BLOCK)
        await self._stop.wait()
        server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.wait(tasks, timeout=0.1)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            return writer.transport.abort()
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self._target, limit=BLOCK)
        except OSError:
            return writer.transport.abort()  # the server is down
        for end in (writer, requests):
            self._writers.add(end)
            end.transport.set_write_buffer_limits(BLOCK)
        await asyncio.gather(self._pass_on(reader, requests, self._wait_for_rate), self._pass_on(answers, writer))
        self._writers -= {writer, requests}
        return None

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hold: Callable[[int], Any] | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(BLOCK):
                await self._flows.wait()
                if hold:
                    await hold(len(block))
                writer.write(block)
                await writer.drain()
            writer.write_eof()
            return
        writer.transport.abort()

    async def _wait_for_rate(self, count: int) -> None:
        async with self._turn:
            if self._rate:
                await asyncio.sleep(count / self._rate)
