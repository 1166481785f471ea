"""Whole conversations, broken off and steered at random: no slot, place, lock or task may stay behind."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from channels.db import database_sync_to_async

from quotas.models import LimitProfile
from quotas.rules import address_person
from quotas.services import seed_profiles
from uploads import announcing, services
from uploads.announcing import NewUpload, Sender
from uploads.errors import UploadError
from uploads.intake import registry
from uploads.intake.events import ConnectionLost
from uploads.intake.session import UploadSession
from uploads.models import StoredFile
from uploads.slots.keeper import SlotKeeper, get_keeper
from uploads.states import ACTIVE, Status
from uploads.storage import get_store

pytestmark = pytest.mark.django_db(transaction=True)

CHUNK = 1000
SIZE = 5 * CHUNK
UPLOADS, STEPS = 5, 60


class Client:
    """One connection of a sender who follows wire.md: it sends when it may, and says `finish` at the end."""

    def __init__(self, upload: "Upload") -> None:
        self.upload, self.messages = upload, list[dict[str, Any]]()
        self.gone = self.lost = False
        self.session = UploadSession(upload.key, self)
        self.task = asyncio.create_task(self.session.run())
        self.say(type="start", token=upload.token)
        self.was_ready = False

    def say(self, **message: Any) -> None:
        self.session.text(json.dumps(message))

    def lose(self, code: int) -> None:
        if not self.gone:
            self.gone = self.lost = True
            self.session.lost(code)

    # what the session calls

    async def send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if self.gone:
            raise ConnectionLost(1006)
        self.messages.append(message)
        if message["type"] in ("ready", "rewind"):
            if self.was_ready:
                self.say(type="resume", offset=message["offset"])
            self.was_ready = True
            for offset in range(message["offset"], SIZE, CHUNK):
                self.session.frame(self.upload.data[offset : min(offset + CHUNK, SIZE)])
            self.say(type="finish")

    async def send_error(self, error: UploadError) -> None:
        await self.send({"type": "error", "code": error.code})

    async def close(self, code: int, reason: str) -> None:
        self.gone = True

    def links(self, file_id: str) -> dict[str, str]:
        return {}


class Upload:
    def __init__(self, file: StoredFile, token: str, chance: random.Random) -> None:
        self.key, self.token, self.data = str(file.pk), token, chance.randbytes(SIZE)
        self.clients: list[Client] = []

    def connect(self) -> Client:
        self.clients.append(Client(self))
        return self.clients[-1]

    async def row(self) -> StoredFile:
        return await StoredFile.objects.aget(pk=self.key)


@pytest.fixture
async def keeper(
    backend: str, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SlotKeeper]:
    settings.DATA_DIR = tmp_path
    settings.DISCONNECT_GRACE_SECONDS = 0.2
    settings.UPLOAD_CHUNK_BYTES = CHUNK
    settings.UPLOAD_WINDOW_BYTES = 4 * SIZE
    monkeypatch.setattr("uploads.slots.keeper._keepers", {})
    get_store.cache_clear()
    await database_sync_to_async(seed_profiles)()
    two = LimitProfile.objects.filter(environment=settings.ENVIRONMENT)
    await database_sync_to_async(two.update)(max_concurrent_uploads=2)
    yield get_keeper()
    await get_keeper().stop()
    get_store.cache_clear()


async def announce(chance: random.Random) -> Upload:
    person = address_person(f"192.0.2.{chance.randrange(3)}")
    file, token = await announcing.initiate(NewUpload("film.mkv", SIZE), Sender(person, None, "visitor"))
    return Upload(file, token, chance)


async def something_happens(chance: random.Random, uploads: list[Upload], keeper: SlotKeeper) -> None:
    upload = chance.choice(uploads)
    connected = [client for client in upload.clients if not client.gone]
    match chance.randrange(12):
        case 0 | 1 | 2:
            upload.connect()  # where one is there already, this one takes over
        case 3 if connected:
            chance.choice(connected).lose(1000)
        case 4 | 5 if connected:
            chance.choice(connected).lose(1006)
        case 6:
            await keeper.pause(upload.key)
        case 7:
            for each in uploads:
                await keeper.unpause(each.key)
        case 8:
            await keeper.take_away(upload.key)
        case 9:
            await keeper.to_front(upload.key)
        case 10 if chance.random() < 0.2:
            with suppress(UploadError):  # it may be complete
                await services.cancel(upload.key, "admin")
            for client in connected:
                client.session.row_changed()
        case 11 if connected and chance.random() < 0.2:
            chance.choice(connected).say(type="cancel")
    # Sometimes nothing gets done before the next step, sometimes much.
    for _ in range(chance.choice([0, 1, 3, 10])):
        await asyncio.sleep(0)
    if chance.random() < 0.2:
        await asyncio.sleep(chance.random() * 0.05)


@pytest.mark.parametrize(
    ("backend", "seed"),
    [*(("memory", seed) for seed in range(8)), *(("redis", seed) for seed in range(4))],
    indirect=["backend"],
)
async def test_whatever_happens_nothing_stays_held_and_every_upload_comes_to_its_end(
    keeper: SlotKeeper, seed: int
) -> None:
    chance = random.Random(seed)
    uploads = [await announce(chance) for _ in range(UPLOADS)]
    for _ in range(STEPS):
        await something_happens(chance, uploads[-UPLOADS:], keeper)
        if (await uploads[-1].row()).status not in ACTIVE:
            uploads.append(await announce(chance))
        assert await keeper.check() == []
        assert len((await keeper.snapshot()).leases) <= 2

    clients = [client for upload in uploads for client in upload.clients]
    for client in clients:
        client.lose(1006)
    async with asyncio.timeout(40):
        await asyncio.gather(*(client.task for client in clients))
        while registry._verifications:
            await asyncio.sleep(0.01)
        while (state := await keeper.snapshot()).leases or state.tickets:
            await asyncio.sleep(0.01)
    assert not registry._sessions
    assert not registry._everyone
    assert registry.buffered_bytes() == 0
    assert not any(client.session._tasks for client in clients)
    for client in clients:
        assert client.lost or client.messages[-1]["type"] in ("success", "cancelled", "error"), "closed without a word"

    for upload in uploads:
        row = await upload.row()
        if row.status == Status.CANCELLED:
            assert await get_store().stored_bytes(upload.key) == 0
            continue
        client = upload.connect()
        async with asyncio.timeout(20):
            await client.task
        assert client.messages[-1]["type"] == "success", client.messages
        assert (await upload.row()).sha256 == hashlib.sha256(upload.data).hexdigest()
    state = await keeper.snapshot()
    assert (state.leases, state.tickets) == ((), ())
