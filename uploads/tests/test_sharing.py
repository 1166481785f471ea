"""Share controls over the API: what a sender sets and changes, and what a stranger learns, locked out or not."""

import asyncio
import time
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4
from zipfile import ZipFile

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import AsyncClient
from django.utils import timezone

from uploads import cleanup, doors, links, services
from uploads.models import Batch, CountedDownload, FileEvent, StoredFile
from uploads.rates import MemoryRateStore
from uploads.sharing import passwords, unlocking
from uploads.states import Status
from uploads.storage.base import Digests
from uploads.tests.sharing_rig import SECRET, SENDER, TOKEN, batch, got, hashed, visitor, whole_file
from uploads.waiting import Waiters

pytestmark = pytest.mark.django_db(transaction=True)
API = "/api/v1"
OWN = {"Authorization": f"Bearer {TOKEN}"}
INITIATE, INITIATE_BATCH = f"{API}/upload/initiate", f"{API}/batch/initiate"


@pytest.fixture(autouse=True)
def _nobody_has_guessed(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "rates", MemoryRateStore())


async def call(client: AsyncClient, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    """The JSON that this call answers."""
    sent = {"data": body, "content_type": "application/json"} if body is not None else {}
    answer = await getattr(client, method)(path, headers=headers, **sent)
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


async def unlock(client: AsyncClient, what: str, password: str = SECRET, status: int = 200) -> Any:
    return await call(client, "post", f"{API}/{what}/unlock", {"password": password}, status)


async def meta(client: AsyncClient, file: StoredFile, status: int = 200, **headers: str) -> Any:
    return await call(client, "get", f"{API}/files/{file.pk}/meta", status=status, **headers)


async def change(file: StoredFile, status: int = 200, **body: Any) -> Any:
    return await call(AsyncClient(), "patch", f"{API}/files/{file.pk}", body, status, **OWN)


async def change_batch(batch: Batch, status: int = 200, **body: Any) -> Any:
    return await call(AsyncClient(), "patch", f"{API}/batch/{batch.pk}", body, status, **OWN)


def of(file: StoredFile) -> Any:
    return StoredFile.objects.aget(pk=file.pk)


# --- at the beginning ---


async def test_what_is_wished_at_the_beginning_is_kept_and_no_password_is(async_client: AsyncClient) -> None:
    body = {"filename": "a", "size": 1, "password": SECRET, "max_downloads": 3, "expires_in": 3600}
    announced = await call(async_client, "post", INITIATE, body)
    file = await StoredFile.objects.aget(pk=announced["file_id"])
    assert (file.max_downloads, file.downloads, file.expires_in) == (3, 0, 3600)
    assert file.password_hash
    assert SECRET not in str({name: value for name, value in vars(file).items() if not name.startswith("_")})
    assert file.expires_at == file.created_at + timedelta(hours=1)


async def test_a_batch_and_its_files_have_controls_of_their_own(async_client: AsyncClient) -> None:
    files = [{"filename": "a", "size": 1}, {"filename": "b", "size": 1, "password": "its own", "expires_in": 60}]
    body = {"files": files, "password": SECRET, "max_downloads": 2, "expires_in": 600}
    announced = await call(async_client, "post", INITIATE_BATCH, body)
    whole = await Batch.objects.aget(pk=announced["batch_id"])
    plain, own = [file async for file in whole.files.order_by("position")]
    assert whole.password_hash
    assert (whole.max_downloads, whole.expires_in) == (2, 600)
    assert (plain.password_hash, plain.max_downloads, plain.expires_in) == ("", 2, None), (
        "a limit that its files do not have would be in vain"
    )
    assert own.password_hash not in ("", whole.password_hash)
    assert (plain.expires_at - plain.created_at, own.expires_at - own.created_at) == (
        timedelta(seconds=600),
        timedelta(seconds=60),
    )


async def test_the_same_key_with_another_password_is_another_file(async_client: AsyncClient) -> None:
    ids = []
    for password in ("one", "one", "two"):
        body = {"filename": "a", "size": 1, "password": password}
        answer = await call(async_client, "post", INITIATE, body, **{"Idempotency-Key": "a key"})
        ids.append(answer["file_id"])
    assert ids[0] == ids[1] != ids[2]


async def test_nothing_that_is_kept_of_a_request_lets_its_password_be_guessed_fast(
    async_client: AsyncClient, settings: Any
) -> None:
    body = {"filename": "a", "size": 1, "password": "guess me"}
    digests = []
    for key in ("one key of the server", "another key of the server"):
        settings.SECRET_KEY = key * 3
        await call(AsyncClient(), "post", INITIATE, body, **{"Idempotency-Key": "a key"})
        digests.append((await StoredFile.objects.order_by("-created_at").afirst()).idempotency_digest)
    assert digests[0] != digests[1], "whoever has the database lacks the key"


async def test_a_person_sets_so_many_passwords_a_minute(async_client: AsyncClient, settings: Any) -> None:
    settings.RATE_INITIATE_PER_MINUTE = 600
    files = [{"filename": "a", "size": 1, "password": f"{number}"} for number in range(3)]
    for _ in range(20):
        await call(async_client, "post", INITIATE_BATCH, {"files": files})
    refused = await call(async_client, "post", INITIATE, files[0], 429)
    assert refused["code"] == "rate_limited"
    await call(async_client, "post", INITIATE, {"filename": "a", "size": 1})


# --- how long ---


async def complete(file: StoredFile) -> StoredFile:
    await StoredFile.objects.filter(pk=file.pk).aupdate(status=Status.VERIFYING, epoch=1)
    assert await database_sync_to_async(services.complete)(file, Digests("a" * 64, 7), {}, epoch=1)
    return await of(file)


@pytest.mark.parametrize(
    ("own", "of_batch", "days", "kept"),
    [
        (None, None, None, None),
        (None, None, 1, timedelta(days=1)),
        (60, None, None, timedelta(seconds=60)),
        (None, 120, None, timedelta(seconds=120)),
        (60, 120, None, timedelta(seconds=60)),
        (2 * 86_400, None, 1, timedelta(days=1)),
    ],
)
async def test_a_file_is_kept_as_long_as_its_sender_wished_and_never_longer_than_the_operator_keeps_files(
    settings: Any, own: int | None, of_batch: int | None, days: int | None, kept: timedelta | None
) -> None:
    settings.FILE_RETENTION_DAYS = days
    file = await whole_file(batch=await batch(expires_in=of_batch), expires_in=own)
    file = await complete(file)
    assert (file.expires_at and file.expires_at - file.completed_at) == kept


async def test_a_wish_that_came_during_the_upload_counts(async_client: AsyncClient) -> None:
    file = await whole_file()
    await StoredFile.objects.filter(pk=file.pk).aupdate(expires_in=60)
    done = await complete(file)
    assert done.expires_at == done.completed_at + timedelta(seconds=60)


async def test_another_life_counts_from_completion_on(async_client: AsyncClient) -> None:
    file = await whole_file()
    answer = await change(file, expires_in=3600)
    assert (await of(file)).expires_at == file.completed_at + timedelta(hours=1)
    assert answer["expires_at"] == (file.completed_at + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (await change(file, expires_in=None))["expires_at"] is None


async def test_another_life_of_a_batch_is_that_of_its_files_which_have_none_of_their_own() -> None:
    whole = await batch()
    plain = await whole_file(batch=whole, position=0)
    own = await whole_file(batch=whole, position=1, expires_in=60, expires_at=timezone.now() + timedelta(seconds=60))
    over = await whole_file(batch=whole, position=2, expires_at=timezone.now() - timedelta(seconds=1))
    await change_batch(whole, expires_in=3600)
    assert (await of(plain)).expires_at == plain.completed_at + timedelta(hours=1)
    assert (await of(own)).expires_at == own.expires_at
    assert (await of(over)).expires_at == over.expires_at, "what is over stays so"


async def test_what_is_over_cannot_be_changed() -> None:
    over = await whole_file(expires_at=timezone.now() - timedelta(seconds=1))
    assert (await change(over, 410, expires_in=86_400))["code"] == "gone"
    assert (await change(await whole_file(status=Status.CANCELLED), 410, max_downloads=1))["code"] == "gone"
    whole = await batch()
    await whole_file(batch=whole, expires_at=timezone.now() - timedelta(seconds=1))
    assert (await change_batch(whole, 410, expires_in=86_400))["code"] == "gone"


async def test_a_life_that_would_be_over_already_is_refused_and_loses_nothing() -> None:
    yesterday = timezone.now() - timedelta(days=1)
    whole = await batch()
    file = await whole_file(batch=whole, completed_at=yesterday)
    told = await change(file, 422, expires_in=3600)
    assert (told["code"], told["errors"][0]["field"]) == ("invalid_request", "expires_in")
    assert (await change_batch(whole, 422, expires_in=3600))["code"] == "invalid_request"
    assert (await of(file)).expires_at is None
    assert (await change(file, expires_in=2 * 86_400))["expires_at"] is not None


# --- later ---


async def test_what_is_not_named_stays_and_null_takes_away() -> None:
    file = await whole_file()
    given = await change(file, password=SECRET, max_downloads=5, revoked=True)
    assert given["controls"] == {
        "password": True, "max_downloads": 5, "downloads": 0, "expires_in": None, "revoked": True,
    }  # fmt: skip
    assert (await change(file))["controls"] == given["controls"]
    assert (await change(file, revoked=False))["controls"] == given["controls"] | {"revoked": False}
    assert (await change(file, password=None, max_downloads=None))["controls"] == {
        "password": False, "max_downloads": None, "downloads": 0, "expires_in": None, "revoked": False,
    }  # fmt: skip
    codes = [event.code async for event in FileEvent.objects.filter(file=file)]
    assert codes == ["revoked", "restored", "controls_changed"]


async def test_what_was_withdrawn_can_be_given_back(async_client: AsyncClient) -> None:
    file = await whole_file()
    await change(file, revoked=True)
    assert (await got(async_client, file))[0] == 410
    assert (await meta(async_client, file, 410))["detail"] == "The sender has withdrawn this link."
    assert (await meta(async_client, file, **OWN))["filename"] == file.filename
    await change(file, revoked=False)
    assert (await got(async_client, file))[0] == 200


async def test_a_higher_limit_lets_more_people_have_it(async_client: AsyncClient) -> None:
    file = await whole_file(max_downloads=1)
    assert [(await got(visitor(f"{number}"), file))[0] for number in range(2)] == [200, 410]
    await change(file, max_downloads=2)
    assert [(await got(visitor(f"{number}"), file))[0] for number in range(2, 4)] == [200, 410]


async def test_nobody_else_changes_anything_and_a_cookie_alone_does_not(async_client: AsyncClient) -> None:
    whole = await batch()
    file = await whole_file(batch=whole)
    for path in (f"{API}/files/{file.pk}", f"{API}/batch/{whole.pk}"):
        await call(AsyncClient(), "patch", path, {"revoked": True}, 401)
        await call(AsyncClient(), "patch", path, {"revoked": True}, 401, Authorization="Bearer x")
        await call(visitor("a stranger"), "patch", path, {"revoked": True}, 403)
        at_home = visitor(SENDER)
        at_home.handler.enforce_csrf_checks = True
        await call(at_home, "patch", path, {"revoked": True}, 403)
        await call(async_client, "patch", path, {"revoked": True}, 403, **OWN, Origin="https://evil.example")
    assert not (await of(file)).revoked_at


@pytest.mark.parametrize(
    "body",
    [
        {"password": ""},
        {"password": " \u00a0"},
        {"password": 5},
        {"password": "half a pair: \ud800"},
        {"max_downloads": 0},
        {"max_downloads": 1.5},
        {"max_downloads": True},
        {"expires_in": 59},
        {"expires_in": 3650 * 86_400 + 1},
        {"revoked": None},
        {"revoked": "true"},
    ],
)
async def test_a_change_that_makes_no_sense_is_named(body: dict[str, Any]) -> None:
    refused = await change(await whole_file(), 422, **body)
    assert [fault["field"] for fault in refused["errors"]] == list(body)


# --- what a stranger learns ---


async def test_of_a_locked_file_a_stranger_learns_four_things(async_client: AsyncClient) -> None:
    file = await whole_file(password_hash=hashed(), expires_at=timezone.now() + timedelta(days=1))
    answer = await async_client.get(f"{API}/files/{file.pk}/meta")
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() == {
        "file_id": str(file.pk),
        "status": "completed",
        "password_required": True,
        "expires_at": file.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    page = (await async_client.get(f"/f/{file.pk}")).content.decode()
    assert file.filename not in page
    assert file.sha256 not in page
    assert 'type="password"' in page


async def test_unlocking_shows_everything_and_gives_a_token_to_programs(async_client: AsyncClient) -> None:
    file = await whole_file(password_hash=hashed())
    told = await unlock(async_client, f"files/{file.pk}")
    [cookie] = [cookie for name, cookie in async_client.cookies.items() if "unlocked" in name]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    facts = await meta(async_client, file)
    assert (facts["filename"], facts["password_required"]) == (file.filename, True)
    program = AsyncClient()
    assert (await meta(program, file, Authorization=f"Bearer {told['token']}"))["filename"] == file.filename
    assert (await got(program, file, Authorization=f"Bearer {told['token']}"))[0] == 200
    assert file.filename in (await async_client.get(f"/f/{file.pk}")).content.decode()
    await change(file, password=SECRET)
    assert "filename" not in await meta(async_client, file), "the same password, but set anew"


async def test_a_password_typed_in_another_form_of_the_same_letters_is_the_same(async_client: AsyncClient) -> None:
    announced = await call(async_client, "post", INITIATE, {"filename": "a", "size": 1, "password": "cafe\u0301"})
    await unlock(async_client, f"files/{announced['file_id']}", "caf\u00e9")


async def test_a_wrong_password_opens_nothing(async_client: AsyncClient) -> None:
    file = await whole_file(password_hash=hashed())
    refused = await unlock(async_client, f"files/{file.pk}", "wrong", 401)
    assert (refused["code"], refused["password_required"]) == ("unauthorized", True)
    assert not [name for name in async_client.cookies if "unlocked" in name]
    for body in ({}, {"password": ""}, {"password": None}, {"password": "x" * 257}):
        await call(async_client, "post", f"{API}/files/{file.pk}/unlock", body, 422)
    headers = {"Origin": "https://evil.example"}
    await call(async_client, "post", f"{API}/files/{file.pk}/unlock", {"password": SECRET}, 403, **headers)


async def test_what_has_no_password_or_is_gone_is_not_unlocked(async_client: AsyncClient) -> None:
    assert (await unlock(async_client, f"files/{(await whole_file()).pk}", status=409))["code"] == "wrong_state"
    whole = await batch()
    await whole_file(batch=whole)
    assert (await unlock(async_client, f"batch/{whole.pk}", status=409))["code"] == "wrong_state"
    for fields in ({"status": Status.DELETED}, {"revoked_at": timezone.now()}, {"max_downloads": 1, "downloads": 1}):
        file = await whole_file(password_hash=hashed(), **fields)
        assert (await unlock(async_client, f"files/{file.pk}", status=410))["code"] == "gone"


async def guess(what: str, person: AsyncClient, password: str = "guess") -> int:
    answer = await person.post(f"{API}/{what}/unlock", {"password": password}, content_type="application/json")
    assert (answer.status_code == 429) == ("Retry-After" in answer)
    return answer.status_code


async def people(number: int) -> list[AsyncClient]:
    """So many persons, each with an account."""
    found = [AsyncClient() for _ in range(number)]
    for person in found:
        await person.aforce_login(await User.objects.acreate(username=uuid4().hex))
    return found


async def test_a_person_guesses_so_often_whichever_file_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "GUESSES_PER_MINUTE", 3)
    lock, another = hashed(), hashed("another")
    file, other = await whole_file(password_hash=lock), await whole_file(password_hash=another)
    guesser, somebody = await people(2)
    assert [await guess(f"files/{file.pk}", guesser) for _ in range(4)] == [401] * 3 + [429]
    assert await guess(f"files/{other.pk}", guesser) == 429
    assert await guess(f"files/{file.pk}", somebody) == 401


async def test_a_person_guesses_at_one_lock_so_often_in_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "GUESSES_AT_ONE_PER_DAY", 3)
    whole = await batch(password_hash=hashed())
    file, own = (
        await whole_file(batch=whole, position=0),
        await whole_file(batch=whole, position=1, password_hash=hashed("its own")),
    )
    guesser, somebody = await people(2)
    at_one_lock = [f"files/{file.pk}", f"batch/{whole.pk}", f"files/{file.pk}"]
    assert [await guess(what, guesser) for what in at_one_lock] == [401] * 3
    answer = await guesser.post(f"{API}/batch/{whole.pk}/unlock", {"password": "x"}, content_type="application/json")
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 23 * 3600
    assert await guess(f"files/{own.pk}", guesser) == 401, "another lock"
    assert await guess(f"files/{file.pk}", somebody, SECRET) == 200


async def test_whoever_knows_the_password_gives_it_as_often_as_they_like(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUESSES_PER_MINUTE", "GUESSES_AT_ONE_PER_DAY", "GUESSES_AT_ONE_PER_MINUTE"):
        monkeypatch.setattr(doors, name, 2)
    file = await whole_file(password_hash=hashed())
    [person] = await people(1)
    assert await guess(f"files/{file.pk}", person) == 401
    assert [await guess(f"files/{file.pk}", person, SECRET) for _ in range(4)] == [200] * 4
    assert await guess(f"files/{file.pk}", person) == 401
    assert await guess(f"files/{file.pk}", person, SECRET) == 429


async def test_a_crowd_that_guesses_keeps_out_nobody_but_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "GUESSES_AT_ONE_PER_MINUTE", 2)
    lock = hashed()
    file, same_lock = await whole_file(password_hash=lock), await whole_file(password_hash=lock)
    other = await whole_file(password_hash=hashed("another"))
    *crowd, late, honest = await people(4)
    assert [await guess(f"files/{file.pk}", person) for person in crowd] == [401, 401]
    assert [await guess(f"files/{file.pk}", person) for person in crowd] == [429, 429]
    assert await guess(f"files/{same_lock.pk}", crowd[0]) == 429, "many files of a batch have one lock"
    assert [await guess(f"files/{other.pk}", person) for person in crowd] == [401, 401]
    assert [await guess(f"files/{file.pk}", honest, SECRET) for _ in range(3)] == [200] * 3
    assert [await guess(f"files/{file.pk}", late, password) for password in ("x", SECRET)] == [401, 429]
    assert await guess(f"files/{file.pk}", crowd[0]) == 429, "a right one makes no room for wrong ones"


async def test_a_guess_that_was_never_tried_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "GUESSES_AT_ONE_PER_DAY", 1)
    file = await whole_file(password_hash=hashed())
    [person] = await people(1)
    with monkeypatch.context() as crowded:
        crowded.setattr(passwords, "_waiters", Waiters(most=0))
        assert [await guess(f"files/{file.pk}", person, SECRET) for _ in range(2)] == [429, 429]
    assert await guess(f"files/{file.pk}", person, SECRET) == 200


