"""The pages as a plain HTTP client sees them; what they do in a browser: tests/browser."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone, translation

from uploads.models import StoredFile
from uploads.qr import qr_code
from uploads.shared import kind_in_words, readable_name
from uploads.states import Status

pytestmark = pytest.mark.django_db(transaction=True)  # what a page is of is read through the pool of connections

INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\son\w+\s*=|\sstyle\s*=|javascript:", re.IGNORECASE)


@pytest.fixture
def client() -> Client:
    return Client()


def stored_file(**fields: Any) -> StoredFile:
    now = timezone.now()
    values = {
        "filename": "holiday.mp4",
        "size": 1000,
        "content_type": "video/mp4",
        "person": "address:192.0.2.7",
        "visitor": "visitor-secret",
        "token_digest": "0" * 64,
        "quota_day": now.date(),
        "created_at": now,
        "upload_expires_at": now + timedelta(hours=24),
        "sha256": "ab" * 32,
    }
    return StoredFile.objects.create(**values | fields)


def page_of(client: Client, file: StoredFile, status: int = 200) -> str:
    answer = client.get(f"/f/{file.pk}")
    assert answer.status_code == status
    return answer.content.decode()


def test_the_upload_page_has_a_tray_a_list_and_a_language_switch(client: Client) -> None:
    text = client.get("/").content.decode()
    for part in ("<ddx-dropzone>", "<ddx-upload-list", "<ddx-my-files", '<input type="file" multiple', 'value="hi"'):
        assert part in text
    assert "csrfmiddlewaretoken" in text


@pytest.mark.parametrize("status", list(Status))
def test_no_page_has_anything_inline_that_the_policy_would_refuse(client: Client, status: Status) -> None:
    file = stored_file(status=status)
    for address in ("/", f"/f/{file.pk}", "/no/such/page"):
        text = client.get(address).content.decode()
        assert not INLINE.search(text), INLINE.search(text)


def test_the_pages_are_sent_with_a_policy_that_forbids_inline_scripts(client: Client) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "script-src 'self' 'wasm-unsafe-eval'" in policy
    assert "unsafe-inline" not in policy


def test_every_static_file_that_a_page_names_is_there(client: Client) -> None:
    file = stored_file(status=Status.COMPLETED)
    text = client.get("/").content.decode() + page_of(client, file)
    names = set(re.findall(r'/static/([^"]+)"', text))
    assert {"uploads/js/upload-page.js", "uploads/js/share-page.js", "uploads/css/pages.css"} <= names
    assert [name for name in names if finders.find(name) is None] == []


def test_the_look_of_a_field_is_written_once() -> None:
    styles = [Path(str(finders.find(f"uploads/css/{name}.css"))).read_text() for name in ("pages", "accounts")]
    rules = [rule for style in styles for rule in re.findall(r"([^{}]*)\{([^{}]*)\}", style)]
    assert len([selector for selector, rule in rules if "input" in selector and "border: " in rule]) == 1


def test_every_import_of_a_module_leads_to_a_file() -> None:
    checked = set()
    waiting = [f"uploads/js/{name}.js" for name in ("upload-page", "share-page", "batch-page", "digest-worker")]
    while waiting:
        name = waiting.pop()
        path = finders.find(name)
        assert path, f"{name} is missing"
        checked.add(name)
        with open(path) as module:
            for target in re.findall(r'^(?:import|export)\b[^;]*?"(\.[^"]+)";', module.read(), re.MULTILINE):
                parts = name.split("/")[:-1]
                for step in target.split("/"):
                    if step == "..":
                        parts.pop()
                    elif step != ".":
                        parts.append(step)
                if "/".join(parts) not in checked:
                    waiting.append("/".join(parts))
    assert "uploads/js/connection.js" in checked


def test_a_complete_file_can_be_downloaded_and_checked(client: Client) -> None:
    file = stored_file(status=Status.COMPLETED, size=3_624_892_618)
    text = page_of(client, file)
    assert f'href="/api/v1/download/stream/{file.pk}"' in text
    assert "holiday.mp4" in text
    assert "Video · 3.38 GiB" in text
    assert "ab" * 32 in text
    assert "sha256sum FILE" in text
    assert "Get-FileHash FILE" in text


def test_the_link_stands_there_for_the_camera_of_another_device(client: Client, settings: Any) -> None:
    settings.PUBLIC_URL = "https://files.example.org"
    file = stored_file(status=Status.COMPLETED)
    text = page_of(client, file)
    [code] = re.findall(r"<svg viewBox.*?</svg>", text)
    assert code == qr_code(f"https://files.example.org/f/{file.pk}")
    assert not INLINE.search(code)
    assert "<svg" not in page_of(client, stored_file(status=Status.EXPIRED), 410)


def test_a_file_with_an_end_says_until_when(client: Client) -> None:
    file = stored_file(status=Status.COMPLETED, expires_at=timezone.now() + timedelta(days=3))
    assert "Can be downloaded until" in page_of(client, file)
    assert "Can be downloaded until" not in page_of(client, stored_file(status=Status.COMPLETED))


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (Status.PENDING, 200, "still on its way"),
        (Status.VERIFYING, 200, "being verified"),
        (Status.FAILED, 410, "failed"),
        (Status.CANCELLED, 410, "cancelled"),
        (Status.EXPIRED, 410, "can no longer be downloaded"),
        (Status.DELETED, 410, "This file was deleted"),
    ],
)
def test_a_file_that_cannot_be_downloaded_says_why(client: Client, status: Status, code: int, words: str) -> None:
    text = page_of(client, stored_file(status=status), code)
    assert words in text
    assert "/api/v1/download/stream/" not in text


def test_a_file_on_its_way_shows_how_much_has_arrived(client: Client) -> None:
    text = page_of(client, stored_file(stored_bytes=420))
    assert '<progress max="100" value="42"' in text
    assert 'data-live="true"' in text


def test_an_empty_file_on_its_way_breaks_nothing(client: Client) -> None:
    assert '<progress max="100" value="100"' in page_of(client, stored_file(size=0))


def test_a_file_whose_time_is_over_is_expired_before_the_cleanup_comes(client: Client) -> None:
    ago = timezone.now() - timedelta(seconds=1)
    for file in (stored_file(status=Status.COMPLETED, expires_at=ago), stored_file(upload_expires_at=ago)):
        assert "can no longer be downloaded" in page_of(client, file, 410)


def test_a_deleted_file_gives_away_nothing_of_itself(client: Client) -> None:
    text = page_of(client, stored_file(status=Status.DELETED), 410)
    assert "holiday" not in text
    assert "ab" * 32 not in text


def test_no_page_says_who_sent_a_file(client: Client) -> None:
    for status in Status:
        text = client.get(f"/f/{stored_file(status=status).pk}").content.decode()
        assert "192.0.2.7" not in text
        assert "visitor-secret" not in text


def test_a_hostile_name_is_only_text(client: Client) -> None:
    name = "<img src=x onerror=alert(1)>\"'&.pdf"
    text = page_of(client, stored_file(status=Status.COMPLETED, filename=name))
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;.pdf" in text


def test_a_name_cannot_hide_its_ending_by_turning_letters_round(client: Client) -> None:
    name = "evil\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"
    text = page_of(client, stored_file(status=Status.COMPLETED, filename=name))
    assert "<bdi>evilgpj.exe</bdi>" in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert readable_name("हिन्दी.pdf") == "हिन्दी.pdf"


def test_a_name_of_marks_alone_gets_words_in_its_place(client: Client) -> None:
    text = page_of(client, stored_file(status=Status.COMPLETED, filename="\u202e\u200b \u2069"))
    assert "<h1><bdi>(a name that cannot be seen)</bdi></h1>" in text
    assert "deleted" not in text


def test_an_unknown_file_is_not_found(client: Client) -> None:
    for address in (f"/f/{uuid4()}", "/f/not-a-uuid", "/f/"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "Nothing is here" in answer.content.decode()


def test_looking_at_a_page_writes_nothing(client: Client, django_assert_max_num_queries: Any) -> None:
    file = stored_file(stored_bytes=10)
    with django_assert_max_num_queries(1) as queries:
        client.get("/")
        client.get(f"/f/{file.pk}")
    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]


@pytest.mark.parametrize("address", ["/", "/f/{}"])
def test_the_pages_are_for_looking_at_only(client: Client, address: str) -> None:
    assert client.post(address.format(stored_file().pk)).status_code == 405


def test_a_forged_form_gets_a_page_that_says_what_to_do() -> None:
    answer = Client(enforce_csrf_checks=True).post("/i18n/setlang/", {"language": "hi"})
    assert answer.status_code == 403
    assert "Please try once more" in answer.content.decode()


def test_the_language_is_switched_and_kept(client: Client) -> None:
    with translation.override("en"):  # a request leaves its language behind in the thread
        answer = client.post("/i18n/setlang/", {"language": "hi", "next": "/"}, follow=True)
        assert '<html lang="hi"' in answer.content.decode()
        assert '<html lang="hi"' in client.get("/f/nothing").content.decode()


def test_the_catalogue_of_the_scripts_is_asked_for_each_time(client: Client) -> None:
    answer = client.get("/jsi18n/")
    assert answer.status_code == 200
    assert "gettext" in answer.content.decode()
    assert "no-cache" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("application/pdf", "PDF document"),
        ("IMAGE/png; charset=x", "Picture"),
        ("", "File"),
        ("nonsense", "File"),
        ("text/html", "Web page"),
    ],
)
def test_a_content_type_has_words(content_type: str, words: str) -> None:
    assert kind_in_words(content_type) == words


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing"])
def test_a_form_of_too_many_fields_sent_to_nowhere_is_sent_to_nowhere(path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "x" * 32
    assert client.post(path, {f"field {number}": "" for number in range(1001)}).status_code == 404
