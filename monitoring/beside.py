"""Questions to the database by those who look on: no upload's own database work waits for them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import database_sync_to_async

T = TypeVar("T")


def beside(function: Callable[..., T]) -> Any:
    """`function` as a coroutine function; it runs in a thread of its own, one call at a time."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="monitoring")
    return database_sync_to_async(function, thread_sensitive=False, executor=executor)
