"""Signing in, and doors that are shut, as people see them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from devtools.server_process import ServerProcess, prepare
from tests.browser.test_looks import WIDTHS, look_at
from tests.doors_rig import NAME, PASSWORD, begin_maintenance, block, open_all


@pytest.fixture
def server(start_server: Callable[..., ServerProcess], tmp_path: Path) -> ServerProcess:
    """A program with one account."""
    prepare({"DATA_DIR": str(tmp_path / "with-account"), "ADMIN_EMAIL": NAME, "ADMIN_PASSWORD": PASSWORD})
    return start_server(DATA_DIR=str(tmp_path / "with-account"))


def sign_in(page: Page, password: str) -> None:
    page.get_by_label("Username").fill(NAME)
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", list(WIDTHS))
def test_the_pages_fit_and_can_be_used_by_everybody(
    server: ServerProcess, new_context: Callable[..., BrowserContext], device: str, scheme: str
) -> None:
    page = new_context(viewport=WIDTHS[device], color_scheme=scheme, reduced_motion="reduce").new_page()
    page.goto(server.url)
    page.get_by_role("link", name="Sign in").click()
    page.wait_for_url("**/accounts/login/?next=/")  # and its style
    look_at(page, f"sign-in-{device}-{scheme}")
    sign_in(page, "a wrong password")
    expect(page.get_by_role("alert")).to_contain_text("Please enter a correct username and password.")
    look_at(page, f"sign-in-refused-{device}-{scheme}")
    sign_in(page, PASSWORD)
    expect(page.get_by_role("banner")).to_contain_text(NAME)
    expect(page.get_by_role("button", name="Choose files")).to_be_enabled()
    look_at(page, f"signed-in-{device}-{scheme}")
    page.get_by_role("link", name=NAME).click()
    page.wait_for_url("**/accounts/password/")
    look_at(page, f"password-{device}-{scheme}")
    for field, value in {"old_password": "wrong", "new_password1": "12345678", "new_password2": "12345678"}.items():
        page.locator(f"[name={field}]").fill(value)
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_text("This password is too common.")).to_be_visible()
    look_at(page, f"password-refused-{device}-{scheme}")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", list(WIDTHS))
def test_a_shut_door_has_a_page_that_anybody_can_read(
    server: ServerProcess, new_context: Callable[..., BrowserContext], device: str, scheme: str
) -> None:
    page = new_context(viewport=WIDTHS[device], color_scheme=scheme).new_page()
    begin_maintenance(server)
    page.goto(server.url)
    expect(page.get_by_role("heading")).to_have_text("Down for maintenance")
    expect(page.get_by_text("A new disk.")).to_be_visible()
    look_at(page, f"maintenance-{device}-{scheme}")
    open_all(server)
    block(server, network="127.0.0.1")
    page.wait_for_timeout(2500)
    page.goto(server.url)
    expect(page.get_by_text("You have been blocked from this service.")).to_be_visible()
    look_at(page, f"blocked-{device}-{scheme}")
    open_all(server)
    page.wait_for_timeout(2500)
    page.goto(f"{server.url}/accounts/login/")
    for _ in range(10):
        sign_in(page, "a wrong password")
    expect(page.get_by_role("heading")).to_have_text("Too many attempts")
    look_at(page, f"locked-out-{device}-{scheme}")
