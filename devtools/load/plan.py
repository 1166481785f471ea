"""What a run will do, drawn from its seed before it begins: people, their lines, their files, their mishaps."""

import random
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from devtools.client import PatternSource

KIB, MIB = 1024, 1024 * 1024
PLANNED_STEPS = ("disconnect", "pause", "cancel")


@dataclass(frozen=True)
class Options:
    """Sizes in bytes, rates in bytes a second, shares from 0 to 1, times in seconds."""

    url: str
    uploads: int = 200
    people: int = 40
    at_once: int = 5  # files that one person has before the server at the same time
    smallest: int = KIB
    largest: int = 8 * MIB
    slow_people: float = 0.2
    slow_rate: float = 1.0 * MIB
    fast_rate: float = 0.0  # 0: as fast as it goes
    disconnects: float = 0.1
    pauses: float = 0.05
    cancels: float = 0.05
    downloads: float = 0.1
    arrive_within: float = 5.0
    seconds: float = 600.0
    seed: int = 1
    forwarded: bool = False  # people differ by X-Forwarded-For, and not by their address on loopback
    keep: bool = False
    trusting: ssl.SSLContext | None = None  # for a server whose certificate not everybody believes


@dataclass(frozen=True)
class PlannedUpload:
    """One file and what happens to it: each step when so many bytes were sent, in order."""

    number: int
    size: int
    steps: tuple[tuple[int, str], ...]
    download: bool


@dataclass(frozen=True)
class Person:
    """Comes after `arrives` seconds from `address`, and sends at `rate` bytes a second (0: as fast as it goes)."""

    address: str
    arrives: float
    rate: float
    uploads: tuple[PlannedUpload, ...]


class LoadSource(PatternSource):
    """Bytes that differ from upload to upload and from block to block, and cost no memory of their own."""

    def __init__(self, size: int, number: int) -> None:
        self.size, self._number, self._noise = size, number, _NOISE

    def _block(self, number: int) -> bytes:
        return self._number.to_bytes(8, "big") + number.to_bytes(8, "big") + self._noise[16:]


_NOISE = random.Random(0).randbytes(PatternSource.BLOCK)


def address_of(number: int, *, forwarded: bool) -> str:
    """That of a person: any network address where a header tells it, one of loopback's where it is real."""
    high, low = divmod(number, 254 * 256)
    return f"{10 if forwarded else 127}.{high + 1}.{low // 254}.{low % 254 + 1}"


def people(options: Options) -> Iterator[Person]:
    """Everybody who will come, each with their share of the uploads; the same for the same options."""
    random_ = random.Random(options.seed)
    numbers = iter(range(options.uploads))
    for person in range(min(options.people, options.uploads)):
        count = options.uploads // options.people + (person < options.uploads % options.people)
        slow = random_.random() < options.slow_people
        yield Person(
            address_of(person, forwarded=options.forwarded),
            random_.uniform(0, options.arrive_within),
            options.slow_rate if slow else options.fast_rate,
            tuple(_drawn(options, random_, next(numbers)) for _ in range(count)),
        )


def _drawn(options: Options, random_: random.Random, number: int) -> PlannedUpload:
    """Sizes are spread evenly over their magnitudes: many small files, few large ones, most bytes in the large."""
    size = round(options.smallest * (options.largest / options.smallest) ** random_.random())
    shares = (options.disconnects, options.pauses, options.cancels)
    steps = [
        (random_.randrange(size + 1), kind)
        for kind, share in zip(PLANNED_STEPS, shares, strict=True)
        if random_.random() < share
    ]
    return PlannedUpload(number, size, tuple(sorted(steps)), random_.random() < options.downloads)
