"""Whom limits count by, which limits are in force, and what they refuse. Needs no Django."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# How a person's key begins.
ACCOUNT, ADDRESS = "account:", "address:"


@dataclass(frozen=True)
class Person:
    """Somebody whom limits and slots count by. `key` names the account or the address, as it is stored."""

    key: str
    audience: str  # a value of models.Audience
    account_id: int | None = None


def account_person(account_id: int) -> Person:
    return Person(f"{ACCOUNT}{account_id}", "registered", account_id)


@lru_cache(maxsize=4096)  # asked of each connection and of each request
def address_person(address: str) -> Person:
    """The person behind a client address: an IPv4 address, or the /64 network of an IPv6 one.

    A household or a phone has a /64 to itself and changes addresses within it at will.
    """
    try:
        parsed = _plain_address(address)
    except ValueError:
        return Person(f"{ADDRESS}unknown", "anonymous")
    if isinstance(parsed, ipaddress.IPv6Address):
        return Person(f"{ADDRESS}{ipaddress.ip_network((parsed, 64), strict=False)}", "anonymous")
    return Person(f"{ADDRESS}{parsed}", "anonymous")


def is_in(address: str, networks: Iterable[IPNetwork]) -> bool:
    """Does one of these networks have this address? What is none is in no network."""
    try:
        parsed = _plain_address(address)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in networks)


def client_address(peer: str, forwarded_for: Iterable[str], trusted: Iterable[IPNetwork]) -> str:
    """The address of the client: the last hop, read from right to left, that is no trusted proxy.

    `forwarded_for` holds the X-Forwarded-For entries in the order of the header. Whatever stands left of an
    untrusted hop was written by that hop and proves nothing.
    """
    networks = list(trusted)
    current = peer
    for entry in reversed([entry.strip() for entry in forwarded_for]):
        if not is_in(current, networks):
            break
        try:
            current = str(_plain_address(entry.strip("[]")))
        except ValueError:
            break
    return current


def _plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address; of an IPv4 one in IPv6 clothes, as a socket for both has it, the IPv4 one. Raises ValueError."""
    parsed = ipaddress.ip_address(text)
    return (isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped) or parsed


def utc_day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def end_of_day(day: date) -> datetime:
    """The UTC midnight at which `day` ends and its quota starts anew."""
    return datetime.combine(day + timedelta(days=1), time.min, tzinfo=UTC)


# Every limit that an environment variable may override, in the order in which people read them.
VARIABLES = {
    "limits_enforced": "ENABLE_UPLOAD_LIMITS",
    "max_concurrent_uploads": "MAX_CONCURRENT_UPLOADS",
    "max_concurrent_uploads_per_user": "MAX_CONCURRENT_UPLOADS_PER_USER",
    "max_queued_uploads": "MAX_QUEUED_UPLOADS",
    "max_memory_percent": "MAX_MEMORY_PERCENT",
    "reserved_memory_bytes": "RESERVED_MEMORY_BYTES",
}
FROM_PROFILE = "profile"

# What the columns hold. "Unlimited" ends here, so that a sum can never leave its column.
MOST_BYTES = 2**63 - 1
MOST_FILES = 2**31 - 1


@dataclass(frozen=True)
class AudienceLimits:
    """What a profile lets one audience send; None means unlimited."""

    file_bytes: int | None = None
    daily_bytes: int | None = None
    daily_files: int | None = None


@dataclass(frozen=True)
class Profile:
    """The limits of one environment, before the environment variables. Memory in bytes."""

    limits_enforced: bool
    max_concurrent_uploads: int
    max_concurrent_uploads_per_user: int
    max_queued_uploads: int
    max_memory_percent: int
    reserved_memory_bytes: int
    audiences: Mapping[str, AudienceLimits]


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
    file_bytes: int | None = None
    daily_bytes: int | None = None
    daily_files: int | None = None


@dataclass(frozen=True)
class OwnLimits:
    """What one person may send in place of their audience; None means as the audience.

    `no_limits` makes everything unlimited. In force before `until`; None means for good.
    """

    file_bytes: int | None = None
    daily_bytes: int | None = None
    daily_files: int | None = None
    no_limits: bool = False
    until: datetime | None = None


@dataclass(frozen=True)
class LimitInForce:
    """One limit as it is in force: `source` is `profile` or the name of the environment variable that wins."""

    name: str
    value: int | bool
    source: str
    profile_value: int | bool

    @property
    def overridden(self) -> bool:
        return self.source != FROM_PROFILE


