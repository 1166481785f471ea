"""What the cleanup removes from Drive, and what it must leave there; over accounts, rows and the emulator."""

import os
import uuid
from collections.abc import AsyncIterator

import pytest
from channels.db import database_sync_to_async as sync

from devtools.emulator_process import EmulatorProcess
from quotas.rules import address_person
from uploads import announcing, cleanup, services
from uploads.announcing import NewUpload, Sender
from uploads.drive_models import DriveAccount, DriveUpload
from uploads.models import StoredFile
from uploads.states import Status
from uploads.storage import get_store
from uploads.storage.gdrive.store import DriveStore
from uploads.tests.drive_rig import drive, module_emulator, oauth_account, service_account, shared_drive

__all__ = ["drive", "module_emulator"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]
SENDER = Sender(address_person("192.0.2.7"), None, "visitor")
NOBODY: frozenset[str] = frozenset()
KIB = 1024


@pytest.fixture(autouse=True)
async def store(drive: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DriveStore]:
    monkeypatch.setattr(cleanup, "ORPHAN_SECONDS", -60.0)  # what is there is old enough
    await sync(oauth_account)("first", "first")
    get_store.cache_clear()
    yield get_store()  # type: ignore[misc]
    await get_store().close()
    get_store.cache_clear()


async def put(size: int, *, finished: bool = True) -> StoredFile:
    """A file as a connection leaves it that sent so much, and all of it where it is `finished`."""
    file, _token = await announcing.initiate(NewUpload("film.mkv", size if finished else 2 * size), SENDER)
    await sync(services.begin_upload)(file)
    partial = await get_store().open(str(file.pk), file.size)
    await partial.append([os.urandom(size)])
    await partial.close()
    return file


async def become(file: StoredFile, status: Status) -> None:
    await StoredFile.objects.filter(pk=file.pk).aupdate(status=status)


def on_drive(drive: EmulatorProcess, file: StoredFile) -> list[str]:
    found = drive.files(f"appProperties has {{ key='key' and value='{file.pk}' }}", "first")
    return [each["id"] for each in found]


async def test_what_a_removal_could_not_reach_is_removed_later(drive: EmulatorProcess) -> None:
    before = drive.open_sessions()
    whole, half = await put(300 * KIB), await put(256 * KIB, finished=False)
    for file in (whole, half):
        await become(file, Status.CANCELLED)  # as when Drive was away while it was cancelled
    assert (len(on_drive(drive, whole)), drive.open_sessions() - before) == (1, 1)
    would = await cleanup.clean(NOBODY, dry_run=True)
    assert set(would.orphans) == {str(whole.pk), str(half.pk)}
    assert on_drive(drive, whole)
    report = await cleanup.clean(NOBODY)
    assert set(report.orphans) == {str(whole.pk), str(half.pk)}
    assert (on_drive(drive, whole), drive.open_sessions() - before) == ([], 0)
    assert not await DriveUpload.objects.aexists()
    assert (await cleanup.clean(NOBODY)).orphans == []


async def test_a_file_that_its_upload_left_behind_is_removed_and_its_own_stays(drive: EmulatorProcess) -> None:
    file = await put(300 * KIB)
    [behind] = on_drive(drive, file)
    # As if it had moved to another file, after an answer that was lost.
    await DriveUpload.objects.filter(pk=file.pk).aupdate(file_id="another")
    report = await cleanup.clean(NOBODY)
    assert report.orphans == [str(file.pk)]
    assert behind not in on_drive(drive, file)


async def test_a_completed_file_stays_even_without_its_row(drive: EmulatorProcess) -> None:
    file = await put(300 * KIB)
    await become(file, Status.COMPLETED)
    await DriveUpload.objects.all().adelete()
    assert (await cleanup.clean(NOBODY)).orphans == []
    assert on_drive(drive, file)
    await become(file, Status.DELETED)
    assert (await cleanup.clean(NOBODY)).orphans == [str(file.pk)]
    assert not on_drive(drive, file)


