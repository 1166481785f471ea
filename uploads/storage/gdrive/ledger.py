"""What accounts took, and what is reserved of them for running uploads. Synchronous; asynchronous callers wrap it.

Every change holds the row of its account, so that workers that share a database never give the last gigabyte twice.
A pool is small: whoever chooses holds all of its rows, always in the same order.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from uploads.drive_models import DriveAccount, DriveBooking, DriveHour
from uploads.storage.breaker import State
from uploads.storage.gdrive import budget, circuits, troubles
from uploads.storage.gdrive.budget import Choice, Chosen, Failing, Spent, Standing

# A reservation that was not used for so long is one of a worker that was killed.
BOOKED_FOR = timedelta(minutes=2)


def choose(size: int, now: datetime, avoid: frozenset[int] = frozenset()) -> tuple[Choice, int | None]:
    """The account for a new file, and the number of what is now reserved of it; the number is None for no account."""
    with transaction.atomic():
        rows = list(DriveAccount.objects.select_for_update().order_by("pk"))
        choice = budget.choose(standings_of(rows, now), size, now, avoid)
        if not isinstance(choice, Chosen):
            return choice, None
        if (until := circuits.whole_storage_rests(now)) is not None:
            return Failing(until), None
        booking = DriveBooking.objects.create(account_id=choice.id, length=size, until=now + BOOKED_FOR)
        return choice, booking.pk


def book(account_id: int, size: int, now: datetime) -> int | None:
    """Reserve for an upload that goes on, whatever is left; None where there is no such account."""
    with transaction.atomic():
        if not DriveAccount.objects.select_for_update().filter(pk=account_id).exists():
            return None
        return DriveBooking.objects.create(account_id=account_id, length=size, until=now + BOOKED_FOR).pk


def count(account_id: int, booking: int | None, length: int, now: datetime) -> None:
    """`length` bytes were stored: they count for a day, and no longer as reserved. 0: the upload is still there."""
    if not length:
        if booking is not None:
            DriveBooking.objects.filter(pk=booking).update(until=now + BOOKED_FOR)
        return
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    with transaction.atomic():
        if not DriveAccount.objects.select_for_update().filter(pk=account_id).exists():
            return
        if not DriveHour.objects.filter(account_id=account_id, hour=hour).update(length=F("length") + length):
            DriveHour.objects.create(account_id=account_id, hour=hour, length=length)
        DriveAccount.objects.filter(pk=account_id, room_bytes__isnull=False).update(
            room_bytes=Greatest(F("room_bytes") - length, Value(0))
        )
        if booking is not None:
            DriveBooking.objects.filter(pk=booking).update(
                length=Greatest(F("length") - length, Value(0)), until=now + BOOKED_FOR
            )


def end(booking: int) -> None:
    """What is still reserved there is free."""
    DriveBooking.objects.filter(pk=booking).delete()


def standings(now: datetime) -> list[Standing]:
    """How every account stands; of those who look on, nobody is kept waiting."""
    return standings_of(list(DriveAccount.objects.order_by("pk")), now)


def standings_of(rows: Iterable[DriveAccount], now: datetime) -> list[Standing]:
    """In two queries. What is reserved is read first: what moves in between is counted twice, never left out."""
    reserved: dict[int, int] = defaultdict(int)
    for account_id, length in DriveBooking.objects.filter(until__gt=now).values_list("account_id", "length"):
        reserved[account_id] += length
    spent: dict[int, list[Spent]] = defaultdict(list)
    for account_id, hour, length in DriveHour.objects.filter(hour__gt=now - budget.DAY - budget.HOUR).values_list(
        "account_id", "hour", "length"
    ):
        spent[account_id].append(Spent(hour, length))
    return [_standing(row, reserved[row.pk], spent[row.pk], now) for row in rows]


def forget(now: datetime) -> None:
    """Drop what no longer counts."""
    DriveHour.objects.filter(hour__lte=now - budget.DAY - budget.HOUR).delete()
    DriveBooking.objects.filter(until__lte=now - budget.HOUR).delete()


def _standing(row: DriveAccount, reserved: int, spent: list[Spent], now: datetime) -> Standing:
    circuit = circuits.circuit_of(row)
    failing_until = circuit.retry_at
    if circuit.state(now) is State.HALF_OPEN or (row.checked_at is None and failing_until is None):
        failing_until = now + circuits.ASKING  # it is asked how it fares before it is given a file
    return Standing(
        id=row.pk,
        on=row.enabled,
        priority=row.priority,
        room=None if row.room_bytes is None else row.room_bytes - row.reserve_bytes - reserved,
        day_bytes=row.daily_bytes,
        spent=spent,
        reserved=reserved,
        refused_until=row.refused_until,
        full_until=row.full_until,
        failing_until=failing_until,
        broken=row.error_code in troubles.FOR_THE_ADMIN,
    )
