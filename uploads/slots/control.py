"""How commands in other processes ask the slots that live in a server's memory: a Unix socket in its data folder.

One JSON object a line, in and out. The socket is there while the server has any slot or place to tell of; where it is
not, nobody holds anything. Needs no Django.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import structlog

from uploads.slots.manager import SlotSnapshot

SOCKET_NAME = "slots.sock"
LOCK_NAME = "slots.lock"
ANSWER_SECONDS = 10.0
REQUEST_BYTES = 4096
ANSWER_BYTES = 64 * 1024 * 1024  # ten thousand places in line are some megabytes

log = structlog.get_logger(__name__)


class Slots(Protocol):
    """What the keeper can be asked for."""

    async def snapshot(self) -> SlotSnapshot: ...
    async def check(self) -> list[str]: ...
    async def repair(self) -> list[str]: ...
    async def take_away(self, upload_id: str) -> bool: ...


def _address(folder: Path) -> tuple[int, str]:
    """A descriptor of the folder, and the socket's path by it: Unix socket paths may have only 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    return descriptor, f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"


@contextlib.asynccontextmanager
async def answering(slots: Slots, folder: Path) -> AsyncIterator[None]:
    """Answer commands about `slots` meanwhile. A second server on the same folder leaves the first one's alone."""
    lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("data_folder_shared", folder=str(folder), hint="two servers do not know of each other's slots")
            yield
            return
        listening = _listen(folder)
        server = await asyncio.start_unix_server(lambda reader, writer: _answer(slots, reader, writer), sock=listening)
        try:
            yield
        finally:
            server.close()
            (folder / SOCKET_NAME).unlink(missing_ok=True)
    finally:
        os.close(lock)


def _listen(folder: Path) -> socket.socket:
    (folder / SOCKET_NAME).unlink(missing_ok=True)  # the lock is ours: whoever left it is gone
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    descriptor, path = _address(folder)
    mask = os.umask(0o177)
    try:
        listening.bind(path)
    finally:
        os.umask(mask)
        os.close(descriptor)
    return listening


async def _answer(slots: Slots, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            line = await reader.readline()
            writer.write(json.dumps(await _do(slots, line)).encode() + b"\n")
            await writer.drain()
    except (OSError, TimeoutError, ValueError) as error:
        log.warning("control_request_failed", cause=str(error))
    finally:
        writer.close()


async def _do(slots: Slots, line: bytes) -> Any:
    request = json.loads(line[:REQUEST_BYTES])
    match request.get("verb"):
        case "snapshot":
            return dataclasses.asdict(await slots.snapshot())
        case "check":
            return await slots.check()
        case "repair":
            return await slots.repair()
        case "release":
            return await slots.take_away(str(request.get("upload_id")))
    raise ValueError("unknown verb")


class NoServerError(Exception):
    """No server with slots or places runs on this folder."""


async def ask(folder: Path, verb: str, **arguments: str) -> Any:
    """The answer of the server on `folder`. Raises `NoServerError`, or `TimeoutError` where it does not answer."""
    async with asyncio.timeout(ANSWER_SECONDS):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            descriptor, path = _address(folder)
            try:
                await asyncio.get_running_loop().sock_connect(client, path)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, ConnectionRefusedError):
            client.close()
            raise NoServerError from None
        reader, writer = await asyncio.open_unix_connection(sock=client, limit=ANSWER_BYTES)
        try:
            writer.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            await writer.drain()
            return json.loads(await reader.readline())
        finally:
            writer.close()


async def alive_uploads(folder: Path) -> frozenset[str]:
    """The uploads that hold a slot or a place on the server of `folder` at this moment."""
    try:
        state = await ask(folder, "snapshot")
    except NoServerError:
        return frozenset()
    return frozenset(entry["upload_id"] for entry in (*state["leases"], *state["tickets"]))
