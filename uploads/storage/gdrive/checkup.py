"""When an account is asked how it fares, and what is kept of its answer."""

from collections.abc import Callable
from datetime import datetime, timedelta

from channels.db import database_sync_to_async
from django.conf import settings

from uploads.drive_models import DriveAccount
from uploads.storage.breaker import State
from uploads.storage.gdrive import circuits, health, ledger
from uploads.storage.gdrive.credentials import TokenMaker

# Others may use the account too: its room is asked for this often, while anybody wants to store.
ROOM_AGE = timedelta(minutes=10)


def due(now: datetime) -> list[int]:
    """The accounts to be asked now: never asked yet, half-open, or asked too long ago. Each is one caller's to ask."""
    found = []
    for row in DriveAccount.objects.filter(enabled=True):
        state = circuits.circuit_of(row).state(now)
        if state is State.HALF_OPEN:
            if circuits.claim(row.pk, now):
                found.append(row.pk)
        elif state is State.CLOSED and (row.checked_at is None or row.checked_at <= now - ROOM_AGE):
            found.append(row.pk)
    return found


async def look(row: DriveAccount, maker: Callable[[DriveAccount], TokenMaker], now: Callable[[], datetime]) -> None:
    """Ask, and keep the answer. Raises `TroubleError`."""
    token = await maker(row).token()
    found = await health.bounded(row, token, settings.GDRIVE_API_ROOT)
    await database_sync_to_async(_keep)(row.pk, found, now())


def _keep(account_id: int, found: health.Health, now: datetime) -> None:
    DriveAccount.objects.filter(pk=account_id).update(
        identity=found.identity, room_bytes=found.room, drive_id=found.drive_id, checked_at=now
    )
    circuits.answered(account_id, now)
    ledger.forget(now)
