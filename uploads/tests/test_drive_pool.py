"""The pool of Drive accounts, over an emulated Google and a real database."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError

from devtools.emulator_process import EmulatorProcess
from uploads import drive_accounts
from uploads.drive_models import DriveAccount, DriveBooking, DriveHour
from uploads.storage.base import (
    BudgetSpentError,
    ObjectMissingError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from uploads.storage.gdrive import accounts, ledger, troubles
from uploads.storage.gdrive.accounts import Pool
from uploads.storage.gdrive.ports import AccountBrokenError
from uploads.tests.drive_rig import (
    Clock,
    drive,
    folder,
    module_emulator,
    oauth_account,
    secrets_of,
    service_account,
    shared_drive,
)

__all__ = ["drive", "module_emulator"]
pytestmark = pytest.mark.django_db(transaction=True)

GIB = 1024**3


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(drive: EmulatorProcess, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr(accounts, "COUNTED_SECONDS", 0.0)
    monkeypatch.setattr(accounts, "KNOWN_SECONDS", 0.0)
    return Pool(clock)


async def sync(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return await database_sync_to_async(function)(*arguments, **options)


async def again(account: DriveAccount) -> DriveAccount:
    return await DriveAccount.objects.aget(pk=account.pk)


# --- tokens ---


async def test_many_who_need_a_token_share_one_refresh(pool: Pool) -> None:
    one = await sync(oauth_account)
    account = await pool.get(one.pk)
    tokens = await asyncio.gather(*(pool.token(account) for _ in range(50)))
    assert len(set(tokens)) == 1
    assert await pool.token(account) == tokens[0]


async def test_many_whose_token_was_refused_share_one_refresh_too(pool: Pool) -> None:
    one = await sync(oauth_account)
    account = await pool.get(one.pk)
    first = await pool.token(account)
    fresh = await asyncio.gather(*(pool.token(account, refused=first) for _ in range(50)))
    assert len(set(fresh)) == 1
    assert fresh[0] != first


async def test_a_token_is_not_made_again_for_who_saw_an_older_one_refused(pool: Pool) -> None:
    one = await sync(oauth_account)
    account = await pool.get(one.pk)
    token = await pool.token(account)
    assert await pool.token(account, refused="an older one") == token


async def test_who_goes_away_while_a_token_is_made_stops_it_for_nobody(pool: Pool) -> None:
    one = await sync(oauth_account)
    account = await pool.get(one.pk)
    impatient = asyncio.create_task(pool.token(account))
    patient = asyncio.create_task(pool.token(account))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient


async def test_credentials_that_were_withdrawn_break_the_account_and_say_so(pool: Pool, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="withdrawn", revoked=True)
    one = await sync(oauth_account, refresh_token="withdrawn")
    with pytest.raises(AccountBrokenError):
        await pool.token(await pool.get(one.pk))
    row = await again(one)
    assert row.error_code == troubles.REVOKED
    assert row.last_error == "invalid_grant: Token has been expired or revoked."
    assert row.retry_at is not None


async def test_a_client_that_google_does_not_know_is_named_as_the_trouble(pool: Pool, drive: EmulatorProcess) -> None:
    drive.set_tokens(clients={"another": "client"})
    one = await sync(oauth_account)
    with pytest.raises(AccountBrokenError):
        await pool.token(await pool.get(one.pk))
    assert (await again(one)).error_code == troubles.CLIENT_UNKNOWN


async def test_an_account_whose_key_was_lost_is_broken_and_tells_nothing(pool: Pool, settings: Any) -> None:
    one = await sync(oauth_account)
    settings.SECRETS_KEYS = ["another key"]
    with pytest.raises(AccountBrokenError):
        await pool.token(await pool.get(one.pk))
    row = await again(one)
    assert row.error_code == troubles.SEALED
    assert row.sealed_credentials not in row.last_error


async def test_while_nobody_answers_the_account_is_not_broken(pool: Pool, settings: Any) -> None:
    settings.GDRIVE_TOKEN_URL = "http://127.0.0.1:9/token"
    one = await sync(oauth_account)
    with pytest.raises(StorageUnavailableError) as trouble:
        await pool.token(await pool.get(one.pk))
    assert not isinstance(trouble.value, AccountBrokenError)
    row = await again(one)
    assert (row.error_code, row.last_error) == (troubles.UNREACHABLE, "[Errno 111] Connection refused")


async def test_new_credentials_are_used_at_once(pool: Pool, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="old one", revoked=True)
    one = await sync(oauth_account, refresh_token="old one")
    with pytest.raises(AccountBrokenError):
        await pool.token(await pool.get(one.pk))
    drive_accounts.keep_credentials(one, {"client_id": "x", "client_secret": "y", "refresh_token": "new one"})
    await sync(one.save)
    assert await pool.token(await pool.get(one.pk))


# --- health ---


async def test_a_check_finds_who_it_is_and_how_much_room_there_is(pool: Pool, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="roomy", email="roomy@example.org", limit=5 * GIB)
    one = await sync(oauth_account, refresh_token="roomy")
    assert await drive_accounts.check(one.pk, pool) is None
    row = await again(one)
    assert (row.identity, row.room_bytes, row.drive_id, row.error_code) == ("roomy@example.org", 5 * GIB, "", "")


async def test_a_service_account_stores_on_a_shared_drive_whose_room_nobody_knows(
    pool: Pool, drive: EmulatorProcess
) -> None:
    team = shared_drive(drive)
    robot = await sync(service_account, folder_id=team)
    assert await drive_accounts.check(robot.pk, pool) is None
    row = await again(robot)
    assert (row.drive_id, row.room_bytes) == (team, None)
    assert row.identity == "robot@project.iam.gserviceaccount.com"
    assert (await pool.choose(1)).drive_id == team
    assert await pool.room() is None


@pytest.mark.parametrize("on_own_drive", [False, True])
async def test_a_service_account_without_a_shared_drive_is_told_that_it_owns_no_storage(
    pool: Pool, drive: EmulatorProcess, on_own_drive: bool
) -> None:
    robot = await sync(service_account, folder_id=folder(drive, "somebody") if on_own_drive else "")
    trouble = await drive_accounts.check(robot.pk, pool)
    assert trouble is not None
    assert trouble.code == troubles.NO_SHARED_DRIVE
    assert "owns no storage" in str(troubles.SENTENCES[trouble.code])
    with pytest.raises(StorageUnavailableError):
        await pool.choose(1)


async def test_a_folder_that_is_not_there_is_named_as_the_trouble(pool: Pool) -> None:
    one = await sync(oauth_account, folder_id="no-such-folder")
    trouble = await drive_accounts.check(one.pk, pool)
    assert trouble is not None
    assert trouble.code == troubles.FOLDER_MISSING


async def test_who_may_not_delete_on_a_shared_drive_gets_no_file_that_would_stay_for_ever(
    pool: Pool, drive: EmulatorProcess
) -> None:
    drive.set_account(refresh_token="content manager", manager=False)
    one = await sync(oauth_account, refresh_token="content manager", folder_id=shared_drive(drive))
    trouble = await drive_accounts.check(one.pk, pool)
    assert trouble is not None
    assert trouble.code == troubles.NO_MANAGER
    with pytest.raises(StorageUnavailableError):
        await pool.choose(1)
    drive.set_account(refresh_token="content manager", manager=True)
    assert await drive_accounts.check(one.pk, pool) is None


async def test_drive_that_fails_when_asked_is_a_passing_trouble(pool: Pool, drive: EmulatorProcess) -> None:
    drive.add_fault("status", status=503, reason="backendError", on="about")
    one = await sync(oauth_account)
    trouble = await drive_accounts.check(one.pk, pool)
    assert trouble is not None
    assert trouble.code == troubles.FAILING
    assert await drive_accounts.check(one.pk, pool) is None
    assert (await again(one)).failures == 1, "an answered question is no proof that work is done"


# --- the choice ---


async def test_an_account_is_asked_before_it_gets_its_first_file(pool: Pool, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="small", limit=3 * GIB)
    one = await sync(oauth_account, refresh_token="small")
    account = await pool.choose(GIB)
    assert (account.id, account.name) == (one.pk, "one")
    assert account.booking is not None
    with pytest.raises(StorageFullError) as full:
        await pool.choose(GIB + 1)  # one is taken, one is kept free
    assert not isinstance(full.value, BudgetSpentError)


async def test_a_broken_account_is_passed_over_without_anybody_noticing(pool: Pool, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="broken", revoked=True)
    await sync(oauth_account, "broken", "broken")
    sound = await sync(oauth_account, "sound", priority=2)
    assert (await pool.choose(1)).id == sound.pk


async def test_without_an_account_the_storage_is_unavailable(pool: Pool) -> None:
    with pytest.raises(StorageUnavailableError):
        await pool.choose(1)
    with pytest.raises(StorageUnavailableError):
        await pool.check()


async def test_when_all_fail_it_is_told_when_to_come_back(pool: Pool, clock: Clock) -> None:
    one = await sync(oauth_account)
    account = await pool.choose(1)
    for _ in range(3):
        await pool.failed(account, StorageUnavailableError("503"), None)
    with pytest.raises(StorageUnavailableError) as refused:
        await pool.choose(1)
    assert refused.value.retry_after == 10
    with pytest.raises(StorageUnavailableError):
        await pool.check()
    clock.advance(seconds=11)
    assert (await pool.choose(1)).id == one.pk, "it was asked, and answered"
    await pool.worked(account)
    assert (await again(one)).failures == 0


async def test_who_reads_is_sent_away_while_drive_fails_as_a_whole_and_not_for_one_account(
    pool: Pool, clock: Clock
) -> None:
    one, two = [await sync(oauth_account, name) for name in ("one", "two")]
    account = await pool.get(one.pk)
    for _ in range(5):
        await pool.failed(account, StorageUnavailableError("no answer"), "backendError")
    await pool.refuse_while_away()
    for other in (account, await pool.get(two.pk)):
        for _ in range(3):
            await pool.failed(other, StorageUnavailableError("no answer"), None)
    with pytest.raises(StorageUnavailableError) as refused:
        await pool.refuse_while_away()
    assert refused.value.retry_after == 10
    clock.advance(seconds=10)
    await pool.refuse_while_away()


async def test_a_spent_day_is_waited_for_and_is_no_fault_of_the_storage(pool: Pool, clock: Clock) -> None:
    await sync(oauth_account, daily_bytes=100)
    account = await pool.choose(100)
    await pool.stored(account, 100)
    await pool.let_go(account)
    with pytest.raises(BudgetSpentError) as spent:
        await pool.choose(1)
    assert spent.value.until == clock.now + timedelta(hours=25)
    await pool.check()
    clock.advance(hours=25)
    assert await pool.choose(1)


async def test_an_account_that_is_not_connected_yet_makes_nobody_hope_for_less_than_the_day(
    pool: Pool, clock: Clock
) -> None:
    account = await pool.get((await sync(oauth_account, daily_bytes=100)).pk)
    await pool.stored(account, 100)
    unconnected = await sync(DriveAccount.objects.create, name="unconnected")
    assert await drive_accounts.check(unconnected.pk, pool) is not None
    with pytest.raises(BudgetSpentError) as spent:
        await pool.choose(1)
    assert spent.value.until == clock.now + timedelta(hours=25)


@pytest.mark.parametrize(
    ("reason", "error", "what"),
    [
        ("dailyLimitExceeded", StorageFullError, BudgetSpentError),
        ("userRateLimitExceeded", StorageFullError, BudgetSpentError),
        ("storageQuotaExceeded", StorageFullError, StorageFullError),
        ("teamDriveFileLimitExceeded", StorageFullError, StorageFullError),
        ("stalled", StorageUnavailableError, StorageUnavailableError),
    ],
)
async def test_what_drive_says_of_an_account_decides_what_becomes_of_it(
    pool: Pool, reason: str, error: type[StorageError], what: type[StorageError]
) -> None:
    one, other = await sync(oauth_account), await sync(oauth_account, "other", priority=2)
    account = await pool.choose(1)
    assert account.id == one.pk
    await pool.failed(account, error("Drive said no"), reason)
    assert (await pool.choose(1)).id == other.pk
    assert reason in (await again(one)).last_error
    await DriveAccount.objects.filter(pk=other.pk).aupdate(enabled=False)
    with pytest.raises(what) as refused:
        await pool.choose(1)
    assert type(refused.value) is what


async def test_an_account_that_is_off_gets_nothing_new_and_keeps_its_files(pool: Pool) -> None:
    one = await sync(oauth_account)
    assert await pool.choose(1)
    await DriveAccount.objects.filter(pk=one.pk).aupdate(enabled=False)
    with pytest.raises(StorageUnavailableError):
        await pool.choose(1)
    assert await pool.token(await pool.get(one.pk))
    assert [account.name for account in await pool.all()] == ["one"]


async def test_an_account_that_was_removed_is_missing(pool: Pool) -> None:
    with pytest.raises(ObjectMissingError):
        await pool.get(12345)


async def test_the_room_is_that_of_the_account_with_most(pool: Pool, drive: EmulatorProcess) -> None:
    drive.set_account(refresh_token="a", limit=2 * GIB)
    drive.set_account(refresh_token="b", limit=9 * GIB)
    for name in "ab":
        one = await sync(oauth_account, name, name)
        await drive_accounts.check(one.pk, pool)
    assert await pool.room() == 8 * GIB


# --- what running uploads take ---


async def test_an_upload_that_goes_on_is_reserved_again(pool: Pool) -> None:
    one = await sync(oauth_account, daily_bytes=100)
    account = await pool.choose(80)
    await pool.stored(account, 30)
    await pool.let_go(account)
    assert not await DriveBooking.objects.aexists()
    back = await pool.get(one.pk, more=50)
    with pytest.raises(BudgetSpentError):
        await pool.choose(21)
    await pool.let_go(back)
    assert await pool.choose(21)


@pytest.mark.parametrize("verb", ["choose", "book"])
async def test_who_goes_away_while_it_is_reserved_leaves_nothing_reserved(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    one = await sync(oauth_account, daily_bytes=100)
    await pool.let_go(await pool.choose(1))  # it was asked how it fares
    reserve, reserved, has_left = getattr(ledger, verb), threading.Event(), threading.Event()

    def reserve_slowly(*arguments: Any) -> Any:
        made = reserve(*arguments)
        reserved.set()
        assert has_left.wait(30)
        return made

    monkeypatch.setattr(ledger, verb, reserve_slowly)
    asking = asyncio.create_task(pool.choose(100) if verb == "choose" else pool.get(one.pk, more=100))
    await asyncio.to_thread(reserved.wait, 30)
    asking.cancel()
    await asyncio.sleep(0)
    has_left.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not await DriveBooking.objects.aexists()


async def test_who_goes_away_when_it_is_reserved_leaves_nothing_reserved(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync(oauth_account, daily_bytes=100)
    await pool.let_go(await pool.choose(1))

    async def left(*arguments: Any, **options: Any) -> Any:
        raise asyncio.CancelledError

    monkeypatch.setattr(pool, "_row", left)
    with pytest.raises(asyncio.CancelledError):
        await pool.choose(100)
    assert not await DriveBooking.objects.aexists()


async def test_what_is_reserved_stays_so_for_an_upload_that_is_there_and_sends_nothing(
    pool: Pool, clock: Clock
) -> None:
    await sync(oauth_account, daily_bytes=100)
    account = await pool.choose(80)
    for _ in range(3):
        clock.advance(seconds=100)
        await pool.stored(account, 0)
    with pytest.raises(BudgetSpentError):
        await pool.choose(21)
    clock.advance(seconds=130)
    assert await pool.choose(21)


async def test_a_database_that_is_away_stops_no_upload_and_what_was_stored_counts_later(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync(oauth_account, daily_bytes=100)
    account = await pool.choose(80)

    def away(*arguments: Any) -> None:
        raise OperationalError("the database is away")

    with monkeypatch.context() as while_away:
        while_away.setattr(ledger, "count", away)
        await pool.stored(account, 30)
    await pool.stored(account, 10)
    assert (await DriveHour.objects.aget()).length == 40


async def test_what_is_stored_is_written_down_now_and_then_and_at_the_end(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "COUNTED_SECONDS", 3600.0)
    await sync(oauth_account)
    account = await pool.choose(1000)
    for _ in range(100):
        await pool.stored(account, 10)
    assert not await DriveHour.objects.aexists()
    await pool.let_go(account)
    assert (await DriveHour.objects.aget()).length == 1000


async def test_nothing_secret_is_in_any_line_or_error(
    pool: Pool, drive: EmulatorProcess, capfd: pytest.CaptureFixture[str], clock: Clock
) -> None:
    drive.set_account(refresh_token="seen nowhere", revoked=True)
    bad, robot = await sync(oauth_account, "bad", "seen nowhere"), await sync(service_account)
    good = await sync(oauth_account, "good")
    found: list[str] = []
    for one in (bad, robot, good):
        found.append(repr(await drive_accounts.check(one.pk, pool)))
        found.append(repr(await again(one)) + (await again(one)).last_error)
    account = await pool.choose(1)
    token = await pool.token(account)
    await pool.failed(account, StorageUnavailableError("503"), None)
    printed = "".join(capfd.readouterr()) + "".join(found) + repr(account) + repr(vars(pool))
    for secret in [token, *secrets_of(bad)[:-1], *secrets_of(robot)[:-1], *secrets_of(good)[:-1]]:
        assert secret not in printed
