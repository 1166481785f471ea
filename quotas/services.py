"""Limits in force, and the life of a quota: reserve, commit, give back. Synchronous; asynchronous callers wrap them.

Each change of a day's figures is one UPDATE whose condition and arithmetic the database evaluates under the row's
lock, so that parallel requests cannot overshoot, whichever process they run in. All may be called inside a caller's
transaction. A transaction that also changes the row of an existing file changes that row first, so that two
transactions never wait for each other crosswise.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import structlog
from django.conf import settings
from django.db.models import BigIntegerField, ExpressionWrapper, F, QuerySet, Value
from django.db.models.functions import Greatest
from django.utils import timezone

from quotas import networks, rules
from quotas.models import AudienceLimit, BlockedType, DailyUsage, LimitProfile, PersonLimit
from quotas.rules import Usage
from quotas.seeds import SEEDS

log = structlog.get_logger(__name__)

# Django takes a sum for a 32-bit integer, and leaves out a comparison that such a one could never fail.
TAKEN = ExpressionWrapper(F("used_bytes") + F("reserved_bytes"), output_field=BigIntegerField())
AUDIENCE_FIELDS = tuple(field.name for field in dataclasses.fields(rules.AudienceLimits))


def seed_profiles() -> None:
    """Create the profiles and audience limits that are missing; never change those that exist."""
    LimitProfile.objects.bulk_create(
        [
            LimitProfile(environment=environment, **{name: getattr(seed, name) for name in rules.VARIABLES})
            for environment, seed in SEEDS.items()
        ],
        ignore_conflicts=True,
    )
    AudienceLimit.objects.bulk_create(
        [
            AudienceLimit(profile=profile, audience=audience, **dataclasses.asdict(limits))
            for profile in LimitProfile.objects.all()
            for audience, limits in SEEDS[profile.environment].audiences.items()
        ],
        ignore_conflicts=True,
    )


def active_profile() -> rules.Profile:
    """The profile of `settings.ENVIRONMENT`, before overrides, in one query; what is missing is as its seed."""
    seed = SEEDS[settings.ENVIRONMENT]
    rows = LimitProfile.objects.filter(environment=settings.ENVIRONMENT).values(
        *rules.VARIABLES, "audience_limits__audience", *(f"audience_limits__{name}" for name in AUDIENCE_FIELDS)
    )
    values: dict[str, Any] = {}
    audiences = dict(seed.audiences)
    for row in rows:
        values = {name: row[name] for name in rules.VARIABLES}
        if audience := row["audience_limits__audience"]:
            audiences[audience] = rules.AudienceLimits(*(row[f"audience_limits__{name}"] for name in AUDIENCE_FIELDS))
    return dataclasses.replace(seed, audiences=audiences, **values)


def slot_limits() -> rules.SlotLimits:
    """What the slot manager goes by at this moment; one query."""
    return rules.slot_limits(active_profile(), settings.LIMIT_OVERRIDES)


def limits_in_force() -> list[rules.LimitInForce]:
    """Every limit that the environment may override, with its value in force and where that comes from."""
    return rules.limits_in_force(active_profile(), settings.LIMIT_OVERRIDES)


def own_limits(person: rules.Person, now: datetime) -> rules.OwnLimits | None:
    """What an admin gave this person in place of the audience's limits, if it is in force at `now`; one query."""
    if person.account_id is not None:
        rows = PersonLimit.objects.filter(account_id=person.account_id)
    else:
        rows = PersonLimit.objects.filter(network__in=networks.containing_person(person.key))
    return own_limits_of(rows).find(person.key, now)


def own_limits_of(rows: Iterable[PersonLimit]) -> networks.ByPerson[rules.OwnLimits]:
    """These rows as a table of who has which limits of their own."""
    names = [field.name for field in dataclasses.fields(rules.OwnLimits)]
    return networks.ByPerson(
        (row.key, row.until, rules.OwnLimits(**{name: getattr(row, name) for name in names})) for row in rows
    )


def person_limits(person: rules.Person) -> rules.PersonLimits:
    """What this person may send at this moment; two queries."""
    own = own_limits(person, timezone.now())
    return rules.person_limits(active_profile(), settings.LIMIT_OVERRIDES, person.audience, own)


def blocked_types() -> frozenset[str]:
    """The extensions and media types that nobody may send at this moment, as `file_types.blocked_by` wants them."""
    return frozenset(BlockedType.objects.values_list("pattern", flat=True))


def reserve(person: rules.Person, sizes: Sequence[int], day: date, *, accepted: bool = False) -> None:
    """Reserve files of these sizes, in bytes, of the person's `day`: all of them in one atomic step, or change nothing.

    Files that were `accepted` before are not judged by their own size again: the limit may have been lowered since.

    Raises `rules.FileLimitExceeded` and `rules.DayLimitExceeded`. Where limits are not enforced it still records.
    """
    if not sizes:
        return
    for size in sizes:
        _refuse_negative(size)
    limits = person_limits(person)
    if not accepted:
        rules.check_files(limits, sizes)
    while not _take(person.key, day, sizes, limits):
        current = _rows(person.key, day).values_list("used_bytes", "reserved_bytes", "files").first()
        if current is None:
            DailyUsage.objects.bulk_create([DailyUsage(person=person.key, day=day)], ignore_conflicts=True)
        else:
            # Where this does not raise, bytes were given back in between: the next try has room, or new figures.
            rules.check_day(limits, Usage(*current), sizes, day)


