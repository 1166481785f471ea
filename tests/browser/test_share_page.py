"""The download page in a real browser, with the real program behind it."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import MIB, UploadPage, sha256_of

OpenPage = Callable[..., UploadPage]
MakeFile = Callable[[str, int], Path]


def test_a_click_downloads_the_file_under_its_name(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    upload, file = open_page(), make_file("हिन्दी दस्तावेज़.pdf", 3 * MIB + 5)
    upload.choose(file)
    upload.expect_state(file.name, "done")
    page = new_context(viewport={"width": 360, "height": 740}).new_page()
    page.goto(upload.link_of(file.name))
    expect(page.get_by_role("heading", level=1)).to_have_text(file.name)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == file.name
    assert sha256_of(download.value.path()) == sha256_of(file)
    expect(page.locator(".digest")).to_have_text(sha256_of(file))


def test_a_link_opened_too_early_turns_into_the_download_by_itself(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    upload, file = open_page(), make_file("early.bin", 24 * MIB)
    upload.network.slow_down(2 * MIB)
    with upload.page.expect_response("**/api/v1/upload/initiate") as announced:
        upload.choose(file)
    upload.wait_for_progress(file.name)
    page = new_context().new_page()
    page.goto(announced.value.json()["share_url"])
    expect(page.get_by_text("still on its way")).to_be_visible()
    expect(page.get_by_role("link", name="Download")).to_have_count(0)
    page.wait_for_function("() => document.querySelector('.card progress').value > 0")
    upload.network.slow_down(0)
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("can be downloaded")


def test_a_cancelled_upload_is_told_to_who_waits_for_it(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    upload, file = open_page(), make_file("withdrawn.bin", 24 * MIB)
    upload.network.slow_down(MIB)
    with upload.page.expect_response("**/api/v1/upload/initiate") as announced:
        upload.choose(file)
    page = new_context().new_page()
    page.goto(announced.value.json()["share_url"])
    upload.button("Cancel withdrawn.bin").click()
    expect(page.get_by_text("The upload of this file was cancelled.")).to_be_visible()
