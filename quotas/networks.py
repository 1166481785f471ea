"""Addresses and networks as an operator names them, and what is said of the person behind a key. Needs no Django."""

import ipaddress
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Generic, TypeVar

from quotas.rules import ACCOUNT, ADDRESS, IPNetwork

T = TypeVar("T")

PERSON_PREFIX_IPV6 = 64  # persons are counted by /64: a narrower network would name a part of one
GUESSER_PREFIX_IPV6 = 56  # what a household is often given: 256 persons at once, for whoever guesses


def canonical_network(text: str) -> str:
    """The one way to write this address or network: as a person's key has it where it is one person.

    An IPv6 network narrower than a /64 becomes its /64, and an IPv4 one in IPv6 clothes is IPv4. Raises ValueError.
    """
    return _text_of(_network(text.strip()))


def containing(text: str) -> list[str]:
    """Every network that contains this one, itself included, the most specific first. Raises ValueError."""
    network = _network(text)
    return [_text_of(network.supernet(new_prefix=prefix)) for prefix in range(network.prefixlen, -1, -1)]


@lru_cache(maxsize=512)  # half a millisecond for IPv6, asked several times for the same person
def containing_person(key: str) -> tuple[str, ...]:
    """Every network that contains the address of this person's key; none for an address that is not known."""
    try:
        return tuple(containing(key.removeprefix(ADDRESS)))
    except ValueError:
        return ()


def guesser(key: str) -> str:
    """The key that guesses at passwords are counted by for this person: of an IPv6 address the /56 that it lies in."""
    try:
        network = _network(key.removeprefix(ADDRESS)) if key.startswith(ADDRESS) else None
    except ValueError:
        return key
    if network is None or network.version == 4 or network.prefixlen <= GUESSER_PREFIX_IPV6:
        return key
    return f"{ADDRESS}{_text_of(network.supernet(new_prefix=GUESSER_PREFIX_IPV6))}"


def _network(text: str) -> IPNetwork:
    if "%" in text:
        raise ValueError("a zone means something on one machine only")
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv4Network):
        return network
    if network.prefixlen >= 96 and (mapped := network.network_address.ipv4_mapped):
        return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network.supernet(new_prefix=PERSON_PREFIX_IPV6) if network.prefixlen > PERSON_PREFIX_IPV6 else network


def _text_of(network: IPNetwork) -> str:
    return str(network.network_address) if network.prefixlen == 32 and network.version == 4 else str(network)


class ByPerson(Generic[T]):
    """What is said of persons: each entry is a key (`account:7`, `address:192.0.2.0/24`), its end or None, a value.

    Finding one costs a look-up for each length of prefix in use, however many entries there are.
    """

    def __init__(self, entries: Iterable[tuple[str, datetime | None, T]]) -> None:
        self._accounts: dict[str, tuple[datetime | None, T]] = {}
        self._networks: dict[tuple[int, int, int], tuple[datetime | None, T]] = {}
        for key, until, value in entries:
            if key.startswith(ACCOUNT):
                self._accounts[key] = until, value
            else:
                self._networks[_place(_network(key.removeprefix(ADDRESS)))] = until, value
        self._lengths = sorted({(version, length) for version, length, _number in self._networks}, reverse=True)

    @property
    def has_accounts(self) -> bool:
        return bool(self._accounts)

    def find(self, key: str, now: datetime) -> T | None:
        """What is in force at `now` for the person of this key: of several networks, the most specific one's."""
        if key.startswith(ACCOUNT):
            return _in_force(self._accounts.get(key), now)
        try:
            network = _network(key.removeprefix(ADDRESS)) if self._lengths else None
        except ValueError:  # an address that nobody knows lies in no network
            return None
        if network is None:
            return None
        version, own_length, number = _place(network)
        for known_version, length in self._lengths:
            if known_version == version and length <= own_length:
                drop = network.max_prefixlen - length
                found = _in_force(self._networks.get((version, length, number >> drop << drop)), now)
                if found is not None:
                    return found
        return None


def _place(network: IPNetwork) -> tuple[int, int, int]:
    return network.version, network.prefixlen, int(network.network_address)


def _in_force(entry: tuple[datetime | None, T] | None, now: datetime) -> T | None:
    if entry is None:
        return None
    until, value = entry
    return value if until is None or now < until else None
