"""A client that says `finish` over and over while the disk is slow."""

import asyncio
from typing import Any

from uploads.intake.events import Drained
from uploads.intake.protocol import Finish
from uploads.intake.session import UploadSession


class StillWriting:
    """All bytes have come, and the storage is at work on them."""

    complete = True

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def drained(self) -> None:
        await self.done.wait()


async def test_many_that_wait_for_the_storage_are_one_and_the_last_of_them_counts() -> None:
    unused: Any = None
    session, transfer = UploadSession("4dbfdf0a-0000-4000-8000-000000000000", unused), StillWriting()
    anyone: Any = transfer
    before = len(asyncio.all_tasks())
    for digest in [None] * 1000 + ["ab" * 32]:
        await session._finish(anyone, Finish(digest))
    assert len(asyncio.all_tasks()) == before + 1
    transfer.done.set()
    assert await session.next() == Drained(Finish("ab" * 32))
    assert await session.next_within(0.01) is None
    await session._finish(anyone, Finish(None))
    assert await session.next() == Drained(Finish(None)), "after a rewind it is said again"
