"""Drive accounts in the admin, in a real browser: the walk through Google's consent, and how the pages look."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from devtools.emulator_process import EmulatorProcess
from devtools.server_process import ServerProcess
from tests.browser.looks import WIDTHS, look_at
from tests.doors_rig import NAME, PASSWORD

LIST = "/admin/uploads/driveaccount/"


@pytest.fixture
def server(
    start_server: Callable[..., ServerProcess], folder_with_admin: Path, emulator: EmulatorProcess
) -> ServerProcess:
    """The program with an admin, whose Google is the emulator, and which has no account yet."""
    google = {"STORAGE": "gdrive", "GDRIVE_API_ROOT": emulator.url, "GDRIVE_TOKEN_URL": emulator.token_url}
    return start_server(DATA_DIR=str(folder_with_admin), **google)


def signed_in(context: BrowserContext, server: ServerProcess, address: str) -> Page:
    page = context.new_page()
    page.goto(f"{server.url}/admin/login/?next={address}")
    page.fill("#id_username", NAME)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    return page


def add_account(page: Page) -> None:
    page.fill("#id_name", "films")
    page.fill("#id_client_id", "12345.apps.googleusercontent.com")
    page.fill("#id_client_secret", "GOCSPX-a-secret-of-the-client")
    page.click("input[name=_save]")
    expect(page.get_by_text("Now connect it")).to_be_visible()


def test_an_admin_connects_an_account_by_googles_consent_page(
    server: ServerProcess, emulator: EmulatorProcess, new_context: Callable[..., BrowserContext]
) -> None:
    page = signed_in(new_context(), server, f"{LIST}add/")
    add_account(page)
    page.get_by_role("button", name="Connect with Google…").click()
    page.get_by_role("link", name="Continue at Google").click()
    expect(page).to_have_url(re.compile(re.escape(emulator.url)))
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("Google was told no: nothing was changed.")).to_be_visible()
    page.get_by_role("link", name="films").click()
    page.get_by_role("button", name="Connect with Google…").click()
    page.get_by_role("link", name="Continue at Google").click()
    page.get_by_label("Your account").fill("films@example.org")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("The account “films” works.")).to_be_visible()
    expect(page.get_by_text("films@example.org")).to_be_visible()
    assert "code=" not in page.url
    printed = server.log.read_text()
    assert "/admin/uploads/driveaccount/connected/" in printed
    for secret in ("?code=", "&code=", "state=", "GOCSPX-a-secret", "1//", "ya29."):
        assert secret not in printed


@pytest.mark.parametrize("device", list(WIDTHS))
def test_the_pages_fit_and_can_be_used_by_everybody(
    server: ServerProcess,
    emulator: EmulatorProcess,
    new_context: Callable[..., BrowserContext],
    device: str,
) -> None:
    # axe writes styles into Django's pages; the walk above keeps to the policy.
    looks = {"viewport": WIDTHS[device], "reduced_motion": "reduce", "bypass_csp": True}
    context = new_context(**looks)
    page = signed_in(context, server, f"{LIST}add/")

    def look(name: str) -> None:
        look_at(page, f"drive-{name}-{device}", "#content")

    expect(page.locator("#id_name")).to_be_visible()
    look("add")
    add_account(page)
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("heading", name="Failing (tried again at")).to_be_visible()
    expect(page.get_by_text("It is not connected with Google yet.").first).to_be_visible()
    look("failing")
    page.get_by_role("button", name="Connect with Google…").click()
    expect(page.get_by_role("link", name="Continue at Google")).to_be_visible()
    look("connect")
    page.goto(f"{server.url}{LIST}")
    expect(page.get_by_text("failing", exact=True)).to_be_visible()
    look("list")