async def test_a_browser_keeps_no_more_unlockings_than_servers_take_in_a_header(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "GUESSES_PER_MINUTE", 1000)
    monkeypatch.setattr(unlocking, "MOST_COOKIES", 3)
    lock = hashed()
    whole = await batch(password_hash=lock)

    def kept() -> set[str]:
        return {name for name, cookie in async_client.cookies.items() if "unlocked" in name and cookie.value}

    def named(*subjects: Batch | StoredFile) -> set[str]:
        return {unlocking.COOKIE.format(subject.pk.hex) for subject in subjects}

    now = time.time()

    async def unlock_later(subject: Batch | StoredFile) -> None:
        nonlocal now
        now += 1
        with monkeypatch.context() as later:
            later.setattr("django.core.signing.time.time", lambda: now)
            await unlock(async_client, f"{'batch' if isinstance(subject, Batch) else 'files'}/{subject.pk}")

    files = [await whole_file(password_hash=lock) for _ in range(4)]
    for file in reversed(files):  # the oldest goes, whatever its name
        await unlock_later(file)
    assert kept() == named(*files[:3])
    await unlock_later(files[2])
    assert kept() == named(*files[:3])
    async_client.cookies[unlocking.COOKIE.format(uuid4().hex)] = "forged"
    await unlock_later(files[3])
    assert kept() == named(files[0], files[2], files[3])
    inside = [await whole_file(password_hash=lock, batch=whole, position=position) for position in range(3)]
    await unlock_later(whole)
    for file in inside:
        await unlock_later(file)
    assert kept() == named(whole, *inside[1:]), "without that of the batch nobody would come to its files"


