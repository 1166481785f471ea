"""The pages of what may not be downloaded again: what is said to others, to whoever may resume, and to the sender."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from quotas.rules import address_person
from uploads import tokens
from uploads.models import Batch, CountedDownload, StoredFile
from uploads.states import Status
from uploads.tests.test_batch_page import batch_of
from uploads.tests.test_pages import INLINE, stored_file

pytestmark = pytest.mark.django_db(transaction=True)
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
MAY_RESUME = "Your download is counted already. If it broke off, you may resume it until"
USED_UP = "This was downloaded as often as its sender allowed."
LIMITED = {"max_downloads": 1, "downloads": 1}


def used_up_file() -> StoredFile:
    return stored_file(status=Status.COMPLETED, **LIMITED)


def used_up_batch(*files: dict) -> Batch:
    batch = batch_of(*files)
    Batch.objects.filter(pk=batch.pk).update(**LIMITED)
    return batch


def began(subject: StoredFile | Batch, *, hours_ago: float = 1, given: int = 400) -> None:
    """Who is `HERE` had a download counted."""
    CountedDownload.objects.create(
        subject=subject.pk,
        recipient=tokens.digest(address_person(HERE).key),
        begun_at=timezone.now() - timedelta(hours=hours_ago),
        given=given,
    )


def page(path: str, address: str = HERE) -> tuple[int, str]:
    answer = Client(REMOTE_ADDR=address).get(path)
    return answer.status_code, answer.content.decode()


def test_who_may_only_resume_the_last_download_is_told_so_and_until_when() -> None:
    file = used_up_file()
    began(file)
    status, text = page(f"/f/{file.pk}")
    assert status == 200
    assert MAY_RESUME in text
    end = timezone.now() + timedelta(hours=23)
    assert f'datetime="{end:%Y-%m-%dT%H:}' in text or f'datetime="{end - timedelta(minutes=1):%Y-%m-%dT%H:}' in text
    assert f'<code class="digest">http://testserver/api/v1/download/stream/{file.pk}</code>' in text
    assert ">Download</a>" not in text  # it would begin anew, and be refused
    assert "more time" not in text
    assert not INLINE.search(text)


@pytest.mark.parametrize("why", ["another", "too long ago", "given twice already"])
def test_nobody_else_is_offered_a_download_that_would_be_refused(why: str) -> None:
    file = used_up_file()
    began(file, hours_ago=25 if why == "too long ago" else 1, given=2000 if why == "given twice already" else 400)
    status, text = page(f"/f/{file.pk}", ELSEWHERE if why == "another" else HERE)
    assert status == 410
    assert USED_UP in text
    assert "please ask whoever gave you this link" in text
    assert "download/stream" not in text


def test_the_sender_is_told_what_holds_for_others() -> None:
    owner = User.objects.create_user("asha")
    client = Client()
    client.force_login(owner)
    for fields, words in (
        (LIMITED, "Others cannot download it any more: it was downloaded as often as you allowed."),
        ({"max_downloads": 2}, "It can be downloaded 2 more times."),
        ({"revoked_at": timezone.now()}, "You have withdrawn this link. Nobody but you can open this page."),
    ):
        file = stored_file(status=Status.COMPLETED, owner=owner, **fields)
        text = client.get(f"/f/{file.pk}").content.decode()
        assert words in text
        assert ("Your own downloads are not counted." in text) is ("max_downloads" in fields)
        assert ">Download</a>" in text
    batch = used_up_batch({}, {})
    Batch.objects.filter(pk=batch.pk).update(owner=owner, revoked_at=timezone.now())
    text = client.get(f"/b/{batch.pk}").content.decode()
    assert "You have withdrawn this link." in text
    assert "Download all as ZIP" in text


def test_the_page_of_a_batch_says_how_often_its_zip_may_be_had() -> None:
    batch = batch_of({}, {})
    Batch.objects.filter(pk=batch.pk).update(max_downloads=3, downloads=1)
    _status, text = page(f"/b/{batch.pk}")
    assert "The ZIP can be downloaded 2 more times; each counts as a download of every file in it." in text
    Batch.objects.filter(pk=batch.pk).update(downloads=2)
    assert (
        "The ZIP can be downloaded 1 more time, which counts as a download of each file in it."
        in page(f"/b/{batch.pk}")[1]
    )


def test_a_zip_that_is_used_up_has_no_button_and_its_files_still_have() -> None:
    batch = used_up_batch({}, LIMITED)
    status, text = page(f"/b/{batch.pk}")
    assert status == 200
    assert "The ZIP of all was downloaded as often as its sender allowed." in text
    assert "download-zip" not in text
    assert text.count("/api/v1/download/stream/") == 1
    began(batch)
    assert MAY_RESUME in page(f"/b/{batch.pk}")[1]


def test_who_may_resume_a_zip_is_told_so_where_all_its_files_are_used_up() -> None:
    batch = used_up_batch(LIMITED, LIMITED)
    began(batch)
    status, text = page(f"/b/{batch.pk}")
    assert status == 410
    assert USED_UP in text
    assert MAY_RESUME in text
    assert f"http://testserver/api/v1/batch/download-zip/{batch.pk}</code>" in text
    assert MAY_RESUME not in page(f"/b/{batch.pk}", ELSEWHERE)[1]
