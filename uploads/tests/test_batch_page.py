"""The page of a batch as a plain HTTP client sees it; what it does in a browser: tests/browser/test_batches.py."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from uploads.models import Batch, StoredFile
from uploads.states import Status
from uploads.tests.test_pages import INLINE, stored_file

pytestmark = pytest.mark.django_db(transaction=True)  # the facts are read through the pool of connections


@pytest.fixture
def client() -> Client:
    return Client()


def batch_of(*files: dict[str, Any], title: str = "") -> Batch:
    batch = Batch.objects.create(
        title=title, visitor="visitor-secret", person="address:192.0.2.7", created_at=timezone.now()
    )
    for position, fields in enumerate(files):
        stored_file(batch=batch, position=position, **{"status": Status.COMPLETED} | fields)
    return batch


def page_of(client: Client, batch: Batch, status: int = 200) -> str:
    answer = client.get(f"/b/{batch.pk}")
    assert answer.status_code == status
    return answer.content.decode()


def row_of(text: str, name: str) -> str:
    return next(row for row in re.findall(r"<li data-file=.*?</li>", text, re.DOTALL) if f"<bdi>{name}</bdi>" in row)


def test_each_file_that_is_complete_has_its_download_without_a_script(client: Client) -> None:
    batch = batch_of(
        {"filename": "here.pdf", "stored_bytes": 1000},
        {"filename": "coming.pdf", "status": Status.PENDING, "stored_bytes": 420},
    )
    text = page_of(client, batch)
    here, coming = StoredFile.objects.order_by("position")
    assert f'href="/api/v1/download/stream/{here.pk}" aria-label="Download here.pdf">' in row_of(text, "here.pdf")
    assert f'href="/api/v1/download/stream/{coming.pk}" aria-label="Download coming.pdf" hidden>' in row_of(
        text, "coming.pdf"
    )
    assert "42 %" in row_of(text, "coming.pdf")
    assert "1 of 2 complete · 1.39 KiB of 1.95 KiB" in text
    assert "still coming" in text


def test_all_that_is_here_is_one_zip_with_its_number_and_size(client: Client) -> None:
    batch = batch_of({}, {}, {"status": Status.PENDING}, {"status": Status.FAILED})
    text = page_of(client, batch)
    assert f'href="/api/v1/batch/download-zip/{batch.pk}">Download what is here as ZIP</a>' in text
    assert "2 files · 1.95 KiB</p>" in text
    assert "Download all as ZIP</a>" in page_of(client, batch_of({}))
    assert '<div class="zip" hidden>' in page_of(client, batch_of({"status": Status.PENDING}))
    assert "download-zip" not in page_of(client, batch_of({"status": Status.FAILED}), 410)


def test_a_title_stands_above_and_numbers_stand_in_for_a_missing_one(client: Client) -> None:
    assert "<h1><bdi>Wedding</bdi></h1>" in page_of(client, batch_of({}, {}, title="Wedding"))
    assert "<h1>2 files</h1>" in page_of(client, batch_of({}, {}))
    assert "<h1>1 file</h1>" in page_of(client, batch_of({}))


def test_files_stand_under_their_folders_those_of_none_first_and_in_the_senders_order(client: Client) -> None:
    batch = batch_of(
        {"filename": "b.txt", "path": "top/b"},
        {"filename": "a.txt", "path": "top/a"},
        {"filename": "loose.txt"},
        {"filename": "b2.txt", "path": "top/b"},
    )
    text = page_of(client, batch)
    assert re.findall(r"<bdi>([^<]+)</bdi>", text) == ["loose.txt", "top/b", "b.txt", "b2.txt", "top/a", "a.txt"]


@pytest.mark.parametrize(
    ("states", "code", "words"),
    [
        ([Status.PENDING, Status.COMPLETED], 200, "These files are still coming."),
        ([Status.VERIFYING, Status.FAILED], 200, "These files are still coming."),
        ([Status.COMPLETED, Status.COMPLETED], 200, "All files are complete"),
        ([Status.COMPLETED, Status.FAILED], 200, "Not all files are here"),
        ([Status.COMPLETED, Status.DELETED], 200, "Not all files are here"),
        ([Status.FAILED, Status.CANCELLED], 410, "The upload of these files failed."),
        ([Status.CANCELLED, Status.CANCELLED], 410, "The upload of these files was cancelled."),
        ([Status.EXPIRED, Status.EXPIRED], 410, "These files have expired"),
        ([Status.DELETED, Status.DELETED], 410, "All files behind this link were deleted."),
    ],
)
def test_every_state_of_a_batch_is_said_in_words(client: Client, states: list[Status], code: int, words: str) -> None:
    text = page_of(client, batch_of(*[{"status": status} for status in states]), code)
    assert words in text
    if code == 410:
        assert "/api/v1/download/stream/" not in text


def test_what_is_missing_of_a_batch_is_named_with_its_reason(client: Client) -> None:
    batch = batch_of(
        {"filename": "here.txt"},
        {"filename": "broken.txt", "status": Status.FAILED},
        {"filename": "withdrawn.txt", "status": Status.CANCELLED},
        {"filename": "secret.txt", "status": Status.DELETED},
    )
    text = page_of(client, batch)
    missing = re.findall(r"<li><bdi>(.*?)</bdi> · (.*?)</li>", text)
    assert missing == [
        ("broken.txt", "The upload failed"),
        ("withdrawn.txt", "Cancelled by the sender"),
        ("A deleted file", "Deleted"),
    ]
    assert "secret.txt" not in text


def test_of_very_many_missing_files_the_first_are_named_above(client: Client) -> None:
    batch = batch_of({}, *[{"filename": f"{number}.txt", "status": Status.CANCELLED} for number in range(23)])
    assert "and 3 more, marked below" in page_of(client, batch)


def test_a_file_whose_time_is_over_is_gone_before_the_cleanup_comes(client: Client) -> None:
    ago = timezone.now() - timedelta(seconds=1)
    assert "These files have expired" in page_of(client, batch_of({"expires_at": ago}), 410)


def test_it_says_until_when_the_first_of_the_files_can_be_had(client: Client) -> None:
    soon, late = (timezone.now() + timedelta(days=days) for days in (2, 9))
    text = page_of(client, batch_of({"expires_at": late}, {"expires_at": soon}))
    assert text.count("Can be downloaded until") == 1
    assert f'<time datetime="{soon.isoformat(timespec="microseconds")}"' in text


def test_an_unknown_batch_is_not_found(client: Client) -> None:
    for address in (f"/b/{uuid4()}", "/b/not-a-uuid", "/b/"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "Nothing is here" in answer.content.decode()


def test_the_page_of_a_batch_is_for_looking_at_and_for_no_search_engine(client: Client) -> None:
    batch = batch_of({})
    assert '<meta name="robots" content="noindex">' in page_of(client, batch)
    assert client.post(f"/b/{batch.pk}").status_code == 405
    assert "no-store" in client.get(f"/b/{batch.pk}").headers["Cache-Control"]


def test_nothing_of_the_page_is_inline(client: Client) -> None:
    for status in Status:
        text = client.get(f"/b/{batch_of({'path': 'top'}, {'status': status}).pk}").content.decode()
        assert not INLINE.search(text), INLINE.search(text)


def test_nothing_of_a_batch_is_hostile_or_says_who_sent_it(client: Client) -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    turned = "evil\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"
    for status in (Status.COMPLETED, Status.PENDING, Status.FAILED):
        batch = batch_of(
            {"filename": hostile, "path": hostile, "content_type": "x/y", "status": status},
            {"filename": turned, "path": turned},
            title=hostile,
        )
        text = page_of(client, batch)
        assert "<img src=x" not in text
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
        assert "<bdi>evilgpj.exe</bdi>" in text
        assert "192.0.2.7" not in text
        assert "visitor-secret" not in text


def test_every_static_file_that_the_page_names_is_there(client: Client) -> None:
    names = set(re.findall(r'/static/([^"]+)"', page_of(client, batch_of({}))))
    assert "uploads/js/batch-page.js" in names
    assert [name for name in names if finders.find(name) is None] == []


def test_it_speaks_hindi(client: Client) -> None:
    batch = batch_of({}, {"status": Status.CANCELLED})
    with translation.override("hi"):
        words = translation.gettext("Not all files are here; those that are can be downloaded.")
    text = client.get(f"/b/{batch.pk}", headers={"accept-language": "hi"}).content.decode()
    assert words in text
    assert "Not all files" not in text


def test_looking_at_a_thousand_files_takes_two_questions_and_writes_nothing(client: Client) -> None:
    batch = batch_of()
    now = timezone.now()
    StoredFile.objects.bulk_create(
        StoredFile(
            batch=batch,
            position=position,
            filename=f"{position}.jpg",
            path=f"folder {position // 50}",
            size=1,
            status=Status.COMPLETED,
            quota_day=now.date(),
            created_at=now,
            upload_expires_at=now,
        )
        for position in range(1000)
    )
    with CaptureQueriesContext(connection) as asked:
        text = page_of(client, batch)
    ours = [query["sql"].split()[0] for query in asked if '"uploads_' in query["sql"]]
    assert ours == ["SELECT", "SELECT"]
    assert text.count("data-file=") == 1000
    assert "1,000 files" in text
    assert text.count('<section class="folder"') == 20
