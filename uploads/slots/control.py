"""How commands in other processes ask the slots that live in a server's memory: a Unix socket in its data folder.

One JSON object a line, in and out: `{"verb": …}`, answered by `{"result": …}` or `{"error": sentence}`. The socket is
there while the server has any slot or place to tell of; where it is not, nobody holds anything. Needs no Django.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import structlog

from uploads.slots.manager import SlotError, SlotSnapshot

SOCKET_NAME = "slots.sock"
LOCK_NAME = "slots.lock"
LOCK_TRIES, LOCK_PAUSE_SECONDS = 10, 0.05
ANSWER_SECONDS = 10.0
REQUEST_BYTES = 4096
ANSWER_BYTES = 64 * 1024 * 1024  # ten thousand places in line are some megabytes
PATH_BYTES = 100  # a Unix socket's path may have 107 bytes, on some systems 103

log = structlog.get_logger(__name__)


class InUseError(Exception):
    """Another server on the same data folder hands out slots at this moment."""


class NoServerError(Exception):
    """No server on the data folder has anything in its slots."""


class NoAnswerError(Exception):
    """A server has slots on the data folder, but cannot be asked; the message says why."""


class Slots(Protocol):
    """What the keeper can be asked for."""

    async def snapshot(self) -> SlotSnapshot: ...
    async def check(self) -> list[str]: ...
    async def repair(self) -> list[str]: ...
    async def take_away(self, upload_id: str) -> bool: ...


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's path; a long one goes by a descriptor of the folder, since Unix sockets know only short ones."""
    plain = str(folder / SOCKET_NAME)
    if len(os.fsencode(plain)) <= PATH_BYTES:
        yield plain
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


class ControlServer:
    """Answers about `slots` on the socket in `folder`, from `open` to `close`.

    While it is open it has the lock of the folder: two servers that hand out slots side by side would exceed every
    cap, and each would take the other's uploads for dead.
    """

    def __init__(self, slots: Slots, folder: Path) -> None:
        self._slots, self._folder = slots, folder
        self._lock: int | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Take the lock and listen. Raises `InUseError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _take(self._lock, self._folder)
            try:
                listening = _listen(self._folder)
            except OSError as error:
                # Some shared folders know no sockets. Uploads can do without commands; `ask` will say what is wrong.
                log.error("control_socket_failed", folder=str(self._folder), cause=str(error))
                return
            self._server = await asyncio.start_unix_server(
                self._serve, sock=listening, limit=REQUEST_BYTES, start_serving=False
            )
            await self._server.start_serving()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            (self._folder / SOCKET_NAME).unlink(missing_ok=True)
            self._server = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(json.dumps(await self._answer(await reader.readline())).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError) as error:
            log.warning("control_request_failed", cause=str(error))
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "The request is not JSON."}
        try:
            match request:
                case {"verb": "snapshot"}:
                    return {"result": dataclasses.asdict(await self._slots.snapshot())}
                case {"verb": "check"}:
                    return {"result": await self._slots.check()}
                case {"verb": "repair"}:
                    return {"result": await self._slots.repair()}
                case {"verb": "release", "upload_id": str(upload_id)}:
                    return {"result": await self._slots.take_away(upload_id)}
        except SlotError as error:
            return {"error": str(error)}
        return {"error": "The request has no known verb."}


async def _take(lock: int, folder: Path) -> None:
    for _ in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        await asyncio.sleep(LOCK_PAUSE_SECONDS)  # one that ends, or a command that looks, has it for a moment only
    raise InUseError(f"Another server on {folder} hands out slots; give each server a DATA_DIR of its own.")


def _listen(folder: Path) -> socket.socket:
    (folder / SOCKET_NAME).unlink(missing_ok=True)  # the lock is ours: whoever left it is gone
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        with _address(folder) as path:
            listening.bind(path)
        os.chmod(folder / SOCKET_NAME, 0o600)  # before it listens: until then nobody can connect
    except OSError:
        listening.close()
        raise
    return listening


async def ask(folder: Path, verb: str, **arguments: str) -> Any:
    """The answer of the server on `folder`.

    Raises `NoServerError` where no server has anything in its slots, `NoAnswerError` where one has and does not tell.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(sock=await _connect(folder), limit=ANSWER_BYTES)
            try:
                writer.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
                await writer.drain()
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
    except (TimeoutError, OSError, ValueError) as error:
        raise NoAnswerError(f"The server does not answer: {error or 'it takes too long'}.") from error
    if "error" in answer:
        raise NoAnswerError(answer["error"])
    return answer["result"]


async def _connect(folder: Path) -> socket.socket:
    for _ in range(LOCK_TRIES):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            with _address(folder) as path:
                await asyncio.get_running_loop().sock_connect(client, path)
            return client
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            if not _is_locked(folder):
                raise NoServerError from None
        except BaseException:
            client.close()
            raise
        await asyncio.sleep(LOCK_PAUSE_SECONDS)  # it begins or ends at this moment
    raise NoAnswerError("A server has slots in use, but there is no socket to ask it by.")


def _is_locked(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
