"""The sessions of uploads to Drive in the database: kept, held by one writer, and taken up by another process."""

import os
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async as sync
from django.utils import timezone

from uploads.drive_models import DriveUpload
from uploads.storage.base import StorageUnavailableError
from uploads.storage.gdrive import rows
from uploads.storage.gdrive.ports import Checkpoint, DriveSession, TakenOverError
from uploads.storage.gdrive.rows import RowSessions

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

SESSION = DriveSession(
    account_id=3,
    file_id="drive-file",
    size=5 * 2**40,
    sealed_url="sealed",
    offset=2**40,
    checkpoint=Checkpoint(2**40 + 1, 2**32 - 1, bytes(range(40))),
)


@pytest.fixture
def sessions() -> RowSessions:
    return RowSessions()


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


async def held_by(key: str, holder: str, seconds: float = 60) -> None:
    """Somebody else has it, for so long from now."""
    until = timezone.now() + timedelta(seconds=seconds)
    await DriveUpload.objects.filter(pk=key).aupdate(holder=holder, held_until=until)


async def test_what_was_saved_is_what_the_next_one_finds(sessions: RowSessions, key: str) -> None:
    hold = await sessions.hold(key)
    assert hold.session is None
    await hold.save(SESSION)
    assert await sessions.load(key) == SESSION
    await hold.save(
        replace(SESSION, finished=True, sealed_url="", checkpoint=replace(SESSION.checkpoint, sha256_state=None))
    )  # type: ignore[type-var]
    await hold.let_go()
    again = await sessions.hold(key)
    assert again.session is not None
    assert again.session.finished
    assert again.session.checkpoint == Checkpoint(2**40 + 1, 2**32 - 1, None)
    [(listed, age)] = await sessions.ages()
    assert listed == key
    assert 0 <= age < 60
    await sessions.delete(key)
    assert await sessions.load(key) is None


async def test_a_hold_that_nothing_came_of_leaves_nothing(sessions: RowSessions, key: str) -> None:
    hold = await sessions.hold(key)
    await hold.let_go()
    assert not await DriveUpload.objects.aexists()


async def test_while_one_writes_nobody_else_does(sessions: RowSessions, key: str) -> None:
    hold = await sessions.hold(key)
    with pytest.raises(StorageUnavailableError):
        await sessions.hold(key)
    await hold.renew()
    await hold.let_go()
    await (await sessions.hold(key)).let_go()


async def test_who_does_not_let_go_can_be_taken_from_and_writes_no_more(sessions: RowSessions, key: str) -> None:
    old = await sessions.hold(key)
    await old.save(SESSION)
    new = await sessions.hold(key, take=True)
    assert new.session == SESSION
    for write in (old.save(replace(SESSION, offset=0)), old.renew()):
        with pytest.raises(TakenOverError):
            await write
    await old.let_go()
    await new.save(replace(SESSION, offset=7))
    loaded = await sessions.load(key)
    assert loaded is not None
    assert loaded.offset == 7


async def test_the_hold_of_a_process_that_was_killed_on_this_machine_is_void_at_once(
    sessions: RowSessions, key: str
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        holder = f"{rows._machine()}/{rows._life(child.pid)}/x"
        await (await sessions.hold(key)).save(SESSION)
        await held_by(key, holder)
        with pytest.raises(StorageUnavailableError):
            await sessions.hold(key)
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - dead, and nobody asked how it ended
        await (await sessions.hold(key)).let_go()
        await held_by(key, holder)
    finally:
        child.kill()
        child.communicate()
    await (await sessions.hold(key)).let_go()


async def test_the_id_of_a_dead_process_that_another_one_has_now_protects_nothing(
    sessions: RowSessions, key: str
) -> None:
    await (await sessions.hold(key)).save(SESSION)
    await held_by(key, f"{rows._machine()}/{os.getpid()}:1/x")
    await (await sessions.hold(key)).let_go()


async def test_the_hold_of_another_machine_lapses(sessions: RowSessions, key: str) -> None:
    await (await sessions.hold(key)).save(SESSION)
    await held_by(key, "another-boot:pid:[1]/1:1/x")
    with pytest.raises(StorageUnavailableError):
        await sessions.hold(key)
    await held_by(key, "another-boot:pid:[1]/1:1/x", seconds=-1)
    await (await sessions.hold(key)).let_go()


async def test_a_removed_upload_is_not_brought_back_by_its_writer(sessions: RowSessions, key: str) -> None:
    hold = await sessions.hold(key)
    await hold.save(SESSION)
    await sessions.delete(key)
    with pytest.raises(TakenOverError):
        await hold.save(SESSION)
    await hold.let_go()
    assert not await sync(DriveUpload.objects.exists)()
