"""The bytes of one upload on one connection, over a real partial file: window, gathering, rewind, idle clock."""

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uploads.errors import FlowViolation, FrameTooLarge, IdleTimeout, SizeExceeded
from uploads.intake import registry
from uploads.intake.transfer import IdleMark, Transfer
from uploads.storage.base import Buffer, PartialObject, RewindError, StorageFullError
from uploads.storage.local import LocalStore

KIB = 1024
MIB = 1024 * KIB


class Gate(PartialObject):
    """A real partial file whose appends wait until they are let through: a storage slower than the network."""

    def __init__(self, inner: PartialObject) -> None:
        self.inner, self.open, self.waiting = inner, asyncio.Event(), asyncio.Event()
        self.calls = 0

    @property
    def offset(self) -> int:  # type: ignore[override]
        return self.inner.offset

    async def append(self, blocks: Sequence[Buffer], at: int | None = None) -> None:
        self.calls += 1
        self.waiting.set()
        await self.open.wait()
        await self.inner.append(blocks, at)

    async def settle(self) -> None:
        await self.inner.settle()

    async def digests(self) -> Any:
        return await self.inner.digests()

    async def finish(self) -> None:
        await self.inner.finish()

    async def close(self) -> None:
        await self.inner.close()


class Ear:
    """What the client is told."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int]] = []
        self.rewinds: list[int] = []
        self.news = asyncio.Event()

    async def report(self, received: int, stored: int, rate: float) -> None:
        assert rate >= 0
        self.reports.append((received, stored))
        self.news.set()

    async def rewound(self, offset: int, reason: str) -> None:
        self.rewinds.append(offset)
        self.news.set()


class Bench:
    def __init__(
        self, store: LocalStore, key: str, partial: Any, transfer: Transfer, ear: Ear, running: asyncio.Task[None]
    ) -> None:
        self.store, self.key, self.partial, self.transfer, self.ear = store, key, partial, transfer, ear
        self.running = running

    async def told(self, received: int) -> None:
        async with asyncio.timeout(10):
            while received and (not self.ear.reports or self.ear.reports[-1][0] < received):
                self.ear.news.clear()
                await self.ear.news.wait()


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    @asynccontextmanager
    async def make(size: int, window: int = MIB, chunk: int = 256 * KIB, gate: bool = False) -> AsyncIterator[Bench]:
        store, key, ear = LocalStore(tmp_path / "storage"), str(uuid.uuid4()), Ear()
        partial: Any = await store.open(key, size)
        if gate:
            partial = Gate(partial)
        transfer = Transfer(partial, size=size, chunk_size=chunk, window=window, report=ear.report, rewound=ear.rewound)
        running = asyncio.create_task(transfer.run())
        yield Bench(store, key, partial, transfer, ear, running)
        running.cancel()
        await asyncio.wait({running})
        if gate:
            partial.open.set()
        await partial.close()

    return make


async def test_what_is_taken_is_stored_in_order_and_reported(bench: Any) -> None:
    data = os.urandom(5 * MIB)
    async with bench(len(data)) as b:
        for start in range(0, len(data), 100_000):
            await b.told(max(0, start + 100_000 - MIB))
            b.transfer.take(data[start : start + 100_000])
        await b.told(len(data))
        assert b.transfer.complete
        assert b.partial.offset == len(data)
        assert (await b.partial.digests()).sha256 == hashlib.sha256(data).hexdigest()
        received = [report[0] for report in b.ear.reports]
        assert received == sorted(received)


async def test_the_window_may_be_filled_and_not_by_a_byte_more(bench: Any) -> None:
    async with bench(10 * MIB, gate=True) as b:
        for _ in range(4):
            b.transfer.take(b"x" * 256 * KIB)
        with pytest.raises(FlowViolation):
            b.transfer.take(b"x")


async def test_bytes_that_only_arrived_are_not_reported_as_received(bench: Any) -> None:
    async with bench(10 * MIB, gate=True) as b:
        b.transfer.take(b"x" * 256 * KIB)
        await b.partial.waiting.wait()
        assert b.transfer.received == 0
        assert not b.ear.reports
        b.partial.open.set()
        await b.told(256 * KIB)


async def test_an_upload_never_holds_more_than_its_window(bench: Any) -> None:
    async with bench(10 * MIB, gate=True) as b:
        for _ in range(4):
            b.transfer.take(b"x" * 256 * KIB)
            assert b.transfer.buffered <= MIB
        b.partial.open.set()
        await b.told(MIB)
        await b.transfer.drained()
        assert b.transfer.buffered == 0


async def test_a_second_full_batch_waits_in_the_hand_of_a_storage_at_work_and_no_third(bench: Any) -> None:
    async with bench(10 * MIB, gate=True) as b:
        b.transfer.take(b"a" * 128 * KIB)
        await b.partial.waiting.wait()
        b.transfer.take(b"b" * 128 * KIB)
        await asyncio.sleep(0.05)
        assert b.partial.calls == 1, "half a batch is not worth a turn"
        for _ in range(5):
            b.transfer.take(b"c" * 128 * KIB)
        await asyncio.sleep(0.05)
        assert b.partial.calls == 2
        assert b.transfer.buffered == 7 * 128 * KIB
        b.partial.open.set()
        await b.told(7 * 128 * KIB)
        expected = hashlib.sha256(b"a" * 128 * KIB + b"b" * 128 * KIB + b"c" * 640 * KIB).hexdigest()
        assert (await b.partial.digests()).sha256 == expected


async def test_a_rewind_with_two_batches_in_hand_is_told_once_and_nothing_is_written_behind_it(bench: Any) -> None:
    data = os.urandom(2 * MIB)
    async with bench(len(data), gate=True) as b:
        b.partial.open.set()
        b.transfer.take(data[: 256 * KIB])
        await b.told(256 * KIB)
        b.partial.open.clear()
        os.truncate(b.store.partial_path(b.key), 1000)
        for start in range(256 * KIB, MIB, 256 * KIB):
            b.transfer.take(data[start : start + 256 * KIB])
        while b.partial.calls < 3:
            await asyncio.sleep(0)
        b.partial.open.set()
        async with asyncio.timeout(10):
            while not b.ear.rewinds:
                await asyncio.sleep(0.01)
        await b.transfer.drained()
        assert b.ear.rewinds == [1000]
        assert b.partial.offset == 1000
        assert b.transfer.buffered == 0
        assert b.transfer.resume(1000)
        for start in range(1000, len(data), 256 * KIB):
            await b.told(max(0, start + 256 * KIB - MIB))
            b.transfer.take(data[start : start + 256 * KIB])
        await b.told(len(data))
        assert (await b.partial.digests()).sha256 == hashlib.sha256(data).hexdigest()


async def test_a_full_storage_ends_the_work_with_what_was_stored_before_it(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        b.transfer.take(b"a" * 256 * KIB)
        await b.told(256 * KIB)
        b.store._floor = 1 << 60
        b.partial._floor_checked = -(1 << 60)
        for _ in range(3):
            b.transfer.take(b"b" * 256 * KIB)
        with pytest.raises(StorageFullError):
            await b.running
        assert b.partial.offset == 256 * KIB
        assert (await b.partial.digests()).sha256 == hashlib.sha256(b"a" * 256 * KIB).hexdigest()


async def test_a_few_bytes_are_reported_although_no_more_come(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        b.transfer.take(b"first")
        await b.told(5)
        b.transfer.take(b"second")
        await b.told(11)


async def test_one_byte_frames_are_gathered_into_few_blocks(bench: Any) -> None:
    async with bench(10 * MIB, gate=True) as b:
        for _ in range(100_000):
            b.transfer.take(b"x")
        assert len(b.transfer._blocks) <= 2
        b.partial.open.set()
        await b.told(100_000)
        assert b.partial.offset == 100_000


async def test_a_frame_above_the_chunk_size_is_refused(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        with pytest.raises(FrameTooLarge):
            b.transfer.take(b"x" * (256 * KIB + 1))


async def test_a_byte_more_than_announced_is_refused(bench: Any) -> None:
    async with bench(10) as b:
        b.transfer.take(b"x" * 10)
        with pytest.raises(SizeExceeded):
            b.transfer.take(b"x")


async def test_after_a_rewind_frames_are_dropped_until_the_client_resumes_there(bench: Any) -> None:
    data = os.urandom(MIB)
    async with bench(len(data)) as b:
        b.transfer.take(data[: 256 * KIB])
        await b.told(256 * KIB)
        os.truncate(b.store.partial_path(b.key), 100_000)
        b.transfer.take(data[256 * KIB : 512 * KIB])
        async with asyncio.timeout(10):
            while not b.ear.rewinds:
                b.ear.news.clear()
                await b.ear.news.wait()
        assert b.ear.rewinds == [100_000]
        b.transfer.take(data[512 * KIB : 700 * KIB])
        assert b.transfer.dropping
        assert not b.transfer.complete
        assert not b.transfer.resume(256 * KIB), "an answer to an older rewind"
        assert b.transfer.resume(100_000)
        for start in range(100_000, len(data), 200_000):
            b.transfer.take(data[start : start + 200_000])
        await b.told(len(data))
        assert (await b.partial.digests()).sha256 == hashlib.sha256(data).hexdigest()


async def test_what_is_sent_once_more_after_a_second_resume_is_taken_once(bench: Any) -> None:
    data = os.urandom(MIB)
    async with bench(len(data)) as b:
        b.transfer.halt(waiting=True)
        b.transfer.restart()
        assert b.transfer.resume(0)
        b.transfer.take(data[:200_000])
        b.transfer.resume_again(0)
        for start in range(0, len(data), 150_000):
            b.transfer.take(data[start : start + 150_000])
            await b.told(min(len(data), max(200_000, start + 150_000)))
        assert (await b.partial.digests()).sha256 == hashlib.sha256(data).hexdigest()
        b.transfer.resume_again(len(data))
        with pytest.raises(SizeExceeded):
            b.transfer.take(b"x")


async def test_a_storage_that_goes_back_to_the_same_place_again_and_again_is_a_failing_one(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        for turn in (1, 2, 3):
            b.transfer.take(b"x" * 200_000)
            async with asyncio.timeout(10):
                while b.partial.offset < 200_000:
                    await asyncio.sleep(0.01)
            os.truncate(b.store.partial_path(b.key), 100_000)
            b.transfer.take(b"x" * 100_000)
            async with asyncio.timeout(10):
                while len(b.ear.rewinds) < turn:
                    await asyncio.sleep(0.01)
            assert b.transfer.resume(100_000)
        with pytest.raises(RewindError):
            async with asyncio.timeout(10):
                await b.running
        assert b.ear.rewinds == [100_000] * 3


async def test_more_than_a_window_dropped_is_a_violation(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        b.transfer.halt()
        for _ in range(4):
            b.transfer.take(b"x" * 256 * KIB)
        with pytest.raises(FlowViolation):
            b.transfer.take(b"x")


async def test_a_pause_while_the_storage_writes_goes_on_from_what_it_wrote(bench: Any) -> None:
    async with bench(MIB, gate=True) as b:
        b.transfer.take(b"a" * 256 * KIB)
        await b.partial.waiting.wait()
        b.transfer.take(b"b" * 256 * KIB)
        b.transfer.halt(waiting=True)
        assert not b.transfer.resume(0), "nothing goes on before `ready`"
        b.partial.open.set()
        await b.transfer.drained()
        b.transfer.restart()
        assert b.partial.offset == 256 * KIB
        assert b.transfer.resume(256 * KIB)
        b.transfer.take(b"b" * 256 * KIB)
        await b.told(512 * KIB)
        expected = hashlib.sha256(b"a" * 256 * KIB + b"b" * 256 * KIB).hexdigest()
        assert (await b.partial.digests()).sha256 == expected


async def test_a_client_that_sends_nothing_is_idle(bench: Any) -> None:
    async with bench(MIB) as b:
        async with asyncio.timeout(10):
            with pytest.raises(IdleTimeout):
                await b.transfer.watch(0.2)


async def test_a_client_that_trickles_is_idle(bench: Any) -> None:
    async with bench(MIB) as b:

        async def trickle() -> None:
            while True:
                b.transfer.take(b"x")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        async with asyncio.timeout(10):
            with pytest.raises(IdleTimeout):
                await b.transfer.watch(0.2)
        trickling.cancel()


async def test_a_client_without_window_is_not_idle(bench: Any) -> None:
    async with bench(10 * MIB, gate=True) as b:
        for _ in range(4):
            b.transfer.take(b"x" * 256 * KIB)
        watching = asyncio.create_task(b.transfer.watch(0.1))
        done, _ = await asyncio.wait({watching}, timeout=0.5)
        assert not done
        watching.cancel()


async def test_a_client_whose_next_frame_has_no_room_is_not_idle(bench: Any) -> None:
    """Frames need not divide the window: what is left of it may be too little for any frame of this client's."""
    async with bench(10 * MIB, gate=True) as b:
        for _ in range(5):
            b.transfer.take(b"x" * 180 * KIB)  # 124 of 1,024 KiB are left, and the storage does not move
        watching = asyncio.create_task(b.transfer.watch(0.1))
        done, _ = await asyncio.wait({watching}, timeout=0.5)
        assert not done
        b.partial.open.set()
        with pytest.raises(IdleTimeout):
            async with asyncio.timeout(10):
                await watching