async def test_a_file_that_other_accounts_of_the_pool_see_too_stays(drive: EmulatorProcess) -> None:
    """As on a shared drive that two of them store on, or with one user entered twice."""
    for number, token in enumerate(("second", "first"), 2):
        await sync(oauth_account)(f"number {number}", token, priority=number)
    whole, half_way = await put(300 * KIB), await put(300 * KIB)
    await become(whole, Status.COMPLETED)
    assert (await cleanup.clean(NOBODY)).orphans == []
    assert [len(on_drive(drive, file)) for file in (whole, half_way)] == [1, 1]


async def test_a_removal_that_drive_refuses_says_nothing_against_the_account(drive: EmulatorProcess) -> None:
    await DriveAccount.objects.all().adelete()
    robot = await sync(service_account)("robot", shared_drive(drive))
    file = await put(300 * KIB)
    await become(file, Status.COMPLETED)
    drive.set_account(client_email="robot@project.iam.gserviceaccount.com", manager=False)
    await services.delete(file.pk, "sender")
    row = await DriveAccount.objects.aget(pk=robot.pk)
    assert (row.failures, row.error_code) == (0, ""), "or who deletes their own files keeps all others from it"
    assert any("insufficientFilePermissions" in problem for problem in (await cleanup.clean(NOBODY)).problems)


async def test_one_file_that_cannot_be_removed_keeps_no_other_from_it(drive: EmulatorProcess) -> None:
    robot = await sync(service_account)("robot", shared_drive(drive), enabled=False)
    files = [await put(300 * KIB) for _ in range(3)]
    for file in files:
        await become(file, Status.EXPIRED)
    kept = sorted(files, key=lambda file: str(file.pk))[0]
    drive.set_account(client_email="robot@project.iam.gserviceaccount.com", manager=False)
    [on_team_drive] = on_drive(drive, kept)
    token = drive.token("first")
    drive.call(
        "PATCH",
        f"/drive/v3/files/{on_team_drive}?addParents={robot.folder_id}&supportsAllDrives=true",
        {},
        Authorization=f"Bearer {token}",
    )
    await DriveUpload.objects.filter(pk=kept.pk).aupdate(account_id=robot.pk)
    report = await cleanup.clean(NOBODY)
    assert set(report.orphans) == {str(file.pk) for file in files} - {str(kept.pk)}
    assert any(problem.startswith(str(kept.pk)) for problem in report.problems)


async def test_what_others_keep_there_is_not_touched(drive: EmulatorProcess, store: DriveStore) -> None:
    token = drive.token("first")

    def make(name: str, properties: dict[str, str]) -> str:
        body = {"name": name, "appProperties": properties}
        made = drive.call("POST", "/drive/v3/files", body, Authorization=f"Bearer {token}")
        return str(made["id"])

    theirs = [
        make("holiday.jpg", {}),
        make(str(uuid.uuid4()), {"key": str(uuid.uuid4())}),  # another program's
        make(str(uuid.uuid4()), {"directdrivex": "upload", "key": str(uuid.uuid4())}),  # another installation's
        make("odd", {"directdrivex": "upload", "key": "no key"}),
    ]
    assert (await cleanup.clean(NOBODY)).orphans == []
    there = {file["id"] for file in drive.files("trashed=false", "first")}
    assert set(theirs) <= there


async def test_an_account_that_fails_keeps_nobody_from_looking_at_the_others(
    drive: EmulatorProcess, store: DriveStore
) -> None:
    drive.set_account(refresh_token="withdrawn", revoked=True)
    await sync(oauth_account)("broken", "withdrawn", priority=2)
    await sync(oauth_account)("alone", "first", priority=3)
    file = await put(300 * KIB)
    await DriveUpload.objects.all().adelete()
    await become(file, Status.EXPIRED)
    report = await cleanup.clean(NOBODY)
    assert report.orphans[:1] == [str(file.pk)]
    [problem] = report.problems
    assert "broken" in problem
    assert not on_drive(drive, file)


async def test_bytes_of_an_account_that_was_removed_are_forgotten(drive: EmulatorProcess) -> None:
    file = await put(300 * KIB)
    await DriveAccount.objects.all().adelete()
    await become(file, Status.EXPIRED)
    assert (await cleanup.clean(NOBODY)).orphans == [str(file.pk)]
    assert not await DriveUpload.objects.aexists()
