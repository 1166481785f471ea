"""How long a new connection waits before it is read, and that nothing of it is lost by that."""

import asyncio
import errno
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import uvloop

import directdrivex.doorstep as door
from directdrivex.doorstep import CONNECTION_SECONDS, LONGEST_SECONDS, Acceptor, Doorstep
from uploads.time_shares import Share

HERE, THERE = "192.0.2.1", "192.0.2.2"
A_MINUTE = int(60 / CONNECTION_SECONDS)


def always(_person: str) -> bool:
    return True


def never(_person: str) -> bool:
    return False


def waits(doorstep: Doorstep, address: str, connections: int) -> list[float | None]:
    return [doorstep.wait(address) for _ in range(connections)]


def test_a_browser_and_a_few_more_behind_one_address_come_in_at_once() -> None:
    assert waits(Doorstep(Share(always), []), HERE, 30) == [0.0] * 30


def test_each_connection_of_a_flood_waits_longer_than_the_one_before_and_others_do_not() -> None:
    doorstep = Doorstep(Share(always, clock=lambda: 0.0), [])
    told = [wait or 0.0 for wait in waits(doorstep, HERE, 200)]
    assert told == sorted(told)
    assert 0 < told[100] < told[150] < told[199] < LONGEST_SECONDS
    assert doorstep.wait(THERE) == 0.0


def test_a_connection_that_would_wait_too_long_is_closed_and_makes_none_after_it_wait_longer() -> None:
    clock = [0.0]
    doorstep = Doorstep(Share(always, clock=lambda: clock[0]), [])
    told = waits(doorstep, HERE, A_MINUTE)
    assert 400 < sum(wait is not None for wait in told) < 1000
    assert told[-1] is None
    clock[0] += 1.0
    assert doorstep.wait(HERE) is not None


def test_so_many_wait_of_all_addresses_together_and_who_keeps_to_their_share_comes_in_still() -> None:
    clock = [0.0]
    share = Share(always, clock=lambda: clock[0])
    doorstep = Doorstep(share, [], most_waiting=300, clock=lambda: clock[0])
    told = [wait for number in range(20) for wait in waits(doorstep, f"192.0.2.{number}", 100)]
    assert sum(bool(wait) for wait in told) == 300
    assert None in told
    assert doorstep.wait("198.51.100.1") == 0.0
    clock[0] += LONGEST_SECONDS
    assert sum(bool(wait) for wait in waits(doorstep, HERE, 100)) > 0


def test_nobody_waits_where_nobody_else_would_have_the_time() -> None:
    assert waits(Doorstep(Share(never), []), HERE, A_MINUTE) == [0.0] * A_MINUTE


def test_a_network_of_one_household_is_one_and_trusted_proxies_are_everybody() -> None:
    trusted = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    doorstep = Doorstep(Share(always, clock=lambda: 0.0), trusted)
    waits(doorstep, "2001:db8::1", A_MINUTE)
    assert doorstep.wait("2001:db8::2") is None
    for proxy in ("10.1.2.3", "fd00::1", "::ffff:10.1.2.3"):
        assert waits(doorstep, proxy, A_MINUTE) == [0.0] * A_MINUTE
    assert waits(doorstep, "", A_MINUTE) == [0.0] * A_MINUTE, "a Unix socket has no address"


class Told(Doorstep):
    """Says what the test told it, and keeps the address that it was asked about."""

    def __init__(self, says: float | None) -> None:
        super().__init__(Share(always), [])
        self.says, self.asked = says, ""

    def wait(self, address: str) -> float | None:
        self.asked = address
        return self.says


class Echo(asyncio.Protocol):
    """What is inside: sends everything back, and notes when it got it."""

    def __init__(self, came_in: list[float]) -> None:
        self.came_in = came_in

    def connection_made(self, transport: Any) -> None:  # uvloop's is no asyncio.Transport
        self.transport = transport
        self.came_in.append(asyncio.get_running_loop().time())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@asynccontextmanager
async def served(doorstep: Doorstep, came_in: list[float]) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, doorstep, lambda: Echo(came_in))
        try:
            async with asyncio.timeout(20):
                yield listener.getsockname()[1]
        finally:
            await acceptor.close()


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_what_was_sent_before_it_came_in_is_answered_after(run: Callable[..., None], seconds: float) -> None:
    async def ask() -> None:
        came_in: list[float] = []
        async with served(doorstep := Told(seconds), came_in) as port:
            began = asyncio.get_running_loop().time()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"early ")
            await asyncio.sleep(0.05)
            writer.write(b"x" * 1_000_000)
            assert await reader.readexactly(1_000_006) == b"early " + b"x" * 1_000_000
            writer.write(b"late")
            assert await reader.readexactly(4) == b"late"
            assert came_in[0] - began > seconds - 0.01, "but for uvloop's clock, which knows milliseconds"
            assert doorstep.asked == "127.0.0.1"
            writer.close()

    run(ask())


def test_a_connection_that_is_one_too_many_is_closed(run: Callable[..., None]) -> None:
    async def ask() -> None:
        came_in: list[float] = []
        async with served(Told(None), came_in) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
        assert not came_in

    run(ask())


def test_who_leaves_on_the_doorstep_does_no_harm_to_who_comes_next(run: Callable[..., None]) -> None:
    async def ask() -> None:
        async with served(Told(0.1), []) as port:
            for _ in range(20):
                _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"early")
                writer.transport.abort()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"patient")
            assert await reader.readexactly(7) == b"patient"
            writer.close()

    run(ask())


def test_a_crowd_at_the_door_leaves_the_loop_its_other_work(run: Callable[..., None]) -> None:
    async def ask() -> None:
        came_in: list[float] = []
        rounds: list[int] = []
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
            address = listener.getsockname()
            crowd = [socket.create_connection(address) for _ in range(60)]
            acceptor = Acceptor(listener, Told(0.0), lambda: Echo(came_in), at_once=4)
            while len(came_in) < len(crowd):
                rounds.append(len(came_in))
                await asyncio.sleep(0)
            await acceptor.close()
        for connection in crowd:
            connection.close()
        assert all(later - before <= 4 for before, later in itertools.pairwise(rounds))

    run(ask())


def test_those_who_wait_come_in_when_the_door_is_closed(run: Callable[..., None]) -> None:
    async def ask() -> None:
        came_in: list[float] = []
        async with served(Told(30.0), came_in) as port:
            people = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            await asyncio.sleep(0.05)
            people[0][1].transport.abort()
        assert len(came_in) == 3
        for reader, writer in people[1:]:
            writer.write(b"patient")
            assert await reader.readexactly(7) == b"patient"
            writer.close()

    run(ask())


class Bare:
    """A listener whose system is out of descriptors so many times."""

    def __init__(self, listener: socket.socket, times: int) -> None:
        self._listener, self.times = listener, times

    def accept(self) -> Any:
        if self.times:
            self.times -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def test_a_program_without_descriptors_accepts_again_when_it_has_some(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "PAUSE_SECONDS", 0.05)

    async def ask() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            bare: Any = Bare(listener, times=2)
            acceptor = Acceptor(bare, Told(0.0), lambda: Echo([]))
            async with asyncio.timeout(20):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                writer.write(b"patient")
                assert await reader.readexactly(7) == b"patient"
            writer.close()
            await acceptor.close()
            assert bare.times == 0

    run(ask())
