"""Which client of a download is so slow that it must give way to those who wait."""

import asyncio

import pytest

from uploads.delivery.reader import BEHIND_SECONDS, FLOOR_BYTES_PER_SECOND, Reader

BLOCK = 1024 * 1024


class Client:
    """Takes so much a second of what it is sent, by a clock that the test moves."""

    def __init__(self) -> None:
        self.now, self.unread = 1000.0, 0
        self.reader = Reader(lambda: self.unread, clock=lambda: self.now)

    def takes(self, rate: float, seconds: int) -> None:
        """It is sent a block as soon as it has taken the one before."""
        for _ in range(seconds):
            self.now += 1
            left = rate
            while left > self.unread:
                left -= self.unread
                self.unread = BLOCK
                self.reader.end()
                self.reader.begin(BLOCK)
            self.unread -= int(left)


@pytest.fixture
async def client() -> Client:
    client = Client()
    client.reader.begin(BLOCK)
    return client


@pytest.mark.parametrize(
    ("rate", "seconds", "is_slow"),
    [
        (0, BEHIND_SECONDS - 1, False),
        (0, BEHIND_SECONDS + 1, True),
        (FLOOR_BYTES_PER_SECOND // 2, BEHIND_SECONDS + 1, False),
        (FLOOR_BYTES_PER_SECOND // 2, 2 * BEHIND_SECONDS + 2, True),
        (FLOOR_BYTES_PER_SECOND + 100, 3600, False),
        (100 * FLOOR_BYTES_PER_SECOND, 3600, False),
    ],
)
async def test_who_falls_too_far_behind_is_slow_also_within_a_block(
    client: Client, rate: int, seconds: float, is_slow: bool
) -> None:
    client.unread = BLOCK
    client.reader.end()
    client.reader.begin(BLOCK)
    client.takes(rate, int(seconds))
    assert client.reader.is_slow() == is_slow


async def test_what_was_taken_fast_before_does_not_count_for_long(client: Client) -> None:
    client.takes(50 * BLOCK, 60)
    assert not client.reader.is_slow()
    client.now += BEHIND_SECONDS + 1
    assert client.reader.is_slow()
    client.takes(BLOCK, 1)
    assert not client.reader.is_slow(), "it goes on"


async def test_a_client_is_not_slow_for_want_of_bytes_to_take(client: Client) -> None:
    client.reader.end()
    client.now += 3600
    assert not client.reader.is_slow()


async def test_what_its_connection_still_holds_is_not_taken(client: Client) -> None:
    """A block of which nothing leaves counts for nothing, also when the next is sent."""
    client.unread += BLOCK
    client.reader.end()
    client.reader.begin(BLOCK)
    client.now += BEHIND_SECONDS + 1
    assert client.reader.is_slow()


async def test_it_gives_way_once(client: Client) -> None:
    assert not client.reader.gives_way.done()
    client.reader.give_way()
    client.reader.give_way()
    async with asyncio.timeout(1):
        await client.reader.gives_way


async def test_what_was_meant_for_it_and_never_left_is_known() -> None:
    reader = Reader(lambda: 700, lambda: 300)
    assert reader.unsent() == 300
    reader.begin(BLOCK)
    assert reader.unsent() == BLOCK + 300
    reader.end()
    assert reader.unsent() == 300
