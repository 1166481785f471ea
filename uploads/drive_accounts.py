"""What admin, command and start do with Drive accounts: keep credentials, show how they stand, make the one of the
environment, seal everything anew. Synchronous but for `check`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils.translation import gettext_lazy as _

from uploads.drive_models import DriveAccount, DriveUpload, Kind, StorageCircuit
from uploads.secrets import UnsealError, reseal, seal
from uploads.storage.breaker import State
from uploads.storage.gdrive import circuits, ledger, troubles
from uploads.storage.gdrive.budget import Standing
from uploads.storage.gdrive.conditions import Condition
from uploads.storage.gdrive.troubles import TroubleError

if TYPE_CHECKING:
    from uploads.storage.gdrive.accounts import Pool

ENV_NAME = "env"
KEY_FIELDS = ("client_email", "private_key")


WORDS: dict[Condition, Any] = {
    Condition.OFF: _("switched off"),
    Condition.FAILING: _("failing"),
    Condition.TRYING: _("being tried again"),
    Condition.FULL: _("full"),
    Condition.SPENT: _("day spent"),
    Condition.UNKNOWN: _("not asked yet"),
    Condition.STRAINED: _("failed lately"),
    Condition.WELL: _("works"),
}

# The only trouble that explains such a state: an older one beside it would seem to.
EXPLAINED_BY = {Condition.FULL: troubles.FULL, Condition.SPENT: troubles.DAY_SPENT}


@dataclass(frozen=True)
class Shown:
    """How an account stands, for people. Sizes in bytes; `until` is when it is over or tried again."""

    condition: Condition
    until: datetime | None
    since: datetime | None
    trouble: str  # one of `troubles.SENTENCES`, or empty where it does not explain the condition
    room: int | None
    used: int
    reserved: int
    circuit: State

    @property
    def words(self) -> str:
        return str(WORDS[self.condition])

    @property
    def sentence(self) -> str:
        return str(troubles.SENTENCES.get(self.trouble, ""))


@dataclass(frozen=True)
class AsAWhole:
    """The circuit round Drive as a whole, whichever account is asked; open `until`, and what failed last."""

    circuit: State = State.CLOSED
    until: datetime | None = None
    cause: str = ""


def as_a_whole(now: datetime) -> AsAWhole:
    """How Drive itself, or the way to it, stands; one query."""
    row = StorageCircuit.objects.filter(name=circuits.STORAGE).first()
    if row is None:
        return AsAWhole()
    state = circuits.circuit_of(row).state(now)
    until = row.retry_at if state is State.OPEN and not row.trying else None
    return AsAWhole(State.HALF_OPEN if row.trying else state, until, row.last_error)


def shown(rows: list[DriveAccount], now: datetime) -> dict[int, Shown]:
    """How these accounts stand, by id; two queries."""
    standings = {standing.id: standing for standing in ledger.standings_of(rows, now)}
    return {row.pk: _shown(row, standings[row.pk], now) for row in rows}


def _shown(row: DriveAccount, standing: Standing, now: datetime) -> Shown:
    circuit = circuits.circuit_of(row)
    state = circuit.state(now)
    condition, until = _condition(row, standing, state, now)
    explained = EXPLAINED_BY.get(condition, row.error_code) == row.error_code
    return Shown(
        condition,
        until,
        row.failing_since,
        row.error_code if explained else "",
        None if row.room_bytes is None else max(0, row.room_bytes - standing.reserved),
        standing.used(now) - standing.reserved,
        standing.reserved,
        State.HALF_OPEN if circuit.trying else state,
    )


def _condition(row: DriveAccount, standing: Standing, state: State, now: datetime) -> tuple[Condition, datetime | None]:
    if not row.enabled:
        return Condition.OFF, None
    if row.trying or state is State.HALF_OPEN:
        return Condition.TRYING, None
    if state is State.OPEN:
        return Condition.FAILING, row.retry_at
    if not standing.has_room(1, now):
        return Condition.FULL, row.full_until if row.full_until and row.full_until > now else None
    if (until := standing.takes_from(1, now)) > now:
        return Condition.SPENT, until
    if row.checked_at is None:
        return Condition.UNKNOWN, None
    if row.failures:
        return Condition.STRAINED, None
    return Condition.WELL, None


def overview(now: datetime) -> list[tuple[DriveAccount, Shown]]:
    """Every account with how it stands, for who looks on; none while files go elsewhere."""
    if settings.STORAGE != "gdrive":
        return []
    rows = list(DriveAccount.objects.order_by("priority", "name"))
    found = shown(rows, now)
    return [(row, found[row.pk]) for row in rows]


async def check(account_id: int, pool: "Pool | None" = None) -> TroubleError | None:
    """Ask Drive how the account fares, and keep that; what is wrong, or None."""
    # Loads aiohttp and google-auth, which a start without Drive does not wait for.
    from uploads.storage.gdrive.accounts import Pool

    try:
        await (pool or Pool()).look(account_id)
    except TroubleError as trouble:
        return trouble
    return None


async def another_owner(account: DriveAccount, values: Mapping[str, Any]) -> str:
    """Whose Drive these credentials lead to, where that is not the one in which files of the account lie; else "".

    Files on a shared drive belong to that, whoever stored them. Raises `TroubleError` where Google does not tell.
    """
    from uploads.storage.gdrive import health
    from uploads.storage.gdrive.credentials import TokenMaker

    if (
        not account.identity
        or account.drive_id
        or not await DriveUpload.objects.filter(account_id=account.pk).aexists()
    ):
        return ""
    maker = TokenMaker(account.kind, seal(json.dumps(dict(values))), settings.GDRIVE_TOKEN_URL)
    found = await health.bounded(account, await maker.token(), settings.GDRIVE_API_ROOT)
    return found.identity if found.identity != account.identity else ""


# What `keep_credentials` and `begin_anew` change. Nothing else of a row is saved with them: workers count beside.
FORGOTTEN = (
    "checked_at",
    "room_bytes",
    "drive_id",
    "failures",
    "failing_since",
    "openings",
    "retry_at",
    "trying",
    "error_code",
    "last_error",
    "refused_until",
    "full_until",
)
CREDENTIALS = ("sealed_credentials", "identity", *FORGOTTEN)


def keep_credentials(account: DriveAccount, values: Mapping[str, Any]) -> None:
    """Seal them, and forget what was known by those before; the caller saves `CREDENTIALS`."""
    account.sealed_credentials = seal(json.dumps(dict(values)))
    account.identity = ""
    begin_anew(account)


def begin_anew(account: DriveAccount) -> None:
    """What it said and how it failed says nothing any longer; the caller saves `FORGOTTEN`."""
    fresh = DriveAccount()
    for name in FORGOTTEN:
        setattr(account, name, getattr(fresh, name))


def service_key(text: str) -> dict[str, Any]:
    """The key file of a service account. Raises ValueError for what is none."""
    try:
        values = json.loads(text)
    except ValueError:
        raise ValueError("it is no JSON") from None
    if not isinstance(values, dict) or values.get("type") != "service_account":
        raise ValueError("it is no key of a service account")
    if missing := [name for name in KEY_FIELDS if not isinstance(values.get(name), str)]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return values


def account_of(file_id: UUID) -> DriveAccount | None:
    """Whose Drive has the file, or is getting it; None where it lies elsewhere."""
    return DriveAccount.objects.filter(pk__in=DriveUpload.objects.filter(pk=file_id).values("account_id")).first()


def has_files(account: DriveAccount) -> bool:
    """Whether files, or what has come of some, lie on it: without the account nobody could reach them any longer."""
    return DriveUpload.objects.filter(account_id=account.pk).exists()


# Every column that holds something sealed.
SEALED: tuple[tuple[type[models.Model], str], ...] = (
    (DriveAccount, "sealed_credentials"),
    (DriveUpload, "sealed_url"),
)


def reseal_all() -> tuple[int, list[str]]:
    """Seal with the newest key whatever is sealed and can be read: how many secrets that were, and what could not."""
    done, unread = 0, []
    for model, column in SEALED:
        rows = model._default_manager
        for row in rows.exclude(**{column: ""}).only("pk", column).iterator():
            sealed = getattr(row, column)
            try:
                anew = reseal(sealed)
            except UnsealError:
                unread.append(f"{model._meta.verbose_name} {row}")
                continue
            # Somebody may have put another there meanwhile: that is sealed with the newest key already.
            done += rows.filter(**{"pk": row.pk, column: sealed}).update(**{column: anew})
    return done, unread


def make_env_account() -> DriveAccount | None:
    """The account that the environment names, where it is missing; an existing one is never changed.

    In a trial it is one that only the emulator knows. Raises `ImproperlyConfigured` with one sentence.
    """
    named = settings.GDRIVE_ENV
    trial = settings.GDRIVE_TRIAL
    if not (trial or any(named.values())) or DriveAccount.objects.filter(name=ENV_NAME).exists():
        return None
    account = DriveAccount(name=ENV_NAME, folder_id=settings.GDRIVE_FOLDER_ID or "")
    if trial:
        keep_credentials(account, dict.fromkeys(("client_id", "client_secret", "refresh_token"), "trial"))
    elif named["service_account_file"]:
        account.kind = Kind.SERVICE
        keep_credentials(account, _key_file(Path(named["service_account_file"])))
        if not account.folder_id:
            raise ImproperlyConfigured(
                "GDRIVE_FOLDER_ID is missing: a service account owns no storage. Name a shared drive or a folder on it."
            )
    elif named["client_id"] and named["client_secret"]:
        names = ("client_id", "client_secret", "refresh_token")
        keep_credentials(account, {name: named[name] for name in names if named[name]})
    else:
        raise ImproperlyConfigured("GDRIVE_CLIENT_ID and GDRIVE_CLIENT_SECRET belong together; one of them is missing.")
    account.save(force_insert=True)
    return account


def _key_file(path: Path) -> dict[str, Any]:
    try:
        return service_key(path.read_text())
    except OSError as error:
        raise ImproperlyConfigured(f"GDRIVE_SERVICE_ACCOUNT_FILE is {path}, which cannot be read: {error.strerror}.")
    except ValueError as error:
        raise ImproperlyConfigured(f"GDRIVE_SERVICE_ACCOUNT_FILE is {path}, which cannot be used: {error}.")