async def test_no_crowd_keeps_the_machine_busy_with_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_waiters", Waiters(most=2))
    file, request = await whole_file(password_hash=hashed()), HttpRequest()
    guesses = [passwords.is_right(request, "x", file.password_hash, f"address:192.0.2.{n}") for n in range(5)]
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert answers.count(False) == 2
    assert [type(error).__name__ for error in answers if error is not False] == ["RateLimited"] * 3


# --- batches ---


async def test_of_a_locked_batch_a_stranger_learns_four_things(async_client: AsyncClient) -> None:
    whole = await batch(password_hash=hashed(), title="A secret title")
    file = await whole_file(batch=whole, filename="secret.txt")
    locked = {
        "batch_id": str(whole.pk),
        "status": "completed",
        "password_required": True,
        "expires_at": None,
    }
    answer = await async_client.get(f"{API}/batch/{whole.pk}")
    assert (answer.json(), answer["Cache-Control"]) == (locked, "no-store")
    assert set(await meta(async_client, file)) == {"file_id", "status", "password_required", "expires_at"}
    page = (await async_client.get(f"/b/{whole.pk}")).content.decode()
    assert "A secret title" not in page
    assert "secret.txt" not in page
    await unlock(async_client, f"batch/{whole.pk}")
    facts = await call(async_client, "get", f"{API}/batch/{whole.pk}")
    assert (facts["title"], facts["password_required"]) == ("A secret title", True)
    assert [file["filename"] for file in facts["files"]] == ["secret.txt"]
    assert (await got(async_client, file))[0] == 200
    assert "secret.txt" in (await async_client.get(f"/b/{whole.pk}")).content.decode()
    assert await call(AsyncClient(), "get", f"{API}/batch/{whole.pk}") == locked