@dataclass(frozen=True)
class Usage:
    """What a person has used and reserved on one UTC day: bytes, and the number of files."""

    used_bytes: int = 0
    reserved_bytes: int = 0
    files: int = 0


class FileLimitExceeded(Exception):
    """Files are larger than their sender may send: those at `positions` in the list, the first of `size` bytes."""

    def __init__(self, limit: int, size: int, positions: Sequence[int]) -> None:
        super().__init__(f"a file of {size} bytes, with {limit} allowed")
        self.limit, self.size, self.positions = limit, size, positions


class DayLimitExceeded(Exception):
    """The day's bytes (`unit` is `bytes`) or files (`unit` is `files`) would be exceeded.

    `position` is that of the first file in the list that does not fit any more.
    """

    def __init__(self, unit: str, limit: int, used: int, reserved: int, resets_at: datetime, position: int) -> None:
        super().__init__(f"{used} {unit} used and {reserved} reserved, with {limit} allowed a day")
        self.unit, self.limit, self.used, self.reserved, self.resets_at = unit, limit, used, reserved, resets_at
        self.position = position

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used - self.reserved)


def limits_in_force(profile: Profile, overrides: Mapping[str, int | bool | None]) -> list[LimitInForce]:
    """Every limit with its value and source: what the environment says wins, None lets the profile decide."""
    result = []
    for name, variable in VARIABLES.items():
        own, override = getattr(profile, name), overrides.get(name)
        if override is None:
            result.append(LimitInForce(name, own, FROM_PROFILE, own))
        else:
            result.append(LimitInForce(name, override, variable, own))
    return result


def slot_limits(profile: Profile, overrides: Mapping[str, int | bool | None]) -> SlotLimits:
    value = {limit.name: limit.value for limit in limits_in_force(profile, overrides)}
    return SlotLimits(
        all_uploads=value["max_concurrent_uploads"],
        per_person=value["max_concurrent_uploads_per_user"],
        queued=value["max_queued_uploads"],
        max_memory_percent=value["max_memory_percent"],
        reserved_memory_bytes=value["reserved_memory_bytes"],
    )


def person_limits(
    profile: Profile, overrides: Mapping[str, int | bool | None], audience: str, own: OwnLimits | None = None
) -> PersonLimits:
    """What somebody of `audience` may send, with limits of their `own` if any.

    Nothing is limited where limits are not enforced, whatever anybody's own limits say.
    """
    override = overrides.get("limits_enforced")
    enforced = profile.limits_enforced if override is None else bool(override)
    if not enforced:
        return PersonLimits(enforced=False)
    if own is not None and own.no_limits:
        return PersonLimits(enforced=True)
    common = profile.audiences[audience]
    values = {field.name: getattr(common, field.name) for field in fields(AudienceLimits)}
    if own is not None:
        values |= {name: mine for name in values if (mine := getattr(own, name)) is not None}
    return PersonLimits(True, **values)


def byte_ceiling(limits: PersonLimits) -> int:
    return MOST_BYTES if limits.daily_bytes is None else limits.daily_bytes


def file_ceiling(limits: PersonLimits) -> int:
    return MOST_FILES if limits.daily_files is None else limits.daily_files


def remaining_bytes(limits: PersonLimits, usage: Usage) -> int | None:
    """What is left of the day's bytes; None where the day is unlimited."""
    if limits.daily_bytes is None:
        return None
    return max(0, limits.daily_bytes - usage.used_bytes - usage.reserved_bytes)


def check_files(limits: PersonLimits, sizes: Sequence[int]) -> None:
    """Raise `FileLimitExceeded` where files of these sizes, in bytes, are more than their sender may send."""
    if limits.file_bytes is None:
        return
    too_large = [position for position, size in enumerate(sizes) if size > limits.file_bytes]
    if too_large:
        raise FileLimitExceeded(limits.file_bytes, sizes[too_large[0]], too_large)


def check_day(limits: PersonLimits, usage: Usage, sizes: Sequence[int], day: date) -> None:
    """Raise `DayLimitExceeded` where files of these sizes do not all fit into what is left of `day`."""
    most_bytes, most_files = byte_ceiling(limits), file_ceiling(limits)
    taken = usage.used_bytes + usage.reserved_bytes
    for position, size in enumerate(sizes):
        taken += size
        if taken > most_bytes:
            raise DayLimitExceeded(
                "bytes", most_bytes, usage.used_bytes, usage.reserved_bytes, end_of_day(day), position
            )
        if usage.files + position + 1 > most_files:
            raise DayLimitExceeded("files", most_files, usage.files, 0, end_of_day(day), position)
