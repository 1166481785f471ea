"""Passwords, limits and withdrawal in a real browser: what the sender sets, and what recipients then see."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from devtools.server_process import ServerProcess
from tests.browser.conftest import MIB, UploadPage
from tests.browser.looks import WIDTHS, look_at
from tests.browser.network import Network

Contexts = Callable[..., BrowserContext]
Networks = Callable[[ServerProcess], Network]
TEXT = {"name": "secret plan.txt", "mimeType": "text/plain", "buffer": b"nobody knows"}
NOTE = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"a note"}


def protect(page: Page, **fields: str) -> None:
    page.get_by_text("Protect and limit").click()
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " ")).fill(value)


@pytest.mark.parametrize("device", list(WIDTHS))
def test_a_protected_batch_opens_for_whoever_has_its_password(
    announcing_server: ServerProcess, network_to: Networks, new_context: Contexts, device: str
) -> None:
    options = {"viewport": WIDTHS[device], "reduced_motion": "reduce"}
    upload = UploadPage(new_context(**options).new_page(), network_to(announcing_server)).open()
    protect(upload.page, Password="monsoon 26", Download_limit="1")
    expect(upload.page.locator(".protect-words")).to_have_text("password · at most 1 download")
    look_at(upload.page, f"upload-protect-{device}", "ddx-protect")
    upload.choose(TEXT, NOTE)
    expect(upload.in_state("done")).to_have_count(2)
    expect(upload.group()).to_contain_text("Protection and limits: password · at most 1 download.")
    link = upload.batch_link()

    page = new_context(**options, java_script_enabled=device == "desktop").new_page()
    page.goto(link)
    expect(page).to_have_title("Protected by a password · DirectDriveX")
    assert "secret" not in page.content()
    assert "note" not in page.content()
    field = page.get_by_label("Password")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("autocomplete", "off")
    field.fill("winter 26")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That is not the password.")
    expect(field).to_be_focused()
    expect(field).to_have_value("")
    if device == "desktop":
        look_at(page, f"locked-{device}")
    field.fill("monsoon 26")
    field.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("2 files")
    assert page.url == link
    assert "monsoon" not in page.content()
    page.get_by_role("link", name="secret plan.txt", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("secret plan.txt")
    page.go_back()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all as ZIP").click()
    assert download.value.path().stat().st_size > 200
    page.context.clear_cookies()
    page.goto(link)
    field.fill("monsoon 26")
    field.press("Enter")
    expect(page.get_by_text("downloaded as often as its sender allowed")).to_be_visible()


def test_the_sender_changes_limits_later_and_withdraws_the_link(
    announcing_server: ServerProcess, network_to: Networks, new_context: Contexts
) -> None:
    upload = UploadPage(
        new_context(viewport=WIDTHS["phone"], reduced_motion="reduce").new_page(), network_to(announcing_server)
    ).open()
    upload.choose(TEXT)
    upload.expect_state(TEXT["name"], "done")
    link = upload.link_of(TEXT["name"])
    other = new_context().new_page()
    other.goto(link)
    expect(other.get_by_role("link", name="Download")).to_be_visible()
    mine = upload.page.locator("ddx-my-files")
    mine.locator("summary").click()
    lock = upload.button("Protect, limit or withdraw secret plan.txt")
    lock.click()
    dialog = upload.page.get_by_role("dialog")
    expect(dialog.get_by_label("Password")).to_be_focused()
    look_at(upload.page, "controls-phone", "dialog")
    dialog.get_by_label("Password").fill("monsoon 26")
    dialog.get_by_label("Download limit").fill("3")
    end = dialog.locator("#controls-life-hint")
    expect(end).to_have_text("Without an end.")
    dialog.get_by_label("Can be downloaded for").select_option(label="7 days")
    expect(end).to_have_text(re.compile(r"^Until \d+ \w+ \d{4}, \d\d:\d\d\.$"))
    until = end.inner_text()[:-1].lower()
    dialog.get_by_role("button", name="Save").click()
    expect(mine.locator("li")).to_contain_text(f"{until} · password · 0 of 3 downloads used", ignore_case=True)
    other.reload()
    other.get_by_label("Password").fill("monsoon 26")
    other.get_by_role("button", name="Unlock").click()
    expect(other.get_by_text("Can be downloaded until")).to_be_visible()
    expect(other.get_by_text("There is no preview")).to_be_visible()
    expect(other.locator(".preview")).to_have_count(0)
    with other.expect_download() as download:
        other.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == TEXT["buffer"]
    upload.page.reload()
    mine.locator("summary").click()
    expect(mine.locator("li")).to_contain_text("password · 1 of 3 downloads used")
    lock.click()
    dialog.get_by_role("button", name="Withdraw the link").click()
    expect(mine.locator("li")).to_contain_text("link withdrawn")
    other.reload()
    expect(other.get_by_text("The sender has withdrawn this link.")).to_be_visible()
    assert TEXT["name"] not in other.content()
    lock.click()
    dialog.get_by_label("Remove the password").check()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    lock.click()
    dialog.get_by_role("button", name="Restore the link").click()
    expect(dialog).to_be_hidden()
    other.reload()
    expect(other.get_by_role("heading", level=1)).to_have_text(TEXT["name"])


def test_what_had_a_password_is_never_sent_anew_without_it(
    announcing_server: ServerProcess, network_to: Networks, new_context: Contexts, make_file: Callable[[str, int], Path]
) -> None:
    """Its password is not kept on the device: where the upload is over at the server, somebody has to set it again."""
    upload = UploadPage(new_context().new_page(), network_to(announcing_server)).open()
    upload.network.slow_down(MIB)
    protect(upload.page, Password="monsoon 26")
    file = make_file("secret.bin", 24 * MIB)
    with upload.page.expect_response("**/api/v1/upload/initiate") as announced:
        upload.choose(file)
    answer = announced.value.json()
    upload.wait_for_progress(file.name)
    kept = upload.page.evaluate("JSON.stringify(localStorage)")
    assert "secret.bin" in kept
    assert "monsoon" not in kept
    upload.page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    upload.page.reload()
    expect(upload.page.locator("ddx-unfinished")).to_contain_text("percent sent")
    cancelled = upload.page.request.post(
        f"{upload.url}/api/v1/upload/cancel/{answer['file_id']}",
        headers={"Authorization": f"Bearer {answer['upload_token']}"},
    )
    assert cancelled.ok
    announcements: list[str] = []
    upload.page.on("request", lambda request: announcements.append(request.url) if "initiate" in request.url else None)
    upload.choose(file)
    expect(upload.row(file.name)).to_contain_text("This upload had a password or limits and cannot go on.")
    assert announcements == []