async def test_a_file_of_a_locked_batch_can_be_unlocked_alone_and_opens_no_other(async_client: AsyncClient) -> None:
    whole = await batch(password_hash=hashed())
    one, other = await whole_file(batch=whole, position=0), await whole_file(batch=whole, position=1)
    await unlock(async_client, f"files/{one.pk}")
    assert [(await got(async_client, file))[0] for file in (one, other)] == [200, 401]
    assert "title" not in await call(async_client, "get", f"{API}/batch/{whole.pk}")


async def test_answers_for_strangers_and_for_those_who_unlocked_never_mix() -> None:
    """They are made once for all who ask for the same; here all kinds of askers come at the same moment."""
    whole = await batch(password_hash=hashed())
    await whole_file(batch=whole, position=0, filename="plain.txt", content_type="", path="plain")
    own = await whole_file(
        batch=whole,
        position=1,
        filename="own.txt",
        content_type="x/own",
        path="own folder",
        password_hash=hashed("own"),
    )
    stranger, opened, both, owner = AsyncClient(), AsyncClient(), AsyncClient(), AsyncClient()
    for client in (opened, both):
        await unlock(client, f"batch/{whole.pk}")
    await unlock(both, f"files/{own.pk}", "own")

    async def seen(client: AsyncClient) -> str:
        headers = OWN if client is owner else {}
        return (await client.get(f"{API}/batch/{whole.pk}", headers=headers)).content.decode()

    for _ in range(3):
        answers = await asyncio.gather(*(seen(client) for client in (stranger, opened, both, owner) * 3))
        for number, text in enumerate(answers):
            assert ("plain.txt" in text) == (number % 4 in (1, 2, 3))
            for secret in ("own.txt", "x/own", "own folder"):
                assert (secret in text) == (number % 4 in (2, 3)), (number % 4, secret)


