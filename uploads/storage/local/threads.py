"""File work in threads of the storage's own; the system's errors come out as the port's. Needs no Django.

Django's executor serialises the whole process's database work. A sync can take seconds on a busy disk and must not keep
writes waiting, so that it has threads of its own again. So has what is short: who begins an upload, asks how far it is,
or cancels it, does not wait for all the writes of a slow disk.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from uploads.storage.base import StorageFullError, StorageUnavailableError

ANSWER_SECONDS = 10.0  # a disk that does not even tell what it has is a failing one

WRITERS = ThreadPoolExecutor(max_workers=min(16, (os.cpu_count() or 2) + 4), thread_name_prefix="storage")
SYNCERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="storage-sync")
COPIERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="storage-copy")
# Of their own as well: however many download, no upload's write stands in line behind their reads.
READERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="storage-read")
SHORT = ThreadPoolExecutor(max_workers=8, thread_name_prefix="storage-short")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

T = TypeVar("T")


def translate(error: OSError) -> StorageFullError | StorageUnavailableError:
    """The port's error for one of the system's."""
    if error.errno in _FULL:
        return StorageFullError(str(error))
    return StorageUnavailableError(str(error))


async def in_thread(function: Callable[..., T], *args: Any, threads: ThreadPoolExecutor = WRITERS) -> T:
    """Run blocking file work in the storage's threads; OSErrors come out as the port's."""
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *args))
    except OSError as error:
        raise translate(error) from error


async def ask(function: Callable[..., T], *args: Any, threads: ThreadPoolExecutor = SHORT) -> T:
    """The same for what is short and waits for no write. Raises `StorageUnavailableError` after `ANSWER_SECONDS`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await in_thread(function, *args, threads=threads)
    except TimeoutError:
        raise StorageUnavailableError(f"the disk has not answered for {ANSWER_SECONDS:g} s") from None
