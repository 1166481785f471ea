"""The admin's live page and the pages of files, in a real browser, while somebody really uploads."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, WebSocketRoute, expect

from devtools.server_process import ServerProcess
from tests.browser.conftest import MIB, UploadPage
from tests.browser.looks import WIDTHS, faults_of
from tests.doors_rig import NAME, PASSWORD


@pytest.fixture
def server(start_server: Callable[..., ServerProcess], folder_with_admin: Path) -> ServerProcess:
    """The program with an admin, and with one slot so that there is a line."""
    return start_server(DATA_DIR=str(folder_with_admin), MAX_CONCURRENT_UPLOADS="1")


class LivePage:
    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def open(self) -> "LivePage":
        self.page.goto(f"{self.url}/admin/login/?next=/admin/monitoring/live/")
        self.page.fill("#id_username", NAME)
        self.page.fill("#id_password", PASSWORD)
        self.page.click("input[type=submit]")
        expect(self.status).to_have_text("Live")
        return self

    @property
    def status(self) -> Locator:
        return self.page.locator("#ddx-status")

    @property
    def outcome(self) -> Locator:
        return self.page.locator("#ddx-outcome")

    def running(self, name: str) -> Locator:
        return self.page.locator("#ddx-running tbody tr", has_text=name)

    def queued(self, name: str) -> Locator:
        return self.page.locator("#ddx-queued tbody tr", has_text=name)

    def press(self, row: Locator, label: str) -> None:
        row.get_by_role("button", name=label).click()


@pytest.fixture
def uploads(open_page: Callable[..., UploadPage], make_file: Callable[[str, int], Path]) -> UploadPage:
    """A person who sends two large files over a slow line: one has the slot, one waits."""
    page = open_page()
    page.network.slow_down(MIB // 2)
    page.choose(make_file("first.bin", 64 * MIB))
    page.wait_for_progress("first.bin")
    page.choose(make_file("second.bin", 64 * MIB))
    page.expect_state("second.bin", "queued")
    return page


def test_an_admin_sees_who_runs_and_who_waits_and_steers_them(
    server: ServerProcess, uploads: UploadPage, new_context: Callable[..., BrowserContext]
) -> None:
    live = LivePage(new_context().new_page(), server.url).open()
    expect(live.running("first.bin").locator(".ddx-state")).to_have_text("receiving")
    expect(live.running("first.bin")).to_contain_text(re.compile(r"[1-9]\d*\s%, [\d.]+ MiB of 64 MiB"))
    expect(live.queued("second.bin")).to_contain_text("for a free slot")
    expect(live.page.locator("#ddx-slots .ddx-figure")).to_have_text("1 / 1")

    live.press(live.running("first.bin"), "Pause")
    expect(live.outcome).to_contain_text("first.bin: The upload is paused.")
    expect(live.running("second.bin")).to_be_visible()
    expect(live.queued("first.bin")).to_contain_text("paused by an admin")
    uploads.expect_state("second.bin", "uploading")

    live.press(live.queued("first.bin"), "Resume")
    expect(live.queued("first.bin")).not_to_contain_text("paused")
    live.press(live.running("second.bin"), "Cancel")
    live.page.get_by_role("button", name="No, let it go on").click()
    expect(live.running("second.bin")).to_be_visible()
    live.press(live.running("second.bin"), "Cancel")
    live.page.get_by_role("button", name="Yes, cancel it").click()
    expect(live.outcome).to_contain_text("second.bin: The upload was cancelled.")
    expect(live.running("first.bin")).to_be_visible()
    uploads.expect_state("second.bin", "cancelled")

    live.page.goto(f"{server.url}/admin/uploads/storedfile/")
    live.page.get_by_role("link", name="second.bin").click()
    expect(live.page.locator(".ddx-history tbody tr").last).to_contain_text(f"cancelled admin {NAME}")


def test_the_page_says_when_its_numbers_are_old_and_comes_back_by_itself(
    server: ServerProcess, new_context: Callable[..., BrowserContext]
) -> None:
    live = LivePage(new_context().new_page(), server.url).open()
    server.stop()
    expect(live.status).to_have_text(re.compile(r"Connection lost; the numbers are from \d+ s ago\."))
    server.start()
    expect(live.status).to_have_text("Live")


def test_the_page_calls_nothing_empty_or_working_that_is_not_known_to_be(
    server: ServerProcess, new_context: Callable[..., BrowserContext]
) -> None:
    page = new_context().new_page()
    told: dict[str, Any] = {}

    def play(socket: WebSocketRoute) -> None:
        def change(text: str | bytes) -> None:
            message = json.loads(text)
            if "slots" in message:
                message |= told
            socket.send(json.dumps(message))

        socket.connect_to_server().on_message(change)

    page.route_web_socket("**/ws_api/**", play)
    live = LivePage(page, server.url).open()
    expect(page.locator("#ddx-none-queued")).to_have_text("Nobody waits.")
    until = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    told["slots"] = {"known": False, "used": 0, "total": 0, "per_person": 0, "backend": ""}
    told["accounts"] = [{"name": "films", "words": "day spent", "works": False, "until": until}]
    for empty in ("#ddx-none-running", "#ddx-none-queued"):
        expect(page.locator(empty)).to_have_text("The slot store cannot be reached.")
    expect(page.locator("#ddx-waiting .ddx-figure")).to_have_text("?")
    expect(page.locator("#ddx-storage .ddx-figure")).to_have_text("waiting")
    told.clear()
    expect(page.locator("#ddx-none-queued")).to_have_text("Nobody waits.")
    expect(live.page.locator("#ddx-storage .ddx-figure")).to_have_text("working")


def test_whoever_signs_out_in_another_tab_is_told(
    server: ServerProcess, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    live = LivePage(context.new_page(), server.url).open()
    other = context.new_page()
    other.goto(f"{server.url}/admin/")
    other.get_by_role("button", name="Log out").click()
    expect(live.status).to_contain_text("You are no longer signed in", timeout=40_000)
    expect(live.status.get_by_role("link", name="Sign in again")).to_be_visible()


def test_the_admin_pages_fit_and_can_be_used_by_everybody(
    server: ServerProcess, uploads: UploadPage, new_context: Callable[..., BrowserContext]
) -> None:
    found = []
    for device, width in WIDTHS.items():
        # axe measures with style sheets of its own, which the pages' policy forbids.
        context = new_context(viewport=width, reduced_motion="reduce", bypass_csp=True)
        live = LivePage(context.new_page(), server.url).open()

        def look(name: str, ours: str = "#content", page: Page = live.page, device: str = device) -> None:
            found.extend(faults_of(page, f"admin-{name}-{device}", ours))

        expect(live.queued("second.bin")).to_be_visible()
        look("live")
        live.press(live.queued("second.bin"), "Cancel")
        look("live-question")
        live.page.goto(f"{server.url}/admin/")
        look("index")
        live.page.goto(f"{server.url}/admin/uploads/storedfile/")
        look("files", "#result_list")
        live.page.get_by_role("link", name="first.bin").click()
        live.page.wait_for_url("**/change/")
        look("file")
        live.page.locator(".ddx-final").click()
        expect(live.page.get_by_role("button", name="Yes, do it")).to_be_visible()
        look("confirm")
    assert found == []