async def test_a_file_with_its_own_password_tells_an_open_batch_no_more_than_four_things(
    async_client: AsyncClient,
) -> None:
    whole = await batch()
    await whole_file(batch=whole, position=0, filename="plain.txt")
    own = await whole_file(b"x" * 777, batch=whole, position=1, filename="own.txt", password_hash=hashed())
    facts = await call(async_client, "get", f"{API}/batch/{whole.pk}")
    assert facts["files"][1] == {
        "file_id": str(own.pk), "status": "completed", "password_required": True, "expires_at": None,
    }  # fmt: skip
    assert facts["total_size"] == 10, "not even its size, by what the others leave"
    page = (await async_client.get(f"/b/{whole.pk}")).content.decode()
    assert "own.txt" not in page
    assert "A file with a password of its own" in page
    assert "777 B" not in page


async def test_in_a_batch_a_withdrawn_file_shows_nothing_and_a_used_up_one_says_so(async_client: AsyncClient) -> None:
    whole = await batch()
    await whole_file(batch=whole, position=2, filename="here.txt")
    await whole_file(batch=whole, position=0, filename="withdrawn.txt", revoked_at=timezone.now())
    await whole_file(batch=whole, position=1, filename="used.txt", max_downloads=1, downloads=1)
    facts = await call(async_client, "get", f"{API}/batch/{whole.pk}")
    assert [(file["filename"], file["size"], file["status"]) for file in facts["files"]] == [
        ("", 0, "revoked"),
        ("used.txt", 10, "used_up"),
        ("here.txt", 10, "completed"),
    ]
    page = await async_client.get(f"/b/{whole.pk}")
    assert page.status_code == 200
    assert "withdrawn.txt" not in page.content.decode()
    assert "Downloaded as often as allowed" in page.content.decode()


