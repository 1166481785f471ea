"""The socket of the live page: who may look, what they see, and for how long."""

import asyncio
import json

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper as DatabaseWrapper
from django.test import Client
from django.utils import timezone

from monitoring import consumer, snapshot
from monitoring.routing import websocket_urlpatterns
from monitoring.tests.files import a_file
from uploads.drive_models import DriveAccount
from uploads.slots.keeper import get_keeper
from uploads.storage.gdrive import circuits, troubles

pytestmark = pytest.mark.django_db(transaction=True)

HOME = "http://files.example.org"


@pytest.fixture(autouse=True)
def fresh_state(settings):
    settings.PUBLIC_URL = None
    settings.ALLOWED_HOSTS = ["files.example.org"]
    snapshot.forget()


def sign_in(username="operator", **facts):
    user = get_user_model().objects.create_user(username, f"{username}@example.org", "pw", **facts)
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user, browser.cookies[settings.SESSION_COOKIE_NAME].value


async def staff():
    return await database_sync_to_async(sign_in)(is_staff=True)


def socket(session="", origin=HOME, language="en"):
    headers = [(b"host", b"files.example.org"), (b"accept-language", language.encode())]
    if origin:
        headers.append((b"origin", origin.encode()))
    if session:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
    return WebsocketCommunicator(URLRouter(websocket_urlpatterns), "/ws_api/admin/live", headers=headers)


async def is_let_in(talk):
    connected, _code = await talk.connect(timeout=5)
    if connected:
        await talk.disconnect()
    return connected


async def next_where(talk, holds):
    """The first snapshot for which `holds` is true; fails when none comes."""
    async with asyncio.timeout(10):
        while True:
            message = json.loads(await talk.receive_from(timeout=10))
            if holds(message):
                return message


async def test_a_staff_member_on_our_own_page_sees_the_whole_program():
    _user, session = await staff()
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    message = json.loads(await talk.receive_from(timeout=5))
    assert message["type"] == "snapshot"
    assert message["slots"] | {"used": 0} == {
        "known": True,
        "backend": "memory",
        "total": 20,
        "used": 0,
        "per_person": 5,
    }
    assert set(message) >= {"alerts", "running", "queued", "memory", "buffers", "today", "storage", "at"}
    await talk.disconnect()


@pytest.mark.parametrize("origin", [None, "null", "http://evil.net", "https://files.example.org", f"{HOME}:8000"])
async def test_a_page_that_is_not_ours_is_refused_at_the_handshake(origin):
    _user, session = await staff()
    assert not await is_let_in(socket(session, origin=origin))


async def test_nobody_without_a_staff_session_is_let_in():
    _user, plain = await database_sync_to_async(sign_in)("plain")
    assert not await is_let_in(socket())
    assert not await is_let_in(socket("no-such-session"))
    assert not await is_let_in(socket(plain))


async def test_a_staff_member_who_was_deactivated_is_not_let_in():
    user, session = await staff()
    await database_sync_to_async(type(user).objects.filter(pk=user.pk).update)(is_active=False)
    assert not await is_let_in(socket(session))


async def test_a_running_and_a_waiting_upload_are_shown_with_name_sender_and_what_can_be_done():
    _user, session = await staff()
    first = await database_sync_to_async(a_file)("film.mkv", size=5000, stored_bytes=1250)
    keeper = get_keeper()
    hold = await keeper.enter(str(first.pk), first.person, 1024)
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    message = await next_where(talk, lambda message: message["running"])
    (row,) = message["running"]
    assert (row["id"], row["name"], row["person"], row["account"]) == (str(first.pk), "film.mkv", "203.0.113.9", None)
    assert (row["size"], row["stored"], row["percent"], row["stage"]) == (5000, 1250, 25, "starting")
    assert row["acts"] == ["pause", "release", "cancel"]
    assert hold.owner not in json.dumps(message)

    await keeper.pause(str(first.pk))
    message = await next_where(talk, lambda message: message["queued"])
    (row,) = message["queued"]
    assert message["running"] == []
    assert (row["name"], row["waiting_for"], row["acts"]) == ("film.mkv", "paused", ["unpause", "release", "cancel"])
    await talk.disconnect()
    await hold.release()
    await keeper.stop()


