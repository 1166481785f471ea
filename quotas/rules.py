"""Whom limits count by, which limits are in force, and what they refuse. Needs no Django."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Person:
    """Somebody whom limits and slots count by. `key` names the account or the address, as it is stored."""

    key: str
    audience: str  # a value of models.Audience
    account_id: int | None = None


def account_person(account_id: int) -> Person:
    return Person(f"account:{account_id}", "registered", account_id)


def address_person(address: str) -> Person:
    """The person behind a client address: an IPv4 address, or the /64 network of an IPv6 one.

    A household or a phone has a /64 to itself and changes addresses within it at will.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return Person("address:unknown", "anonymous")
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return Person(f"address:{parsed.ipv4_mapped}", "anonymous")
        return Person(f"address:{ipaddress.ip_network((parsed, 64), strict=False)}", "anonymous")
    return Person(f"address:{parsed}", "anonymous")


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Iterable[IPNetwork]) -> str:
    """The address of the client: the last hop, read from right to left, that is no trusted proxy.

    `forwarded_for` holds the X-Forwarded-For entries in the order of the header. Whatever stands left of an
    untrusted hop was written by that hop and proves nothing.
    """
    networks = list(trusted)

    def is_trusted(address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed.version == network.version and parsed in network for network in networks)

    current = peer
    for entry in reversed([entry.strip() for entry in forwarded_for]):
        if not is_trusted(current):
            break
        try:
            current = str(ipaddress.ip_address(entry.strip("[]")))
        except ValueError:
            break
    return current


def utc_day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def end_of_day(day: date) -> datetime:
    """The UTC midnight at which `day` ends and its quota starts anew."""
    return datetime.combine(day + timedelta(days=1), time.min, tzinfo=UTC)


@dataclass(frozen=True)
class SlotLimits:
    """What the slot manager goes by. Memory in bytes."""

    all_uploads: int
    per_person: int
    queued: int
    max_memory_percent: int
    reserved_memory_bytes: int


@dataclass(frozen=True)
class PersonLimits:
    """What one person may send; None means unlimited."""

    enforced: bool
    file_bytes: int | None
    daily_bytes: int | None
    daily_files: int | None


@dataclass(frozen=True)
class LimitInForce:
    """One limit as it is in force: `source` is `profile` or the name of the environment variable that wins."""

    name: str
    value: int | bool
    source: str
    profile_value: int | bool


class FileLimitExceeded(Exception):
    """The file alone is larger than its sender may send; sizes in bytes."""

    def __init__(self, limit: int, size: int) -> None:
        super().__init__(f"a file of {size} bytes, with {limit} allowed")
        self.limit, self.size = limit, size


class DayLimitExceeded(Exception):
    """The day's bytes (`unit` is `bytes`) or files (`unit` is `files`) would be exceeded."""

    def __init__(self, unit: str, limit: int, used: int, reserved: int, resets_at: datetime) -> None:
        super().__init__(f"{used} {unit} used and {reserved} reserved, with {limit} allowed a day")
        self.unit, self.limit, self.used, self.reserved, self.resets_at = unit, limit, used, reserved, resets_at

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used - self.reserved)
