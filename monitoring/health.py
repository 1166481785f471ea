"""Is the program alive, and can it do its work? For load balancers, supervisors and people.

Strangers may ask, so that an answer says which part fails and one word why; the true cause goes to the log.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.exceptions import RedisError

from monitoring import line
from monitoring.beside import beside
from monitoring.once import Shared
from uploads import doors
from uploads.fleet.fleet import get_fleet
from uploads.slots.manager import SlotsUnavailableError
from uploads.storage import get_store
from uploads.storage.base import StorageError, StorageFullError

BOUND_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Failing(Exception):
    """A part fails: `reason` is one word for strangers, the message the cause."""

    def __init__(self, reason: str, cause: object) -> None:
        super().__init__(str(cause))
        self.reason = reason


@dataclass(frozen=True)
class Outcome:
    """What one check found, and how long it took in milliseconds."""

    ok: bool
    ms: float
    reason: str = ""


def _ask_database() -> None:
    with transaction.atomic(), connection.cursor() as cursor:  # SQLite: takes the lock that all changes need
        cursor.execute("SELECT 1")
        cursor.fetchone()


_ask_database_beside = beside(_ask_database)


async def check_database() -> None:
    """It answers, and can be written to."""
    try:
        await _ask_database_beside()
    except (DatabaseError, InterfaceError) as error:
        raise Failing("unavailable", error) from error


async def check_channel_layer() -> None:
    """A message there and back, as wake-ups and pushes go."""
    layer = get_channel_layer()
    if layer is None:
        raise Failing("missing", "no channel layer is configured")
    message = {"type": "health", "id": uuid.uuid4().hex}
    try:
        channel = await layer.new_channel()
        await layer.send(channel, message)
        received = await layer.receive(channel)
    except (ChannelFull, RedisError, OSError) as error:
        raise Failing("unavailable", error) from error
    if received.get("id") != message["id"]:
        raise Failing("garbled", f"sent {message}, received {received}")


async def check_slot_store() -> None:
    try:
        violations = await line.violations.get()
    except SlotsUnavailableError as error:
        raise Failing("unavailable", error) from error
    if violations:
        raise Failing("violations", "; ".join(violations))


async def check_storage() -> None:
    if problem := get_fleet().problem:
        raise Failing("not_shared", problem)
    try:
        await get_store().check()
    except StorageFullError as error:
        raise Failing("full", error) from error
    except StorageError as error:
        raise Failing("unavailable", error) from error


CHECKS: dict[str, Callable[[], Awaitable[None]]] = {
    "database": check_database,
    "channel_layer": check_channel_layer,
    "slot_store": check_slot_store,
    "storage": check_storage,
}


async def run_check(name: str, check: Callable[[], Awaitable[None]], bound: float = BOUND_SECONDS) -> Outcome:
    """Run one check within `bound` seconds; a failure is logged with its cause and told by its reason."""
    begun = time.perf_counter()
    reason, cause = "", ""
    try:
        async with asyncio.timeout(bound):
            await check()
    except TimeoutError:
        reason, cause = "timeout", f"no answer within {bound:g} s"
    except Failing as failing:
        reason, cause = failing.reason, str(failing)
    if reason:
        log.warning("health_check_failed", check=name, reason=reason, cause=cause)
    return Outcome(not reason, round((time.perf_counter() - begun) * 1000, 1), reason)


async def run_checks(checks: Mapping[str, Callable[[], Awaitable[None]]] = CHECKS) -> dict[str, Outcome]:
    """Every check, side by side."""
    outcomes = await asyncio.gather(*(run_check(name, check) for name, check in checks.items()))
    return dict(zip(checks, outcomes, strict=True))


# A second old at most, so that nobody can keep the database busy by asking.
_outcomes = Shared(run_checks, seconds=1.0)


@require_safe
@never_cache
async def alive(request: HttpRequest) -> JsonResponse:
    """The process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
async def ready(request: HttpRequest) -> JsonResponse:
    """Every part that an upload needs works: 200; else 503, with the part that fails.

    Maintenance is no failure: a load balancer that took the program out would leave people with its own page in place
    of ours, and the admin without the switch. Null where it is not known.
    """
    outcomes = await _outcomes.get()
    ok = all(outcome.ok for outcome in outcomes.values())
    checks = {
        name: {"ok": outcome.ok, "ms": outcome.ms} | ({} if outcome.ok else {"reason": outcome.reason})
        for name, outcome in outcomes.items()
    }
    answer = {"status": "ok" if ok else "failing", "checks": checks, "maintenance": await in_maintenance()}
    return JsonResponse(answer, status=200 if ok else 503)


async def in_maintenance() -> bool | None:
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            return (await doors.known.get()).maintenance is not None
    except (DatabaseError, InterfaceError, TimeoutError):
        return None
