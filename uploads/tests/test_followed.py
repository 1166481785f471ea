"""A person who follows the link of a download that cannot be given gets a page; a program gets its JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pytest
from django.test import AsyncClient

from uploads import links
from uploads.delays import try_again_in
from uploads.delivery import stream, zip_stream
from uploads.errors import RateLimited, UploadError
from uploads.storage import get_store
from uploads.storage.base import StorageUnavailableError
from uploads.tests.sharing_rig import batch, whole_file

pytestmark = pytest.mark.django_db(transaction=True)
NAVIGATION = {"sec-fetch-mode": "navigate"}


@pytest.fixture(autouse=True)
def store(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.DATA_DIR = tmp_path
    get_store.cache_clear()
    yield
    get_store.cache_clear()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            RateLimited("Too many downloads run.", retry_after=7),
            429,
            "Too many downloads run. Please try again in 7 seconds.",
        ),
        (
            StorageUnavailableError("the disk is away"),
            503,
            "The storage does not answer at the moment. Please try again in ",
        ),
    ],
)
async def test_a_download_that_is_refused_for_now_is_a_page_that_says_until_when(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch, error: UploadError, status: int, words: str
) -> None:
    async def refuse(*_args: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(stream, "respond", refuse)
    monkeypatch.setattr(zip_stream, "respond", refuse)
    whole = await batch()
    file = await whole_file(batch=whole)
    for path, page in (
        (links.download_path(file.pk), links.share_path(file.pk)),
        (links.batch_zip_path(whole.pk), links.batch_path(whole.pk)),
    ):
        answer = await async_client.get(path, headers=NAVIGATION)
        text = answer.content.decode()
        assert (answer.status_code, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert words in text
        assert f'href="{page}"' in text
        assert int(answer["Retry-After"]) > 0
        assert (await async_client.get(path))["Content-Type"] == "application/problem+json"


async def test_a_link_that_leads_nowhere_says_so_on_a_page(async_client: AsyncClient) -> None:
    for path, page in ((links.download_path, links.share_path), (links.batch_zip_path, links.batch_path)):
        unknown = uuid4()
        answer = await async_client.get(path(unknown), headers=NAVIGATION)
        assert (answer.status_code, answer["Location"]) == (302, page(unknown))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "Please try again in 1 second."),
        (42, "Please try again in 42 seconds."),
        (120, "Please try again in 2 minutes."),
        (3601, "Please try again in 61 minutes."),
        (7201, "Please try again in 3 hours."),
        (86_400, "Please try again in 24 hours."),
    ],
)
def test_a_long_wait_is_not_said_in_seconds(seconds: int, words: str) -> None:
    assert try_again_in(seconds) == words