async def test_a_batch_of_which_nothing_can_be_had_any_more_says_why(async_client: AsyncClient) -> None:
    for fields, why in (
        ({"revoked_at": timezone.now()}, "The sender has withdrawn this link."),
        ({"max_downloads": 1, "downloads": 1}, "This was downloaded as often as its sender allowed."),
    ):
        whole = await batch()
        for position in range(2):
            await whole_file(batch=whole, position=position, **fields)
        assert (await call(async_client, "get", f"{API}/batch/{whole.pk}", status=410))["detail"] == why
        page = await async_client.get(f"/b/{whole.pk}")
        assert (page.status_code, why in page.content.decode()) == (410, True)


async def test_the_limit_of_a_batch_holds_for_its_zip_and_for_each_file_without_one_of_its_own(
    async_client: AsyncClient,
) -> None:
    whole = await batch()
    plain = await whole_file(batch=whole, position=0)
    own = await whole_file(batch=whole, position=1, max_downloads=5)
    await change_batch(whole, max_downloads=1)
    assert [(await of(file)).max_downloads for file in (plain, own)] == [1, 5]
    assert len(await zip_of(async_client, whole)) == 2
    await zip_of(async_client, whole, 410)
    assert [(await got(async_client, file))[0] for file in (plain, own)] == [410, 200]
    assert (await call(async_client, "get", f"{API}/batch/{whole.pk}"))["files"][1]["status"] == "completed"
    await change_batch(whole, max_downloads=None)
    assert [(await of(file)).max_downloads for file in (plain, own)] == [None, 5]


