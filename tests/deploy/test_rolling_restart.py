"""Two instances behind nginx on the same Redis, PostgreSQL and files, restarted one after the other under uploads."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from devtools.client import Client, PatternSource, Refused, sha256_of
from devtools.nginx import PrivateNginx
from devtools.server_process import ServerProcess

MIB = 1024 * 1024
UPLOADS = 4
StartServer = Callable[..., ServerProcess]
StartNginx = Callable[[Sequence[int]], PrivateNginx]


@pytest.fixture
def instances(start_server: StartServer, postgresql_url: str, redis_url: str, tmp_path) -> list[ServerProcess]:
    """Two that share everything but their port."""
    shared = {
        "DATABASE_URL": postgresql_url,
        "REDIS_URL": redis_url,
        "DATA_DIR": str(tmp_path / "data"),
        "TRUSTED_PROXIES": "127.0.0.1",
        "SLOT_LEASE_SECONDS": "6",
    }
    (tmp_path / "data").mkdir(mode=0o700)
    return [start_server(**shared), start_server(**shared)]


def slow_until(over: asyncio.Event) -> Callable[[int], Awaitable[None]]:
    """The pace of a line that takes a frame every few seconds, and anything once it is `over`."""

    async def pace(length: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await over.wait()

    return pace


@asynccontextmanager
async def announcing(client: Client) -> AsyncIterator[list[str]]:
    """Announce and cancel files all the while; gives the codes of all refusals."""
    refused: list[str] = []

    async def for_ever() -> None:
        for number in itertools.count():
            try:
                await client.cancel(await client.initiate(f"{number}", 1))
            except Refused as refusal:
                refused.append(refusal.code)

    task = asyncio.create_task(for_ever())
    yield refused
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_no_upload_fails_and_nobody_is_refused(instances: list[ServerProcess], start_nginx: StartNginx) -> None:
    nginx = start_nginx([instance.port for instance in instances])
    sources = [PatternSource(48 * MIB, seed) for seed in range(UPLOADS)]
    async with (
        Client(nginx.url, trusting=nginx.trusting()) as client,
        Client(nginx.url, trusting=nginx.trusting(), address="127.0.0.2") as other,
    ):
        uploads = [await client.initiate("film.mkv", source.size) for source in sources]
        over = asyncio.Event()
        sending = [
            asyncio.create_task(client.send(upload, source, pace=slow_until(over)))
            for upload, source in zip(uploads, sources, strict=True)
        ]
        await until(lambda: all(upload.stored for upload in uploads))
        async with announcing(other) as refused:
            for instance in instances:
                await asyncio.to_thread(instance.stop)
                await asyncio.to_thread(instance.restart)
            over.set()
            successes = await asyncio.gather(*sending)
        assert refused == []
        for upload, source, success in zip(uploads, sources, successes, strict=True):
            assert success["sha256"] == sha256_of(source) == await client.digest_of_download(upload)
    assert all(upload.connections > 1 for upload in uploads), "each was on one of the two"
    told = {message["code"] for upload in uploads for message in upload.of_type("error")}
    assert told == {"server_restart"}


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)