async def test_an_idle_program_sends_heartbeats_and_nothing_in_between(monkeypatch):
    monkeypatch.setattr(consumer, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(consumer, "HEARTBEAT_SECONDS", 3600)
    _user, session = await staff()
    state = await snapshot.current()

    looks = 0

    async def the_same():
        nonlocal looks
        looks += 1
        return state

    monkeypatch.setattr(consumer, "current", the_same)
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    await talk.receive_from(timeout=5)
    async with asyncio.timeout(5):
        while looks < 5:
            await asyncio.sleep(0.01)
    assert talk.output_queue.empty()
    monkeypatch.setattr(consumer, "HEARTBEAT_SECONDS", 0)
    assert json.loads(await talk.receive_from(timeout=5))["sequence"] == 2
    await talk.disconnect()


@pytest.mark.parametrize("loss", ["logged out", "staff no longer", "deactivated"])
async def test_whoever_loses_the_right_stops_getting_snapshots(monkeypatch, loss):
    monkeypatch.setattr(consumer, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(consumer, "RECHECK_SECONDS", 0.05)
    user, session = await staff()
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    await talk.receive_from(timeout=5)

    def lose():
        if loss == "logged out":
            browser = Client()
            browser.cookies[settings.SESSION_COOKIE_NAME] = session
            browser.logout()
        else:
            field = "is_staff" if loss == "staff no longer" else "is_active"
            type(user).objects.filter(pk=user.pk).update(**{field: False})

    await database_sync_to_async(lose)()
    async with asyncio.timeout(10):
        while (message := await talk.receive_output(timeout=10))["type"] != "websocket.close":
            pass
    assert message["code"] == consumer.NO_LONGER_STAFF


async def test_what_the_page_sends_is_ignored_until_it_is_too_much(monkeypatch):
    monkeypatch.setattr(consumer, "HEARTBEAT_SECONDS", 3600)
    _user, session = await staff()
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    await talk.receive_from(timeout=5)
    await talk.send_to(text_data='{"type": "cancel"}')
    await talk.send_to(bytes_data=b"x" * (consumer.MOST_MESSAGE_BYTES + 1))
    async with asyncio.timeout(10):
        while (message := await talk.receive_output(timeout=10))["type"] != "websocket.close":
            pass
    assert message["code"] == 1008


async def test_a_reader_who_does_not_read_gets_one_message_and_no_pile(monkeypatch):
    monkeypatch.setattr(consumer, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(consumer, "HEARTBEAT_SECONDS", 0)
    monkeypatch.setattr(consumer, "SEND_SECONDS", 0.2)
    _user, session = await staff()
    sent, read = [], asyncio.Event()
    opened = asyncio.Queue()
    await opened.put({"type": "websocket.connect"})

    async def send(message):
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            await read.wait()
        if message["type"] == "websocket.close":
            await opened.put({"type": "websocket.disconnect", "code": message.get("code", 1000)})

    application = URLRouter(websocket_urlpatterns)
    async with asyncio.timeout(10):
        await application(dict(socket(session).scope), opened.get, send)
    assert sent == ["websocket.accept", "websocket.send", "websocket.close"]


async def test_when_the_numbers_cannot_be_made_the_connection_ends_instead_of_growing_old(monkeypatch):
    _user, session = await staff()

    async def broken():
        raise LookupError("no numbers")

    monkeypatch.setattr(consumer, "current", broken)
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    message = await talk.receive_output(timeout=5)
    assert (message["type"], message["code"]) == ("websocket.close", 1011)
    with pytest.raises(LookupError):
        await talk.disconnect()


async def test_who_looks_on_when_the_database_goes_away_sees_that_and_the_last_known_figures(monkeypatch):
    _user, session = await staff()
    monkeypatch.setattr(consumer, "RECHECK_SECONDS", 0.0)
    done = await database_sync_to_async(a_file)("done.bin")
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    before = await next_where(talk, lambda message: message["today"]["attempted"])
    keeper = get_keeper()
    hold = await keeper.enter(str(done.pk), done.person, 1024)

    def away(*_):
        raise OperationalError("the database has not answered for 10 s")

    with monkeypatch.context() as patch:
        patch.setattr(DatabaseWrapper, "ensure_connection", away)
        patch.setattr(DatabaseWrapper, "cursor", away)
        message = await next_where(talk, lambda message: message["alerts"] and message["running"])
        assert [alert["code"] for alert in message["alerts"]] == ["database_failing"]
        assert message["alerts"][0]["sentence"].endswith("the database has not answered for 10 s")
        assert message["today"] == before["today"]
    message = await next_where(talk, lambda message: not message["alerts"])
    assert message["running"][0]["name"] == "done.bin"
    await hold.release()
    await keeper.stop()
    await talk.disconnect()


@pytest.mark.usefixtures("two_accounts")
async def test_the_page_shows_how_each_drive_account_fares():
    _user, session = await staff()
    talk = socket(session)
    assert (await talk.connect(timeout=5))[0]
    message = await next_where(talk, lambda message: message["accounts"])
    sound, sick = sorted(message["accounts"], key=lambda account: account["works"], reverse=True)
    assert (sound["name"], sound["works"], sound["circuit"], sound["until"]) == ("sound", True, "closed", None)
    assert (sick["name"], sick["words"], sick["circuit"]) == ("sick", "failing", "open")
    assert sick["until"]
    assert "A Drive account fails: sick" in [alert["sentence"] for alert in message["alerts"]]
    await talk.disconnect()


@pytest.mark.usefixtures("two_accounts")
async def test_the_page_says_when_drive_as_a_whole_is_left_alone():
    _user, session = await staff()
    talk = socket(session)
    await talk.connect(timeout=5)
    message = await next_where(talk, lambda message: message["accounts"])
    assert message["drive"] == {"circuit": "closed", "words": ""}
    await database_sync_to_async(open_the_whole_circuit)()
    snapshot.forget()
    message = await next_where(talk, lambda message: message["drive"]["circuit"] == "open")
    assert message["drive"]["words"] == "Drive as a whole fails and is left alone for a while"
    await talk.disconnect()


def open_the_whole_circuit():
    account = DriveAccount.objects.get(name="sound")
    for _ in range(circuits.WHOLE.failures):
        circuits.failed(account.pk, timezone.now(), troubles.UNREACHABLE, "no route to host", whole=True)
