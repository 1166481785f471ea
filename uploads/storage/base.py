"""The storage port. Its docstrings are the contract; `tests/test_storage_contract.py` runs it over every adapter.

A store keeps bytes under an opaque key (the upload's id, never a file's name), knows nothing of HTTP, sockets,
slots or the database, and is the only one who knows how much of an upload is really stored.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

Buffer = bytes | bytearray | memoryview

_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_key(text: str) -> bool:
    return bool(_KEY.fullmatch(text))


def checked_key(key: str) -> str:
    """The key, which may be used in paths and queries. Raises `ValueError` for anything else."""
    if not is_key(key):
        raise ValueError(f"{key!r} is no storage key")
    return key


class StorageError(Exception):
    """The storage failed in a way that it cannot name better; the upload stays resumable.

    `retry_after`: it is of no use to come back before, in seconds; None where nobody knows.
    """

    retry_after: float | None = None


class StorageUnavailableError(StorageError):
    """The storage does not answer, or another writer still holds the upload."""


class StorageFullError(StorageError):
    """No room is left. What was stored before is still stored."""


class BudgetSpentError(StorageFullError):
    """A day's budget is spent: there is room, but not before `until` (an aware time). An upload waits in line."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class ObjectMissingError(StorageError):
    """There is no finished object under this key."""


class RewindError(StorageError):
    """The storage has fewer bytes than it had been given: the sender must go back to `offset` (bytes)."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"back to {offset}: {reason}")
        self.offset, self.reason = offset, reason


@dataclass(frozen=True)
class Digests:
    """What was computed over the whole object as it was stored; `sha256` in lower-case hex, or `reason` why not.

    `once` is False where some bytes came twice and were hashed one time and stored the other, so that a difference
    between them may be the sender's making.
    """

    sha256: str | None
    crc32: int
    reason: str | None = None
    once: bool = True


@dataclass(frozen=True)
class OwnDigest:
    """What the storage itself says of the object that it keeps, or why it says nothing.

    `md5` only where it has no SHA-256, `size` (bytes) where it tells one.
    """

    sha256: str | None
    reason: str | None
    md5: str | None = None
    size: int | None = None


@runtime_checkable
class Folder(Protocol):
    """A store that keeps its files in a folder, which several machines may share. To be called from a thread."""

    def name_here(self) -> str:
        """What this machine, and no other, calls the folder: the same by whatever path."""

    def sign(self, node: str) -> None:
        """Leave a sign that this node has the folder."""

    def is_signed_by(self, node: str) -> bool:
        """Has that node left its sign here?"""


@runtime_checkable
class OnDisk(Protocol):
    """A store whose finished objects another program on this machine can read."""

    async def path_of(self, key: str, size: int) -> Path:
        """Where an object of `size` bytes lies, from the store's root on. Raises as `Store.read` does."""


class PartialObject(ABC):
    """An upload in progress, open for one writer. `offset` is the number of bytes accepted by the storage."""

    offset: int

    @abstractmethod
    async def append(self, blocks: Sequence[Buffer], at: int | None = None) -> None:
        """Store the blocks behind those of the call before, in order.

        It returns when the blocks have left this process's memory. `offset` moves past what the storage has accepted
        by then, which on a remote one may be less; with the last byte of the object, everything is accepted.

        Raises `StorageFullError` or `StorageUnavailableError` with `offset` true to what was stored, and
        `RewindError` when bytes given before are gone. It may be called again before it returned, if each call says
        `at` which offset its blocks belong: they are stored in order, and none behind one that failed.
        """

    @abstractmethod
    async def settle(self) -> None:
        """Return when nothing is on its way any longer: the sender, who was told to wait, goes on from `offset`."""

    @abstractmethod
    async def digests(self) -> Digests:
        """The digests of the first `offset` bytes; bytes from before a restart are read and hashed again."""

    @abstractmethod
    async def finish(self) -> OwnDigest:
        """Make the object durable and visible under its key; the writer keeps its lock until `close`.

        So the caller can complete its own books before anybody else may judge them. Finishing again after a crash in
        between succeeds. The caller has compared sizes and digests before. Raises `RewindError` when bytes accepted
        before are gone.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of the upload and keep what is stored, so that another writer may open it. Never raises."""


class Store(ABC):
    """A place where files rest."""

    name: str

    @abstractmethod
    async def open(self, key: str, size: int, *, take: bool = False) -> PartialObject:
        """Open the upload `key` of `size` bytes for writing, new or at its true offset.

        An object that was finished already opens with `offset == size`. Raises `StorageFullError` when what is
        missing has no room, `StorageUnavailableError` when another writer does not let go. With `take` it may be taken
        from such a one, which can store nothing more under this key then. Whoever is cancelled meanwhile has nothing.
        """

    @abstractmethod
    async def stored_bytes(self, key: str) -> int:
        """How many bytes of the upload or object are stored; 0 where there is none."""

    @abstractmethod
    async def room(self) -> int | None:
        """How many bytes could still be stored now; None where nobody knows."""

    @abstractmethod
    async def read(self, key: str, start: int, length: int, *, size: int | None = None) -> AsyncGenerator[bytes]:
        """The bytes `start` to `start + length` of a finished object, in blocks of at most 1 MiB.

        Raises `ObjectMissingError` before the first block, and `StorageUnavailableError` for one that has not the
        `size` (bytes) that it should have; a fault later raises out of the iterator, which never ends short. Close it
        where it is not read to its end: what it holds is free then, at once.
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove the upload or the object; nothing happens where there is none."""

    @abstractmethod
    async def check(self) -> None:
        """Raise a `StorageError` that says why, where an upload could not be stored now."""

    @abstractmethod
    async def keys(self) -> list[tuple[str, float]]:
        """Every key that takes room, finished or not, with the seconds since it last changed; for the cleanup."""

    @abstractmethod
    async def close(self) -> None:
        """Before the process ends: give up connections. The store opens them again when it is used again."""


@dataclass(frozen=True)
class LeftOver:
    """An object that belongs to `key` and is not the one that the store has for it; `name` is the storage's own.

    `replaced`: the store has another one for that key; else it has none.
    """

    key: str
    name: str
    replaced: bool
    remove: Callable[[], Awaitable[None]]


class Tidied(ABC):
    """The ability of a store which can be left with objects that no key leads to, after losses in the middle."""

    @abstractmethod
    def left_over(self, least_age: float) -> AsyncIterator[LeftOver]:
        """Objects of this program's, at least `least_age` seconds old, whose key leads elsewhere or nowhere.

        Others may keep their files at the same place, another installation of this program among them: whose an object
        is can be told by its key alone. Raises a `StorageError` where a part of the storage could not be looked at,
        after all that was found elsewhere.
        """
