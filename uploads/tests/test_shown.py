"""How a file looks to those with its link: the same everywhere, and true."""

import os
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone

from quotas.rules import address_person
from uploads import announcing, services, shown
from uploads.announcing import NewUpload, Sender
from uploads.intake.registry import TransferView
from uploads.models import StoredFile
from uploads.shown import Facts, Look
from uploads.slots.manager import LeaseView
from uploads.states import Status
from uploads.storage import get_store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
SENDER = Sender(address_person("198.51.100.21"), None, "visitor")


async def announce(size: int = 100, **fields: Any) -> StoredFile:
    file, _token = await announcing.initiate(NewUpload("film.mkv", size), SENDER)
    await StoredFile.objects.filter(pk=file.pk).aupdate(**fields)
    return await StoredFile.objects.aget(pk=file.pk)


async def stored(file: StoredFile, data: bytes) -> None:
    partial = await get_store().open(str(file.pk), file.size)
    await partial.append([data])
    await partial.close()


def answers(file: StoredFile) -> dict[str, Any]:
    client = Client()
    meta = client.get(f"/api/v1/files/{file.pk}/meta").json()
    download = client.get(f"/api/v1/download/stream/{file.pk}")
    return {
        "meta": (meta["status"], meta["offset"]),
        "download": (download.status_code, download.json()["code"]),
        "page": client.get(f"/f/{file.pk}").status_code,
    }


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.PENDING])
async def test_a_file_whose_time_is_over_is_expired_everywhere_before_the_cleanup_comes(status: Status) -> None:
    over = timezone.now() - timedelta(seconds=1)
    field = "expires_at" if status == Status.COMPLETED else "upload_expires_at"
    file = await announce(status=status, stored_bytes=50, **{field: over})
    assert await sync_to_async(answers)(file) == {"meta": ("expired", 0), "download": (410, "gone"), "page": 410}
    await StoredFile.objects.filter(pk=file.pk).aupdate(status=Status.EXPIRED)
    assert await sync_to_async(answers)(file) == {"meta": ("expired", 0), "download": (410, "gone"), "page": 410}


async def test_an_upload_that_runs_past_its_time_is_uploading_until_it_ends() -> None:
    file = await announce(upload_expires_at=timezone.now() - timedelta(seconds=1), last_seen_at=timezone.now())
    key = str(file.pk)
    lease = LeaseView(key, file.person, 8 * 1024**2, 1, held_seconds=1.0, expires_in_seconds=29.0, connected=True)
    now = Look({key: lease}, {}, {key: TransferView(key, "receiving", 40, 30, 100, 10, 10, 1.0)})
    assert await shown.true_facts([file], now) == [Facts(file, "uploading", 30)]
    assert (await shown.true_facts([file], Look({}, {}, {})))[0].state == "expired"


async def test_after_a_kill_the_storage_knows_better_than_the_row() -> None:
    file = await announce(last_seen_at=timezone.now(), stored_bytes=1)
    await stored(file, b"x" * 40)
    assert await shown.true_facts([file], Look({}, {}, {})) == [Facts(file, "pending", 40)]


async def test_the_storage_is_asked_only_about_what_nobody_else_can_know(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"last_seen_at": timezone.now()}
    files = [
        await announce(),  # never begun
        await announce(**seen, status=Status.COMPLETED, stored_bytes=100),
        await announce(**seen, status=Status.CANCELLED),
        await announce(**seen, upload_expires_at=timezone.now()),
        await announce(**seen),
        await announce(**seen),
    ]
    running = str(files[4].pk)
    now = Look({}, {}, {running: TransferView(running, "receiving", 40, 30, 100, 10, 10, 1.0)})
    asked: list[str] = []
    ask = get_store().stored_bytes

    async def stored_bytes(key: str) -> int:
        asked.append(key)
        return await ask(key)

    monkeypatch.setattr(get_store(), "stored_bytes", stored_bytes)
    facts = await shown.true_facts(files, now)
    assert [known.offset for known in facts] == [0, 100, 0, 0, 30, 0]
    assert asked == [str(files[5].pk)]


async def test_the_facts_of_many_files_come_in_their_order() -> None:
    files = [await announce(last_seen_at=timezone.now()) for _ in range(12)]
    for length, file in enumerate(files):
        await stored(file, os.urandom(length + 1))
    facts = await shown.true_facts(files[::-1], Look({}, {}, {}))
    assert [(known.file.pk, known.offset) for known in facts] == [
        (file.pk, length) for length, file in reversed(list(enumerate(files, 1)))
    ]


async def test_the_time_to_download_ends_no_deletion() -> None:
    file = await announce(status=Status.COMPLETED, expires_at=timezone.now())
    await services.delete(file.pk, "sender")
    assert (await StoredFile.objects.aget(pk=file.pk)).status == Status.DELETED
