"""A connection learns that its file was ended, or taken over, elsewhere: by a hint, and without one by a slow poll."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from quotas.rules import address_person
from uploads import announcing, hints, services
from uploads.announcing import NewUpload, Sender
from uploads.errors import UploadError
from uploads.intake import changes, registry
from uploads.intake.session import UploadSession
from uploads.models import StoredFile
from uploads.states import Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


class Connected:
    """A sender whose upload is ready, and who then sends nothing."""

    def __init__(self, key: str, token: str) -> None:
        self.ready, self.codes = asyncio.Event(), list[str]()
        self.session = UploadSession(key, self)
        self.task = asyncio.create_task(self.session.run())
        self.session.text(json.dumps({"type": "start", "token": token}))

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self.ready.set()

    async def send_error(self, error: UploadError) -> None:
        self.codes.append(error.code)

    async def close(self, code: int, reason: str) -> None:
        self.session.lost(code)

    def links(self, file_id: str) -> dict[str, str]:
        return {}

    async def over(self) -> list[str]:
        async with asyncio.timeout(10):
            await self.task
        return self.codes


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    person = Sender(address_person("192.0.2.7"), None, "visitor")
    file, token = await announcing.initiate(NewUpload("film.mkv", 10), person)
    sender = Connected(str(file.pk), token)
    async with asyncio.timeout(10):
        await sender.ready.wait()
    yield sender
    sender.session.lost(1000)
    await sender.over()
    assert not registry.connections()


async def ended(key: str) -> None:
    """As another process ends it that cannot give a hint."""
    await StoredFile.objects.filter(pk=key).aupdate(status=Status.EXPIRED)


async def taken_over(key: str) -> None:
    """As a connection on another worker begins, whose hint was lost."""
    assert await sync_to_async(services.begin_upload)(await StoredFile.objects.aget(pk=key))


async def test_a_message_of_another_release_keeps_nobody_from_hearing_the_next(connected: Connected) -> None:
    watch = changes._watch
    for other in ({}, {"upload_id": 7}, {"upload_id": None, "epoch": "x"}):
        await get_channel_layer().group_send(hints.GROUP, {"type": "upload.changed", **other})
    await services.cancel(connected.session.upload_id, "admin")
    assert await connected.over() == ["cancelled"]
    assert watch is not None
    assert not any(task.done() and not task.cancelled() and task.exception() for task in watch._tasks)


@pytest.mark.parametrize(("change", "code"), [(ended, "gone"), (taken_over, "superseded")])
async def test_what_happens_elsewhere_is_found_without_a_hint(
    connected: Connected, change: Any, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "POLL_SECONDS", 0.05)
    changes._watch, watch = None, changes._watch  # the one that runs has its first pause before it
    assert watch is not None
    await watch.stop()
    await changes.keep_watch()
    await change(connected.session.upload_id)
    assert await connected.over() == [code]


@pytest.mark.parametrize(("change", "code"), [(ended, "gone"), (taken_over, "superseded")])
async def test_a_hint_is_heard_at_once(connected: Connected, change: Any, code: str) -> None:
    await change(connected.session.upload_id)
    await hints.tell(connected.session.upload_id)
    async with asyncio.timeout(changes.POLL_SECONDS / 2):
        assert await connected.over() == [code]


async def test_a_hint_that_cannot_be_sent_undoes_no_cancel(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        async def group_send(self, group: str, message: Any) -> None:
            raise ConnectionRefusedError

    monkeypatch.setattr(hints, "get_channel_layer", Gone)
    assert (await services.cancel(connected.session.upload_id, "sender")).status == Status.CANCELLED
