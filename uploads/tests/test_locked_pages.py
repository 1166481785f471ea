"""The form that asks for a password, as a plain HTTP client sees it; in a browser: tests/browser/test_sharing.py."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client
from django.utils import timezone

from uploads import doors
from uploads.errors import RateLimited
from uploads.models import StoredFile
from uploads.rates import MemoryRateStore
from uploads.states import Status
from uploads.tests.test_batch_page import batch_of
from uploads.tests.test_pages import INLINE, stored_file

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "मानसून 26"


@pytest.fixture
def client() -> Client:
    return Client()


def locked_file(**fields: Any) -> StoredFile:
    return stored_file(**{"status": Status.COMPLETED, "password_hash": make_password(PASSWORD)} | fields)


def give(client: Client, page: str, password: str = PASSWORD) -> Any:
    return client.post(f"{page}/unlock", {"password": password})


def test_the_locked_page_of_a_file_tells_nothing_but_that_it_is_locked(client: Client) -> None:
    file = locked_file(filename="plan.pdf", size=1_234_567, content_type="application/pdf")
    answer = client.get(f"/f/{file.pk}")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "<title>Protected by a password · DirectDriveX</title>" in text
    for secret in ("plan", "1.18 MiB", "PDF", "ab" * 32, "/preview/", "download/stream", "<svg", "og:"):
        assert secret not in text
    assert 'autocomplete="off"' in text
    assert "no-store" in answer.headers["Cache-Control"]
    assert not INLINE.search(text)


def test_a_locked_file_that_is_no_longer_here_says_so_and_asks_for_no_password(client: Client) -> None:
    ago = timezone.now() - timedelta(seconds=1)
    for file, words in (
        (locked_file(expires_at=ago), "This file has expired."),
        (locked_file(status=Status.DELETED), "This file was deleted."),
    ):
        answer = client.get(f"/f/{file.pk}")
        text = answer.content.decode()
        assert answer.status_code == 410
        assert words in text
        assert "holiday" not in text
        assert "/unlock" not in text


def test_no_password_is_asked_for_or_tried_of_what_is_no_longer_here(client: Client) -> None:
    ago = timezone.now() - timedelta(seconds=1)
    for fields, words in (
        ({"status": Status.DELETED}, "All files of this batch were deleted."),
        ({"expires_at": ago}, "Nothing of this batch can be downloaded any more."),
    ):
        batch = batch_of(fields, title="Wedding")
        type(batch).objects.filter(pk=batch.pk).update(password_hash=make_password(PASSWORD))
        file = batch.files.get()
        answer = client.get(f"/b/{batch.pk}")
        text = answer.content.decode()
        assert (answer.status_code, words in text, "/unlock" in text, "Wedding" in text) == (410, True, False, False)
        zipped = client.get(f"/api/v1/batch/download-zip/{batch.pk}")
        assert (zipped.status_code, zipped.json()["detail"]) == (410, words)
        for what, page in (("batch", f"/b/{batch.pk}"), ("files", f"/f/{file.pk}")):
            for password in (PASSWORD, "wrong"):
                answer = give(client, page, password)
                assert (answer.status_code, answer.headers["Location"]) == (302, page)
            call = f"/api/v1/{what}/{page.rpartition('/')[2]}/unlock"
            answer = client.post(call, {"password": PASSWORD}, content_type="application/json")
            assert (answer.status_code, answer.json()["code"]) == (410, "gone")
            assert client.get(page).status_code == 410


def test_the_locked_page_of_a_batch_tells_neither_title_nor_files(client: Client) -> None:
    batch = batch_of({"filename": "plan.pdf", "path": "secret"}, title="Wedding")
    type(batch).objects.filter(pk=batch.pk).update(password_hash=make_password(PASSWORD))
    text = client.get(f"/b/{batch.pk}").content.decode()
    for secret in ("plan", "secret", "Wedding", "1 file", "download-zip", "<svg"):
        assert secret not in text
    answer = give(client, f"/b/{batch.pk}")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/b/{batch.pk}")
    assert "Wedding" in client.get(f"/b/{batch.pk}").content.decode()
    assert "plan.pdf" in client.get(f"/f/{batch.files.get().pk}").content.decode()


def test_a_file_with_a_password_of_its_own_is_locked_inside_of_an_open_batch(client: Client) -> None:
    batch = batch_of({"filename": "open.txt"}, {"filename": "plan.pdf", "password_hash": make_password(PASSWORD)})
    text = client.get(f"/b/{batch.pk}").content.decode()
    assert "A file with a password of its own" in text
    assert "plan" not in text
    assert "Download what is here as ZIP" in text
    assert "1 file · 1000 B</p>" in text
    assert text.count(">Download</a>") == 1
    own = batch.files.get(filename="plan.pdf").pk
    assert f'href="/f/{own}" aria-label="Unlock: A file with a password of its own">Unlock</a>' in text
    give(client, f"/f/{batch.files.get(filename='plan.pdf').pk}")
    text = client.get(f"/b/{batch.pk}").content.decode()
    assert "plan.pdf" in text
    assert "Download all as ZIP" in text
    assert "2 files · 1.95 KiB</p>" in text


def test_the_right_password_leads_to_the_page_and_is_kept_in_a_cookie_alone(client: Client) -> None:
    page = f"/f/{locked_file().pk}"
    answer = give(client, page)
    assert (answer.status_code, answer.headers["Location"]) == (302, page)
    [cookie] = [morsel for name, morsel in answer.cookies.items() if name.startswith("ddx_unlocked")]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert PASSWORD not in str(answer.cookies)
    assert "holiday.mp4" in client.get(page).content.decode()
    assert "holiday.mp4" not in Client().get(page).content.decode()


@pytest.mark.parametrize("password", ["wrong", "", " ", "x" * 257])
def test_a_wrong_password_is_said_in_words_beside_the_field(client: Client, password: str) -> None:
    answer = give(client, f"/f/{locked_file().pk}", password)
    text = answer.content.decode()
    assert answer.status_code == 401
    assert 'role="alert">That is not the password.</p>' in text
    assert 'autofocus autocomplete="off" aria-invalid="true" aria-describedby="password-error"' in text
    assert "holiday" not in text
    assert not password.strip() or password not in text


def test_who_guesses_too_often_is_told_when_to_try_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_guess: doors.Guess) -> None:
        raise RateLimited(retry_after=42)

    monkeypatch.setattr(doors.Guess, "count", refuse)
    answer = give(client, f"/f/{locked_file().pk}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "42")
    assert "Too many passwords were tried. Please try again in 42 seconds." in answer.content.decode()


def test_all_networks_of_a_household_guess_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "rates", MemoryRateStore())
    monkeypatch.setattr(doors, "GUESSES_PER_MINUTE", 2)
    page = f"/f/{locked_file().pk}"
    household = [Client(REMOTE_ADDR=f"2001:db8:1:2{number:02x}::1") for number in range(3)]
    assert [give(person, page, "wrong").status_code for person in household] == [401, 401, 429]
    assert give(Client(REMOTE_ADDR="2001:db8:1:300::1"), page, "wrong").status_code == 401


def test_another_sites_form_cannot_unlock_anything() -> None:
    answer = give(Client(enforce_csrf_checks=True), f"/f/{locked_file().pk}")
    assert answer.status_code == 403


def test_what_is_not_locked_or_not_there_leads_to_its_page(client: Client) -> None:
    locked = locked_file()
    assert client.get(f"/f/{locked.pk}/unlock").headers["Location"] == f"/f/{locked.pk}"
    for file in (stored_file(status=Status.COMPLETED), locked_file(revoked_at=timezone.now())):
        answer = give(client, f"/f/{file.pk}")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/f/{file.pk}")
    assert give(client, "/b/6f0b1f5e-0000-4000-8000-000000000000").status_code == 404
    text = client.get(f"/f/{file.pk}").content.decode()
    assert "The sender has withdrawn this link." in text
    assert "holiday" not in text


def test_a_preview_obeys_locks_and_limits(client: Client) -> None:
    locked, counted, revoked = locked_file(), stored_file(status=Status.COMPLETED, max_downloads=2), locked_file()
    StoredFile.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())
    for file, status in ((locked, 401), (counted, 415), (revoked, 410)):
        answer = client.get(f"/preview/{file.pk}")
        assert answer.status_code == status
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    text = client.get(f"/f/{counted.pk}").content.decode()
    assert "It can be downloaded 2 more times." in text
    assert "/preview/" not in text


def test_a_page_says_why_it_shows_nothing_of_what_is_counted(client: Client) -> None:
    why = "There is no preview, because the number of downloads is limited."
    for fields, is_said in (
        ({"max_downloads": 2}, True),
        ({}, False),
        ({"max_downloads": 2, "filename": "a.iso", "content_type": ""}, False),  # nothing would be shown of it anyway
        ({"max_downloads": 2, "status": Status.PENDING}, False),
    ):
        file = stored_file(**{"status": Status.COMPLETED} | fields)
        assert (why in client.get(f"/f/{file.pk}").content.decode()) is is_said