async def test_a_withdrawn_batch_is_gone_and_its_files_are(async_client: AsyncClient) -> None:
    whole = await batch()
    file = await whole_file(batch=whole)
    await change_batch(whole, revoked=True)
    assert (await call(async_client, "get", f"{API}/batch/{whole.pk}", status=410))["code"] == "gone"
    assert (await meta(async_client, file, 410))["code"] == "gone"
    for path in (f"/b/{whole.pk}", f"/f/{file.pk}"):
        page = await async_client.get(path)
        assert page.status_code == 410
        assert "The sender has withdrawn this link." in page.content.decode()
        assert file.filename not in page.content.decode()
    assert (await call(AsyncClient(), "get", f"{API}/batch/{whole.pk}", **OWN))["files"][0]["filename"] == file.filename


async def test_the_sender_finds_the_controls_in_the_list_of_their_files(async_client: AsyncClient) -> None:
    file = await whole_file(batch=await batch(password_hash=hashed(), max_downloads=4), max_downloads=2, downloads=1)
    [item] = (await call(visitor(SENDER), "get", f"{API}/files"))["items"]
    assert item["password_required"] is True
    assert item["controls"] == {
        "password": False, "max_downloads": 2, "downloads": 1, "expires_in": None, "revoked": False,
    }  # fmt: skip
    assert (item["batch_controls"]["password"], item["batch_controls"]["max_downloads"]) == (True, 4)
    assert item["completed_at"] == file.completed_at.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_no_secret_is_taken_from_an_address(async_client: AsyncClient) -> None:
    file = await whole_file(password_hash=hashed())
    token = (await unlock(AsyncClient(), f"files/{file.pk}"))["token"]
    for query in (f"token={token}", f"password={SECRET}", f"access_token={token}", f"Authorization=Bearer+{token}"):
        assert (await async_client.get(f"{links.download_path(file.pk)}?{query}")).status_code == 401


# --- ZIPs and previews ---


async def zip_of(client: AsyncClient, whole: Batch, status: int = 200, **headers: str) -> list[str]:
    """The names in the batch's ZIP, without its list of digests; nothing where it is refused."""
    answer = await client.get(f"{API}/batch/download-zip/{whole.pk}", headers=headers)
    assert answer.status_code == status, answer
    if not answer.streaming:
        return []
    data = b"".join([block async for block in answer.streaming_content])
    return sorted(set(ZipFile(BytesIO(data)).namelist()) - {"SHA256SUMS.txt"})


async def downloads_of(whole: Batch) -> tuple[int, list[int]]:
    whole = await Batch.objects.aget(pk=whole.pk)
    return whole.downloads, [file.downloads async for file in whole.files.order_by("position")]


async def test_a_zip_has_what_whoever_asks_may_have(async_client: AsyncClient) -> None:
    whole = await batch(password_hash=hashed())
    await whole_file(batch=whole, position=0, filename="plain")
    own = await whole_file(batch=whole, position=1, filename="own", password_hash=hashed("own"))
    await whole_file(batch=whole, position=2, filename="withdrawn", revoked_at=timezone.now())
    await whole_file(batch=whole, position=3, filename="used", max_downloads=1, downloads=1)
    assert await zip_of(async_client, whole, 401) == []
    await unlock(async_client, f"batch/{whole.pk}")
    assert await zip_of(async_client, whole) == ["plain"]
    await unlock(async_client, f"files/{own.pk}", "own")
    assert await zip_of(async_client, whole) == ["own", "plain"]
    assert await downloads_of(whole) == (2, [2, 1, 0, 1])
    assert await zip_of(AsyncClient(), whole, **OWN) == ["own", "plain", "used", "withdrawn"]
    assert await downloads_of(whole) == (2, [2, 1, 0, 1])
    navigation = {"sec-fetch-mode": "navigate"}
    answer = await AsyncClient().get(f"{API}/batch/download-zip/{whole.pk}", headers=navigation)
    assert (answer.status_code, answer["Location"]) == (302, links.batch_path(whole.pk))