async def test_the_time_in_which_the_program_itself_stood_still_is_not_the_clients(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        watching = asyncio.create_task(b.transfer.watch(0.4))
        await asyncio.sleep(0.05)
        time.sleep(1)  # noqa: ASYNC251 - as when the process was stopped, or its event loop blocked
        b.transfer.take(b"x" * 64 * KIB)  # what came meanwhile is heard only after the clock
        done, _ = await asyncio.wait({watching}, timeout=0.15)
        assert not done
        with pytest.raises(IdleTimeout):
            async with asyncio.timeout(10):
                await watching


async def test_a_client_whose_last_bytes_are_still_being_stored_is_not_idle(bench: Any) -> None:
    async with bench(256 * KIB, gate=True) as b:
        b.transfer.take(b"x" * 256 * KIB)
        watching = asyncio.create_task(b.transfer.watch(0.1))
        done, _ = await asyncio.wait({watching}, timeout=0.5)
        assert not done
        watching.cancel()


async def test_coming_back_without_moving_a_byte_does_not_wind_the_idle_clock_up(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        before = IdleMark(offset=0, since=time.monotonic() - 3600)
        async with asyncio.timeout(10):
            with pytest.raises(IdleTimeout):
                await b.transfer.watch(60, before)


async def test_consumed_bytes_are_reported_while_the_storage_takes_its_time_over_the_next(bench: Any) -> None:
    async with bench(10 * MIB, gate=True) as b:
        b.partial.open.set()
        b.transfer.take(b"x" * 1000)
        await b.told(1000)
        b.transfer.take(b"x" * 1000)
        async with asyncio.timeout(10):
            while b.transfer.received < 2000:
                await asyncio.sleep(0)
        b.partial.open.clear()
        b.transfer.take(b"x" * 1000)
        await b.told(2000)
        assert b.transfer.received == 2000
        b.partial.open.set()


async def test_a_paused_client_is_not_idle(bench: Any) -> None:
    async with bench(10 * MIB) as b:
        b.transfer.halt(waiting=True)
        watching = asyncio.create_task(b.transfer.watch(0.1))
        done, _ = await asyncio.wait({watching}, timeout=0.5)
        assert not done
        watching.cancel()


async def test_who_looks_on_sees_no_more_stored_than_received(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(MIB) as b:
        await b.partial.append([b"123"])  # on the disk, and not counted yet
        session = SimpleNamespace(transfer=b.transfer, halted=False, connected_at=0.0)
        monkeypatch.setitem(registry._sessions, b.key, session)
        [view] = registry.views()
        assert (view.received, view.stored) == (0, 0)
