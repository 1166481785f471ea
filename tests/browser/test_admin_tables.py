"""The admin's lists with the longest names that people give: all columns are there to see, and no name is cut off."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from devtools.server_process import ServerProcess, prepare
from tests.browser.conftest import UploadPage
from tests.browser.network import Network
from tests.browser.test_looks import LONG_NAME

NAME, PASSWORD = f"{'an-admin-with-a-long-name-' * 4}@department-of-geology.example.org", "a long password for tests"


@pytest.fixture
def server(start_server: Callable[..., ServerProcess], tmp_path: Path) -> ServerProcess:
    prepare({"DATA_DIR": str(tmp_path / "named"), "ADMIN_EMAIL": NAME, "ADMIN_PASSWORD": PASSWORD})
    return start_server(DATA_DIR=str(tmp_path / "named"))


def hidden_beside(page: Page) -> int:
    """How many pixels of the list can only be seen by scrolling sideways."""
    width: int = page.evaluate("(list => list.scrollWidth - list.clientWidth)(document.querySelector('.results'))")
    return width


def test_long_names_take_no_column_away(
    network: Network, new_context: Callable[..., BrowserContext], make_file: Callable[[str, int], Path]
) -> None:
    page = new_context().new_page()
    page.goto(f"{network.url}/accounts/login/")
    page.get_by_label("Username").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    upload = UploadPage(page, network)
    expect(upload.button("Choose files")).to_be_enabled()
    upload.choose(make_file(LONG_NAME, 10), make_file("short.txt", 10))
    expect(upload.in_state("done")).to_have_count(2)
    for path in ("uploads/storedfile/", "uploads/batch/", "quotas/dailyusage/"):
        page.goto(f"{network.url}/admin/{path}")
        assert hidden_beside(page) == 0, path
    page.goto(f"{network.url}/admin/uploads/storedfile/")
    page.get_by_role("link", name=LONG_NAME).click()
    page.wait_for_url("**/change/")
    name = page.locator(".field-filename .readonly")
    assert name.evaluate("name => name.scrollWidth <= name.clientWidth")
    assert name.evaluate(
        "name => name.getBoundingClientRect().right <= name.closest('.form-row').getBoundingClientRect().right"
    )
