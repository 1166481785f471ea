"""The pages at phone and desktop width, light and dark: nothing overflows, and axe finds nothing to complain of."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from devtools.server_process import ServerProcess
from tests.browser.conftest import MIB, UploadPage
from tests.browser.looks import WIDTHS, look_at
from tests.browser.network import Network
from tests.browser.played import payload, problem

LONG_NAME = "an endless name without any blank " + "x" * 180 + ".pdf"


@pytest.mark.parametrize("device", list(WIDTHS))
def test_the_pages_fit_and_can_be_used_by_everybody(
    network: Network,
    new_context: Callable[..., BrowserContext],
    make_file: Callable[[str, int], Path],
    device: str,
) -> None:
    context = new_context(viewport=WIDTHS[device], reduced_motion="reduce")
    upload = UploadPage(context.new_page(), network).open()
    look_at(upload.page, f"upload-empty-{device}")

    done, slow = make_file(LONG_NAME, 100), make_file("half way.mov", 24 * MIB)
    upload.choose(done, make_file("second.txt", 5))
    expect(upload.in_state("done")).to_have_count(2)
    upload.row(LONG_NAME).get_by_text("Receipt").click()
    upload.network.slow_down(MIB)
    upload.choose(slow, *[make_file(f"more {number}.bin", 3 * MIB) for number in range(10)])
    expect(upload.in_state("queued").first).to_be_visible()
    upload.wait_for_progress(slow.name)
    upload.button("Pause more 9.bin").click()
    upload.button("Cancel more 8.bin").click()
    upload.expect_state("more 9.bin", "paused")
    upload.expect_state("more 8.bin", "cancelled")
    upload.page.locator("ddx-my-files summary").click()
    expect(upload.page.locator("ddx-my-files li").first).to_be_visible()
    look_at(upload.page, f"upload-list-{device}")

    page = context.new_page()
    page.goto(upload.batch_link(1))
    expect(page.get_by_text("still coming")).to_be_visible()
    look_at(page, f"batch-coming-{device}")
    page.goto(upload.batch_link(0))
    expect(page.get_by_text("All files are complete")).to_be_visible()
    look_at(page, f"batch-{device}")
    page.goto(upload.link_of(LONG_NAME))
    page.get_by_text("How to check the download").click()
    look_at(page, f"share-{device}")
    with upload.page.expect_response("**/api/v1/files") as answer:
        upload.page.locator("ddx-my-files summary").click()
    coming = next(item for item in answer.value.json()["items"] if item["filename"] == slow.name)
    page.goto(f"{network.url}/f/{coming['file_id']}")
    expect(page.get_by_text("still on its way")).to_be_visible()
    look_at(page, f"share-coming-{device}")
    page.goto(f"{network.url}/f/nothing")
    look_at(page, f"not-found-{device}")


@pytest.mark.parametrize("device", list(WIDTHS))
def test_refusals_and_pauses_fit_and_can_be_used_by_everybody(
    network: Network, new_context: Callable[..., BrowserContext], device: str
) -> None:
    context = new_context(viewport=WIDTHS[device], reduced_motion="reduce")
    upload = UploadPage(context.new_page(), network).open()
    errors = [{"field": "files.1.filename", "reason": "Files of this type are not accepted here."}]
    refusal = problem("file_type_blocked", 415, False, errors=errors)
    upload.page.route("**/api/v1/batch/initiate", refusal, times=1)
    upload.choose(*[payload(name, 10) for name in ("a.txt", LONG_NAME, "c.txt")])
    expect(upload.button("Send the other 2 files")).to_be_visible()
    look_at(upload.page, f"upload-refused-{device}")
    pause = problem("maintenance", 503, True, retry_after=600)
    upload.page.route("**/api/v1/batch/initiate", pause, times=1)
    upload.button("Send the other 2 files").click()
    expect(upload.page.locator("ddx-hold")).to_be_visible()
    look_at(upload.page, f"upload-hold-{device}")
    upload.network.slow_down(100_000)
    upload.page.locator("ddx-hold").get_by_role("button", name="Try now").click()
    expect(upload.in_state("done")).to_have_count(2)
    upload.choose(payload("large one.bin", 2 * MIB), payload("large two.bin", 2 * MIB))
    upload.wait_for_progress("large two.bin", 0)
    expect(upload.page.locator("a.batch-link")).to_have_count(2)
    upload.page.on("dialog", lambda dialog: dialog.accept())
    upload.page.reload()
    upload.page.get_by_text("Which files these are").click()
    look_at(upload.page, f"upload-unfinished-{device}")


def test_the_language_is_switched_at_the_foot_of_the_page(
    server: ServerProcess, new_context: Callable[..., BrowserContext]
) -> None:
    page = new_context().new_page()
    page.goto(server.url)
    page.locator("footer button[lang=hi]").click()
    expect(page.locator("html")).to_have_attribute("lang", "hi")
    assert page.url == f"{server.url}/"
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