async def test_a_zip_counts_for_the_batch_and_for_each_file_and_can_be_resumed(async_client: AsyncClient) -> None:
    whole = await batch(max_downloads=1)
    await whole_file(batch=whole, position=0, filename="a", max_downloads=1)
    await whole_file(batch=whole, position=1, filename="b")
    path = f"{API}/batch/download-zip/{whole.pk}"
    size = int((await async_client.head(path))["Content-Length"])
    parts = []
    for wanted in ("bytes=0-99", "bytes=100-"):
        answer = await async_client.get(path, headers={"range": wanted})
        assert (answer.status_code, answer["Content-Range"].rpartition("/")[2]) == (206, str(size))
        parts.append(b"".join([block async for block in answer.streaming_content]))
    with ZipFile(BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        assert {"a", "b"} < set(archive.namelist())
    assert await downloads_of(whole) == (1, [1, 1])
    await zip_of(visitor("another"), whole, 410)
    assert await downloads_of(whole) == (1, [1, 1])


async def test_of_many_zips_at_once_no_more_are_given_than_one_of_the_files_allows() -> None:
    whole = await batch()
    await whole_file(batch=whole, position=0, filename="a", max_downloads=2)
    await asyncio.gather(*(try_zip(visitor(f"person {number}"), whole) for number in range(6)))
    assert await downloads_of(whole) == (2, [2])


async def try_zip(client: AsyncClient, whole: Batch) -> None:
    answer = await client.get(f"{API}/batch/download-zip/{whole.pk}")
    assert answer.status_code in (200, 410)
    if answer.streaming:
        async for _block in answer.streaming_content:
            pass


async def test_where_nothing_of_a_batch_may_be_had_the_zip_says_why(async_client: AsyncClient) -> None:
    for fields, status in (
        ({"password_hash": hashed()}, 401),
        ({"revoked_at": timezone.now()}, 410),
        ({"max_downloads": 1, "downloads": 1}, 410),
    ):
        whole = await batch()
        await whole_file(batch=whole, **fields)
        await zip_of(async_client, whole, status)


async def test_a_preview_is_behind_the_same_lock_and_no_way_around_a_limit(async_client: AsyncClient) -> None:
    text = {"filename": "a.txt", "content_type": "text/plain"}
    locked = await whole_file(b"words", password_hash=hashed(), **text)
    withdrawn = await whole_file(b"words", revoked_at=timezone.now(), **text)
    limited = await whole_file(b"words", max_downloads=5, **text)
    plain = await whole_file(b"words", **text)
    answers = [await async_client.get(links.preview_path(file.pk)) for file in (locked, withdrawn, limited, plain)]
    assert [answer.status_code for answer in answers] == [401, 410, 415, 200]
    assert [b"words" in answer.content for answer in answers] == [False, False, False, True]
    await unlock(async_client, f"files/{locked.pk}")
    assert (await async_client.get(links.preview_path(locked.pk))).content == b"words"


async def test_a_look_at_a_picture_is_no_download(async_client: AsyncClient) -> None:
    picture = await whole_file(b"\x89PNG\r\n\x1a\n" + bytes(100), filename="a.png", content_type="image/png")
    answer = await async_client.get(links.preview_path(picture.pk))
    assert (answer.status_code, answer.streaming) == (200, True)
    assert len(b"".join([block async for block in answer.streaming_content])) == 108
    assert (await of(picture)).downloads == 0


# --- the cleanup ---


async def test_what_was_withdrawn_or_used_up_is_kept_until_it_expires(async_client: AsyncClient) -> None:
    withdrawn, used_up = await whole_file(revoked_at=timezone.now()), await whole_file(max_downloads=1)
    assert (await got(async_client, used_up))[0] == 200
    await cleanup.clean(frozenset())
    await change(withdrawn, revoked=False)
    await change(used_up, max_downloads=2)
    assert [(await got(visitor("another"), file))[0] for file in (withdrawn, used_up)] == [200, 200]


async def test_what_nobody_can_resume_any_more_is_forgotten(async_client: AsyncClient) -> None:
    file = await whole_file()
    await got(async_client, file)
    assert (await cleanup.clean(frozenset())).forgotten_downloads == 0
    await CountedDownload.objects.aupdate(begun_at=timezone.now() - timedelta(hours=48))
    assert (await cleanup.clean(frozenset(), dry_run=True)).forgotten_downloads == 1
    assert (await cleanup.clean(frozenset())).forgotten_downloads == 1
    assert not await CountedDownload.objects.aexists()
    assert (await of(file)).downloads == 1
