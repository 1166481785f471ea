"""Signing in, and doors that are shut, as people see them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from devtools.server_process import ServerProcess
from tests.browser.conftest import until
from tests.browser.looks import WIDTHS, look_at
from tests.doors_rig import NAME, PASSWORD, begin_maintenance, block, open_all


@pytest.fixture
def server(start_server: Callable[..., ServerProcess], folder_with_admin: Path) -> ServerProcess:
    """A program with one account."""
    return start_server(DATA_DIR=str(folder_with_admin))


def sign_in(page: Page, password: str) -> None:
    page.get_by_label("Username").fill(NAME)
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("device", list(WIDTHS))
def test_the_pages_fit_and_can_be_used_by_everybody(
    server: ServerProcess, new_context: Callable[..., BrowserContext], device: str
) -> None:
    page = new_context(viewport=WIDTHS[device], reduced_motion="reduce").new_page()
    page.goto(server.url)
    page.get_by_role("link", name="Sign in").click()
    page.wait_for_url("**/accounts/login/?next=/")  # and its style
    look_at(page, f"sign-in-{device}")
    sign_in(page, "a wrong password")
    expect(page.get_by_role("alert")).to_contain_text("Please enter a correct username and password.")
    look_at(page, f"sign-in-refused-{device}")
    sign_in(page, PASSWORD)
    expect(page.get_by_role("banner")).to_contain_text(NAME)
    expect(page.get_by_role("button", name="Choose files")).to_be_enabled()
    look_at(page, f"signed-in-{device}")
    page.get_by_role("link", name=NAME).click()
    page.wait_for_url("**/accounts/password/")
    look_at(page, f"password-{device}")
    for field, value in {"old_password": "wrong", "new_password1": "12345678", "new_password2": "12345678"}.items():
        page.locator(f"[name={field}]").fill(value)
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_text("This password is too common.")).to_be_visible()
    look_at(page, f"password-refused-{device}")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_shut_door_has_a_page_that_anybody_can_read(
    server: ServerProcess, new_context: Callable[..., BrowserContext]
) -> None:
    pages = {
        device: new_context(viewport=width, reduced_motion="reduce").new_page() for device, width in WIDTHS.items()
    }
    begin_maintenance(server)
    for device, page in pages.items():
        page.goto(server.url)
        expect(page.get_by_role("heading")).to_have_text("Down for maintenance")
        expect(page.get_by_text("A new disk.")).to_be_visible()
        look_at(page, f"maintenance-{device}")
    open_all(server)
    block(server, network="127.0.0.1")
    until(page, lambda: page.request.get(server.url).status == 403)
    for device, page in pages.items():
        page.goto(server.url)
        expect(page.get_by_text("You have been blocked from this service.")).to_be_visible()
        look_at(page, f"blocked-{device}")
    open_all(server)
    until(page, lambda: page.request.get(server.url).status == 200)
    for page in pages.values():
        page.goto(f"{server.url}/accounts/login/")
    for _ in range(9):
        sign_in(pages["phone"], "a wrong password")
        expect(pages["phone"].get_by_role("alert")).to_be_visible()
    for device, page in pages.items():
        sign_in(page, "a wrong password")
        expect(page.get_by_role("heading")).to_have_text("Too many attempts")
        look_at(page, f"locked-out-{device}")
