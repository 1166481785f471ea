"""Who may come in: the snapshot that the doors go by, the order of reasons, and what a page or a program is told."""

import asyncio
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import AsyncClient
from django.utils import timezone
from pytest_django.asserts import assertNumQueries

from quotas import closed
from quotas.closed import Closed, Notice
from quotas.models import BlockedPerson, Maintenance
from quotas.networks import ByPerson
from uploads import doors, people
from uploads.api import api
from uploads.delays import try_again_in
from uploads.doors import POLL_SECONDS, Known
from uploads.errors import Forbidden, RateLimited
from uploads.errors import Maintenance as MaintenanceError
from uploads.rates import MemoryRateStore

HERE = "address:127.0.0.1"
NOBODY: ByPerson[bool] = ByPerson([])
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def fresh_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test closes stays shut for no other."""
    monkeypatch.setattr(doors, "known", Known())
    monkeypatch.setattr(doors, "rates", MemoryRateStore())
    monkeypatch.setattr(doors, "requests_here", MemoryRateStore())


def blocking(*keys: str) -> ByPerson[bool]:
    return ByPerson((key, None, True) for key in keys)


# --- The rule ---------------------------------------------------------------------------------------------------


def test_who_is_neither_blocked_nor_kept_out_comes_in() -> None:
    assert doors.refusal(Closed(blocking("account:7")), [HERE, "account:8"]) is None


def test_one_blocked_person_among_those_that_somebody_is_suffices() -> None:
    for key in (HERE, "account:7", "address:127.0.0.0/8"):
        error = doors.refusal(Closed(blocking(key)), [HERE, "account:7"])
        assert isinstance(error, Forbidden)
        assert error.detail == (
            "You have been blocked from this service. If you think that this is a mistake, please ask its operator."
        )


def test_a_blocked_person_hears_that_even_during_maintenance() -> None:
    both = Closed(blocking(HERE), Notice())
    assert isinstance(doors.refusal(both, [HERE]), Forbidden)
    assert isinstance(doors.refusal(both, ["address:192.0.2.7"]), MaintenanceError)


def test_maintenance_says_what_the_admin_says_and_when_it_will_be_over() -> None:
    silent = doors.refusal(Closed(NOBODY, Notice()), [HERE])
    assert silent is not None
    assert (silent.detail, silent.retry_after) == ("The service is down for maintenance and will be back.", None)
    told = doors.refusal(Closed(NOBODY, Notice("A new disk.", timezone.now() + 600 * SECOND)), [HERE])
    assert told is not None
    assert told.detail == "A new disk."
    assert told.retry_after in (599, 600)
    late = doors.refusal(Closed(NOBODY, Notice("", timezone.now() - 600 * SECOND)), [HERE])
    assert late is not None
    assert late.retry_after == 60, "it takes longer than was thought: nobody is sent away for a negative time"


# --- The snapshot -----------------------------------------------------------------------------------------------


class Reader:
    """Stands for the database: what it has, how often it was asked, and whether it fails or is slow."""

    def __init__(self) -> None:
        self.has, self.asked, self.fails = Closed(NOBODY), 0, False
        self.answers = threading.Event()
        self.answers.set()
        self.now = 100.0

    def read(self) -> Closed:
        self.asked += 1
        self.answers.wait(10)
        if self.fails:
            raise OperationalError("the database is away")
        return self.has

    def known(self) -> Known:
        return Known(self.read, lambda: self.now)


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.answers.set()


async def test_the_database_is_asked_once_in_two_seconds_however_many_come(reader: Reader) -> None:
    known = reader.known()
    await asyncio.gather(*(known.get() for _ in range(50)))
    assert reader.asked == 1
    reader.has = Closed(blocking(HERE))
    reader.now += POLL_SECONDS - 0.1
    assert (await known.get()).blocked is NOBODY
    reader.now += 0.1
    assert (await known.get()).blocked is reader.has.blocked
    assert reader.asked == 2


async def test_a_change_in_this_process_is_seen_by_the_very_next_caller(reader: Reader) -> None:
    known = reader.known()
    await known.get()
    reader.has = Closed(NOBODY, Notice("now"))
    known.changed()
    assert (await known.get()).maintenance == Notice("now")
    assert reader.asked == 2


async def test_a_change_during_a_reading_is_not_lost(reader: Reader) -> None:
    known = reader.known()
    reader.answers.clear()
    asking = asyncio.create_task(known.get())
    while reader.asked == 0:
        await asyncio.sleep(0.01)
    known.changed()
    reader.answers.set()
    await asking
    assert reader.asked == 2, "the reading under way may have been too early"


async def test_a_database_that_fails_opens_no_door(reader: Reader) -> None:
    known = reader.known()
    reader.has = Closed(blocking(HERE), Notice())
    await known.get()
    reader.fails = True
    for _ in range(3):
        reader.now += POLL_SECONDS
        assert doors.refusal(await known.get(), [HERE]) is not None
    assert reader.asked == 4
    reader.fails, reader.has = False, Closed(NOBODY)
    reader.now += POLL_SECONDS
    assert doors.refusal(await known.get(), [HERE]) is None


async def test_where_nothing_was_ever_read_the_fault_comes_out_as_it_is(reader: Reader) -> None:
    known = reader.known()
    reader.fails = True
    for _ in range(2):
        with pytest.raises(OperationalError):
            await known.get()
    reader.fails = False
    assert await known.get() is reader.has


async def test_a_slow_database_holds_nobody_up_for_long(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "PATIENCE_SECONDS", 0.05)
    known = reader.known()
    before = await known.get()
    reader.answers.clear()
    reader.has = Closed(blocking(HERE))
    reader.now += POLL_SECONDS
    async with asyncio.timeout(5):
        assert await known.get() is before
    reader.now += POLL_SECONDS
    async with asyncio.timeout(5):
        assert await known.get() is before
    assert reader.asked == 2, "a second reading beside the slow one would not be faster"
    reader.answers.set()
    while await known.get() is before:
        await asyncio.sleep(0.01)


async def test_who_gives_up_waiting_takes_the_answer_from_nobody_else(reader: Reader) -> None:
    known = reader.known()
    reader.answers.clear()
    impatient, patient = asyncio.create_task(known.get()), asyncio.create_task(known.get())
    await asyncio.sleep(0.05)
    impatient.cancel()
    reader.answers.set()
    assert await patient is reader.has


# --- What the database has --------------------------------------------------------------------------------------


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_blocks_and_maintenance_are_read_in_two_queries() -> None:
    somebody = User.objects.create_user("asha")
    BlockedPerson.objects.create(account=somebody)
    BlockedPerson.objects.create(network="192.0.2.0/24", until=timezone.now() + 3600 * SECOND)
    BlockedPerson.objects.create(network="198.51.100.7", until=timezone.now())
    Maintenance.objects.create(on=True, message="A new disk.", minutes=5, switched_at=timezone.now())
    with assertNumQueries(2):
        found = closed.read()
    now = timezone.now()
    assert found.blocked.find(f"account:{somebody.pk}", now)
    assert found.blocked.find("address:192.0.2.200", now)
    assert not found.blocked.find("address:192.0.2.200", now + 3600 * SECOND), "the end counts in an old snapshot too"
    assert not found.blocked.find("address:198.51.100.7", now)
    assert found.maintenance is not None
    assert found.maintenance.message == "A new disk."
    assert found.maintenance.seconds_left(now) in (299, 300)
    Maintenance.objects.update(on=False)
    assert closed.read().maintenance is None


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
async def test_what_is_saved_or_deleted_here_counts_at_once() -> None:
    await doors.refuse_closed(HERE)
    block = await BlockedPerson.objects.acreate(network="127.0.0.1")
    with pytest.raises(Forbidden):
        await doors.refuse_closed(HERE)
    await sync_to_async(block.delete)()
    await doors.refuse_closed(HERE)
    await Maintenance.objects.acreate(on=True)
    with pytest.raises(MaintenanceError):
        await doors.refuse_closed(HERE)
    await doors.refuse_blocked(HERE)


# --- Rates ------------------------------------------------------------------------------------------------------


async def test_a_rate_is_told_with_the_seconds_to_wait(settings: Any) -> None:
    settings.RATE_INITIATE_PER_MINUTE, settings.RATE_CONNECT_PER_MINUTE = 2, 1
    await doors.count_initiation(HERE)
    await doors.count_initiation(HERE)
    with pytest.raises(RateLimited) as refused:
        await doors.count_initiation(HERE)
    assert refused.value.retry_after in (59, 60)
    await doors.count_initiation("account:7")
    await doors.count_handshake(HERE)
    with pytest.raises(RateLimited):
        await doors.count_handshake(HERE)


async def test_a_long_announcement_counts_as_several(settings: Any) -> None:
    settings.RATE_INITIATE_PER_MINUTE = 600
    await doors.count_initiation(HERE, 200 * 1000)
    assert await doors.rates.counted(f"initiate {HERE}", 600) == 4, "a thousand files with usual names"
    for _ in range(18):
        await doors.count_initiation(HERE, 2 * 1024 * 1024 - 1)
    with pytest.raises(RateLimited):
        await doors.count_initiation(HERE, 2 * 1024 * 1024 - 1)
    await doors.count_initiation(HERE, 100)


async def test_without_a_rate_nothing_is_counted(settings: Any) -> None:
    settings.RATE_INITIATE_PER_MINUTE = settings.RATE_CONNECT_PER_MINUTE = settings.RATE_REQUESTS_PER_MINUTE = None
    for _ in range(3):
        await doors.count_initiation(HERE)
        await doors.count_handshake(HERE)
        await doors.count_request(HERE)
    for store in (doors.rates, doors.requests_here):
        assert isinstance(store, MemoryRateStore)
        assert len(store) == 0


# --- What a request is told -------------------------------------------------------------------------------------

database = pytest.mark.django_db(transaction=True)


async def block_me(**more: Any) -> None:
    await BlockedPerson.objects.acreate(network="127.0.0.1", **more)


async def close(**more: Any) -> None:
    await Maintenance.objects.acreate(on=True, switched_at=timezone.now(), **more)


@database
async def test_a_blocked_persons_page_says_so_and_never_why(async_client: AsyncClient) -> None:
    await block_me(reason="sends me strange letters")
    for path in ("/", "/nowhere", "/accounts/login/"):
        answer = await async_client.get(path)
        page = answer.content.decode()
        assert answer.status_code == 403
        assert "You have been blocked from this service." in page
        assert "strange letters" not in page
        assert answer["Cache-Control"] == "no-store"
    assert not async_client.cookies.get("ddx_visitor"), "a stranger who may not come in is given no name"


@database
async def test_in_maintenance_a_page_says_what_the_admin_wrote_and_when_to_come_back(async_client: AsyncClient) -> None:
    await close(message="<b>A new disk.</b>", minutes=20)
    answer = await async_client.get("/")
    page = answer.content.decode()
    assert answer.status_code == 503
    assert "&lt;b&gt;A new disk.&lt;/b&gt;" in page
    assert "It should be over in about 20 minutes." in page
    assert answer["Retry-After"] in ("1199", "1200")


@database
async def test_in_maintenance_the_page_speaks_the_visitors_language(async_client: AsyncClient) -> None:
    await close()
    page = (await async_client.get("/", headers={"accept-language": "hi"})).content.decode()
    assert 'lang="hi"' in page
    assert "Down for maintenance" not in page


@database
async def test_a_program_gets_a_problem(async_client: AsyncClient) -> None:
    await close(message="A new disk.", minutes=20)
    answer = await async_client.get("/api/v1/upload/quota-info")
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert (told["code"], told["detail"], told["retryable"]) == ("maintenance", "A new disk.", True)
    assert str(told["retry_after"]) == answer["Retry-After"]


@database
async def test_a_person_who_follows_a_download_link_gets_the_page(async_client: AsyncClient) -> None:
    await close()
    file = "4dbfdf0a-0000-4000-8000-000000000000"
    navigation = {"sec-fetch-mode": "navigate"}
    answer = await async_client.get(f"/api/v1/download/stream/{file}", headers=navigation)
    assert (answer.status_code, answer["Location"]) == (302, f"/f/{file}")
    answer = await async_client.get(f"/api/v1/batch/download-zip/{file}", headers=navigation)
    assert (answer.status_code, answer["Location"]) == (302, f"/b/{file}")
    for path in ("/api/v1/download/stream/..%2f..", f"/api/v1/files/{file}", "/api/v1/download/stream/"):
        assert (await async_client.get(path, headers=navigation)).json()["code"] == "maintenance"


@database
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/jsi18n/", "/admin/login/", "/static/none.css"])
async def test_what_watches_or_opens_again_is_never_shut(async_client: AsyncClient, path: str) -> None:
    await block_me()
    await close()
    assert (await async_client.get(path)).status_code in (200, 404)


@database
@pytest.mark.parametrize("path", ["/admin.", "/healthz/", "/readyz/x", "/Admin/", "//admin/", "/static", "/metricsx"])
async def test_no_address_that_merely_looks_like_those_is_open(async_client: AsyncClient, path: str) -> None:
    await close()
    assert (await async_client.get(path)).status_code == 503


@database
async def test_a_blocked_account_is_blocked_wherever_it_signs_in_from(async_client: AsyncClient) -> None:
    somebody = await User.objects.acreate(username="asha")
    await async_client.aforce_login(somebody)
    assert (await async_client.get("/")).status_code == 200
    await BlockedPerson.objects.acreate(account=somebody)
    for path, status in (("/", 403), ("/api/v1/files", 403), ("/admin/login/", 200)):
        assert (await async_client.get(path, REMOTE_ADDR="203.0.113.50")).status_code == status
    assert (await AsyncClient().get("/")).status_code == 200, "others at the same address are not meant"


@database
async def test_another_sites_page_uses_up_nobodys_rate(async_client: AsyncClient, settings: Any) -> None:
    settings.RATE_INITIATE_PER_MINUTE = 1
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}):
        answer = await async_client.post(
            "/api/v1/upload/initiate", {}, content_type="application/json", headers=headers
        )
        assert answer.status_code == 403
    answer = await async_client.post("/api/v1/upload/initiate", {}, content_type="application/json")
    assert answer.status_code == 422, "the first that counts"
    answer = await async_client.post("/api/v1/batch/initiate", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited"), "batches count with the others"
    assert 0 < int(answer["Retry-After"]) <= 60


@database
async def test_who_asks_without_end_is_told_to_wait_wherever_they_ask(async_client: AsyncClient, settings: Any) -> None:
    await async_client.aforce_login(await User.objects.acreate(username="asha"))
    settings.RATE_REQUESTS_PER_MINUTE = 3
    for path in ("/", "/api/v1/upload/quota-info", "/admin/login/"):
        assert (await async_client.get(path)).status_code in (200, 302)
    page = await async_client.get("/f/4dbfdf0a-0000-4000-8000-000000000000")
    answer = await async_client.get("/api/v1/download/stream/4dbfdf0a-0000-4000-8000-000000000000")
    assert (page.status_code, answer.status_code) == (429, 429)
    wait = try_again_in(int(page["Retry-After"]))
    assert f"More came from your address than one may send in a minute. {wait}" in page.content.decode()
    assert answer.json()["code"] == "rate_limited"
    for refused in (page, answer, await async_client.get("/admin/login/")):
        assert 0 < int(refused["Retry-After"]) <= 60
    assert (await async_client.get("/healthz")).status_code == 200, "what watches the program must know of it"
    await doors.count_request("address:203.0.113.50")  # others come in


@database
async def test_an_announcement_counts_by_the_length_of_its_body(async_client: AsyncClient, settings: Any) -> None:
    settings.RATE_INITIATE_PER_MINUTE = 600
    for length, counted in ((2, 1), (130_000, 3)):
        await async_client.generic("POST", "/api/v1/batch/initiate", "{}".ljust(length), "application/json")
        assert await doors.rates.counted(f"initiate {HERE}", 600) == counted


def test_a_session_that_nobody_has_is_nobodys(db: Any) -> None:
    for key in (None, "", "x" * 32, "x" * 100_000):
        assert not people.user_of_session(key).is_authenticated


@pytest.mark.parametrize("shut", ["to a blocked person", "in maintenance", "to a flood"])
async def test_what_the_doors_say_is_documented_for_each_call(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch, settings: Any, shut: str
) -> None:
    is_closed = Closed(blocking(HERE)) if shut == "to a blocked person" else Closed(NOBODY, Notice())
    if shut == "to a flood":
        settings.RATE_REQUESTS_PER_MINUTE = 1
        await doors.count_request(HERE)
    monkeypatch.setattr(doors, "known", Known(lambda: is_closed))
    asked = 0
    for path, methods in api.get_openapi_schema()["paths"].items():
        for method, call in methods.items():
            answer = await async_client.generic(method.upper(), re.sub(r"{\w+}", str(uuid4()), path))
            assert answer.status_code >= 400
            assert str(answer.status_code) in set(map(str, call["responses"])), f"{method} {path}"
            asked += 1
    assert asked >= 15