def commit(person_key: str, day: date, size: int) -> None:
    """Turn a reservation of `size` bytes into use; the file stays counted."""
    _settle(person_key, day, size, used=size, files=0)


def give_back(person_key: str, day: date, size: int, *, keep_bytes: int = 0, forget_files: int = 0) -> None:
    """End reservations of `size` bytes in all, of which `keep_bytes` (those really received) stay as used.

    `forget_files` are taken out of the day's count as well: of those nothing was received, or the fault is ours.
    """
    _refuse_negative(size)
    _refuse_negative(keep_bytes)
    if keep_bytes > size:
        raise ValueError(f"{keep_bytes} bytes cannot stay of a reservation of {size}")
    _settle(person_key, day, size, used=keep_bytes, files=forget_files)


def usage(person_key: str, day: date) -> Usage:
    """What the person has used and reserved on that UTC day."""
    figures = _rows(person_key, day).values_list("used_bytes", "reserved_bytes", "files").first()
    return Usage(*figures) if figures else Usage()


def forget_usage(before: date, *, dry_run: bool = False) -> int:
    """Drop what was used on days before this one, and count the rows; not those in which something is still reserved.

    A day at a time, so that nobody waits long for the database.
    """
    old = DailyUsage.objects.filter(day__lt=before, reserved_bytes=0)
    if dry_run:
        return old.count()
    days = list(old.order_by("day").values_list("day", flat=True).distinct())
    return sum(old.filter(day=day).delete()[0] for day in days)


def quota_info(person: rules.Person, now: datetime) -> dict[str, Any]:
    """The answer of `upload/quota-info` (wire.md) for the UTC day of `now`; None means unlimited."""
    profile, own = active_profile(), own_limits(person, now)
    limits = rules.person_limits(profile, settings.LIMIT_OVERRIDES, person.audience, own)
    day = rules.utc_day(now)
    current = usage(person.key, day)
    return {
        "enforced": limits.enforced,
        "audience": person.audience,
        "day": day.isoformat(),
        "resets_at": _timestamp(rules.end_of_day(day)),
        "limits": {
            "file_bytes": limits.file_bytes,
            "daily_bytes": limits.daily_bytes,
            "daily_files": limits.daily_files,
            "concurrent": rules.slot_limits(profile, settings.LIMIT_OVERRIDES).per_person,
        },
        "used_bytes": current.used_bytes,
        "reserved_bytes": current.reserved_bytes,
        "remaining_bytes": rules.remaining_bytes(limits, current),
        "files": current.files,
        **({"override_until": _timestamp(own.until)} if limits.enforced and own and own.until else {}),
    }


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rows(person_key: str, day: date) -> QuerySet[DailyUsage]:
    return DailyUsage.objects.filter(person=person_key, day=day)


def _refuse_negative(size: int) -> None:
    if size < 0:
        raise ValueError(f"{size} is no size")


def _take(person_key: str, day: date, sizes: Sequence[int], limits: rules.PersonLimits) -> bool:
    """One conditional UPDATE; False where there is no row yet or no room. The rule itself is `rules.check_day`."""
    size, files = sum(sizes), len(sizes)
    most_bytes, most_files = rules.byte_ceiling(limits) - size, rules.file_ceiling(limits) - files
    room = _rows(person_key, day).alias(taken=TAKEN).filter(taken__lte=most_bytes, files__lte=most_files)
    return room.update(reserved_bytes=F("reserved_bytes") + size, files=F("files") + files) == 1


def _settle(person_key: str, day: date, size: int, *, used: int, files: int) -> None:
    """Take `size` off the reserved bytes and `files` off the files, and add `used` to the used bytes.

    Where less is reserved or counted than is to go, that is a drift: it is logged, and the figures stop at zero.
    """
    _refuse_negative(size)
    rows = _rows(person_key, day)
    if rows.filter(reserved_bytes__gte=size, files__gte=files).update(
        reserved_bytes=F("reserved_bytes") - size, used_bytes=F("used_bytes") + used, files=F("files") - files
    ):
        return
    log.error("quota_drift", person=person_key, day=str(day), size=size, files=files, found=str(usage(person_key, day)))
    DailyUsage.objects.bulk_create([DailyUsage(person=person_key, day=day)], ignore_conflicts=True)
    rows.update(
        reserved_bytes=Greatest(F("reserved_bytes") - size, Value(0)),
        used_bytes=F("used_bytes") + used,
        files=Greatest(F("files") - files, Value(0)),
    )
