"""How often a person may come, and how long an upload may be idle, is counted for all workers together."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from devtools.client import Client, PatternSource, Refused, sha256_of
from devtools.server_process import ServerProcess
from tests.test_wire_socket import talk
from tests.workers.conftest import MakeCrew
from tests.workers.crew import at

MIB = 1024 * 1024
Pair = tuple[ServerProcess, ServerProcess]
RATE = 5
IDLE_SECONDS = 3


@pytest.fixture(scope="module")
def pair(make_crew: MakeCrew) -> Pair:
    """Two workers with little patience."""
    limits = {"UPLOAD_IDLE_SECONDS": str(IDLE_SECONDS), "RATE_INITIATE_PER_MINUTE": str(RATE)}
    crew = make_crew(TRUSTED_PROXIES="127.0.0.1", **limits)
    return crew.hire(), crew.hire()


@pytest.fixture
async def clients(pair: Pair) -> AsyncIterator[tuple[Client, Client]]:
    """Both from an address of the test's own, so that no other test's requests count."""
    headers = {"X-Forwarded-For": f"198.51.100.{time.monotonic_ns() % 250}"}
    async with Client(pair[0].url, headers) as here, Client(pair[1].url, headers) as there:
        yield here, there


async def test_a_person_has_one_rate_at_all_workers(clients: tuple[Client, Client]) -> None:
    for turn in range(RATE):
        await clients[turn % 2].initiate("small.bin", 10)
    for client in clients:
        with pytest.raises(Refused) as refused:
            await client.initiate("small.bin", 10)
        assert refused.value.code == "rate_limited"
        assert 0 < refused.value.extra["retry_after"] <= 60


async def test_coming_back_at_another_worker_moves_no_byte_and_stops_no_idle_clock(
    pair: Pair, clients: tuple[Client, Client]
) -> None:
    here, there = clients
    upload = await here.initiate("film.mkv", 10 * MIB)
    began = time.monotonic()
    turn = 0
    while True:
        async with talk((here, there)[turn % 2], at(pair[turn % 2], upload)) as socket:
            await socket.until("ready")
            try:
                async with asyncio.timeout(IDLE_SECONDS / 3):
                    assert await socket.refused() == ("idle_timeout", 4408)
                    break
            except TimeoutError:
                socket.socket.transport.abort()
        turn += 1
        assert time.monotonic() - began < 10 * IDLE_SECONDS
    assert turn >= 1
    source = PatternSource(10 * MIB)
    assert (await there.send(at(pair[1], upload), source))["sha256"] == sha256_of(source)
