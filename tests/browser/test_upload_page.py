"""The upload page in a real browser, with the real program behind it."""

import json
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from devtools.server_process import ServerProcess
from quotas.sizes import short_size
from tests.browser.conftest import MIB, UploadPage, sha256_behind, sha256_of, until
from tests.browser.network import Network

pytestmark = pytest.mark.every_server

OpenPage = Callable[..., UploadPage]
MakeFile = Callable[[str, int], Path]


def running_now(server: ServerProcess) -> int:
    with urllib.request.urlopen(f"{server.url}/api/v1/system/upload-status", timeout=30) as answer:
        return int(json.load(answer)["concurrency_manager"]["active_uploads"])


def downloaded_from(link: str, upload: UploadPage) -> str:
    """The digest of what the download button of a share page leads to."""
    page = upload.page.context.new_page()
    page.goto(link)
    address = page.get_by_role("link", name="Download").get_attribute("href")
    page.close()
    return sha256_behind(f"{upload.url}{address}")


def test_a_file_is_sent_and_its_link_gives_it_back(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("holiday film.mp4", 20 * MIB + 7)
    upload.choose(file)
    upload.expect_state(file.name, "done")
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_the_receipt_has_the_digest_of_browser_and_server(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("thesis.pdf", 3 * MIB)
    upload.choose(file)
    upload.row(file.name).get_by_text("Receipt").click()
    receipt = upload.row(file.name).locator(".receipt")
    expect(receipt).to_contain_text(sha256_of(file))
    expect(receipt).to_contain_text("Made by your browserthe same")
    expect(receipt).to_contain_text("Made by the serverthe same")


def test_an_empty_file_is_sent(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("nothing.txt", 0)
    upload.choose(file)
    upload.expect_state(file.name, "done")
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_of_twelve_files_five_run_at_once_and_all_arrive(
    open_page: OpenPage, make_file: MakeFile, server: ServerProcess
) -> None:
    upload = open_page()
    files = [make_file(f"part {number:02}.bin", 4 * MIB + number) for number in range(12)]
    upload.network.slow_down(16 * MIB)
    upload.choose(*files)
    most = 0

    def all_done() -> bool:
        nonlocal most
        most = max(most, running_now(server))
        return upload.in_state("done").count() == 12

    until(upload.page, all_done)
    # Only the server knows: the page may hear that the next one has a slot before it hears that the last one is done.
    assert 1 < most <= 5
    until(upload.page, lambda: running_now(server) == 0)  # the figure may be a second old
    for file in files:
        assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_files_beyond_those_running_show_their_place_or_that_they_wait_here(
    open_page: OpenPage, make_file: MakeFile
) -> None:
    upload = open_page()
    upload.network.slow_down(200_000)
    upload.choose(*[make_file(f"part {number:02}.bin", 2 * MIB) for number in range(12)])
    expect(upload.in_state("uploading")).to_have_count(5)
    expect(upload.in_state("queued")).to_have_count(3)
    expect(upload.in_state("waiting")).to_have_count(4)
    for place in (1, 2, 3):
        expect(upload.in_state("queued").filter(has_text=f"Number {place} in line")).to_have_count(1)
    expect(upload.row("part 11.bin")).to_contain_text("Waiting on this device")
    upload.network.slow_down(0)
    expect(upload.in_state("done")).to_have_count(12)


def test_a_paused_upload_gives_its_slot_up_and_goes_on_where_it_stopped(
    open_page: OpenPage, make_file: MakeFile, server: ServerProcess
) -> None:
    upload, file = open_page(), make_file("long film.mkv", 12 * MIB)
    upload.network.slow_down(MIB)
    upload.choose(file)
    upload.wait_for_progress(file.name, 200)
    upload.button("Pause long film.mkv").click()
    upload.expect_state(file.name, "paused")
    until(upload.page, lambda: running_now(server) == 0)
    offsets: list[int] = []
    upload.page.on(
        "websocket",
        lambda socket: socket.on(
            "framereceived",
            lambda frame: offsets.append(json.loads(frame)["offset"]) if '"ready"' in str(frame) else None,
        ),
    )
    upload.network.slow_down(0)
    upload.button("Resume long film.mkv").click()
    upload.expect_state(file.name, "done")
    assert offsets
    assert offsets[0] >= 2 * MIB
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_a_cancelled_upload_is_gone_at_the_server_too(
    open_page: OpenPage, make_file: MakeFile, server: ServerProcess
) -> None:
    upload, file = open_page(), make_file("mistake.zip", 24 * MIB)
    upload.network.slow_down(MIB)
    upload.choose(file)
    upload.wait_for_progress(file.name)
    with upload.page.expect_response("**/api/v1/upload/cancel/*") as cancelled:
        upload.button("Cancel mistake.zip").click()
    assert cancelled.value.json()["status"] == "cancelled"
    upload.expect_state(file.name, "cancelled")
    until(upload.page, lambda: running_now(server) == 0)
    upload.button("Remove mistake.zip from the list").click()
    expect(upload.page.locator("ddx-upload-row")).to_have_count(0)


def test_a_cancelled_upload_can_be_sent_again_from_the_start(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("second thoughts.zip", 8 * MIB)
    upload.network.slow_down(MIB)
    upload.choose(file)
    upload.wait_for_progress(file.name)
    upload.button("Cancel second thoughts.zip").click()
    upload.network.slow_down(0)
    upload.button("Try second thoughts.zip again").click()
    upload.expect_state(file.name, "done")
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_uploads_survive_a_server_that_is_killed_and_started_again(
    open_page: OpenPage, make_file: MakeFile, server: ServerProcess
) -> None:
    upload = open_page()
    files = [make_file("one.bin", 16 * MIB + 1), make_file("two.bin", 16 * MIB + 2)]
    upload.network.slow_down(3 * MIB)
    upload.choose(*files)
    for round_of_two in range(2):
        for file in files:
            upload.wait_for_progress(file.name, 100 + 300 * round_of_two)
        server.kill()
        for file in files:
            upload.expect_state(file.name, "lost")
            expect(upload.row(file.name)).to_contain_text("Trying again in")
        server.restart()
        expect(upload.in_state("uploading")).to_have_count(2, timeout=60_000)
    upload.network.slow_down(0)
    for file in files:
        upload.expect_state(file.name, "done")
        assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_an_upload_comes_back_by_itself_when_the_server_does(
    open_page: OpenPage, make_file: MakeFile, server: ServerProcess
) -> None:
    upload, file = open_page(), make_file("patient.bin", 12 * MIB)
    upload.network.slow_down(4 * MIB)
    upload.choose(file)
    upload.wait_for_progress(file.name, 100)
    server.stop()  # gracefully, as an operator would
    upload.expect_state(file.name, "lost")
    server.restart()
    upload.network.slow_down(0)
    upload.expect_state(file.name, "done")
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_a_dead_network_is_survived(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("train tunnel.bin", 12 * MIB)
    upload.network.slow_down(4 * MIB)
    upload.choose(file)
    upload.wait_for_progress(file.name, 100)
    upload.network.cut()
    upload.expect_state(file.name, "lost")
    expect(upload.row(file.name)).to_contain_text("Connection lost. Trying again in")
    upload.network.mend()
    upload.network.slow_down(0)
    upload.expect_state(file.name, "done")
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_a_network_that_dies_without_a_word_is_noticed(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("closed laptop.bin", 12 * MIB)
    upload.page.clock.install()
    upload.network.slow_down(4 * MIB)
    upload.choose(file)
    upload.page.clock.run_for(1000)
    upload.wait_for_progress(file.name, 50)
    upload.network.freeze()
    upload.page.clock.run_for(50_000)
    with upload.page.expect_websocket():
        upload.page.clock.run_for(5_000)
    upload.network.mend()
    upload.network.slow_down(0)
    until(upload.page, lambda: upload.page.clock.run_for(500) or upload.in_state("done").count())
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)


def test_after_a_reload_the_same_file_goes_on_where_it_stopped(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("reloaded.bin", 12 * MIB)
    upload.network.slow_down(2 * MIB)
    upload.choose(file)
    upload.wait_for_progress(file.name, 300)
    upload.page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    upload.page.reload()
    expect(upload.page.get_by_text("Unfinished uploads")).to_be_visible()
    expect(upload.page.locator("ddx-unfinished")).to_contain_text("percent sent")
    initiations: list[str] = []
    upload.page.on(
        "request", lambda request: initiations.append(request.url) if request.url.endswith("/initiate") else None
    )
    upload.network.slow_down(0)
    upload.choose(file)
    expect(upload.page.get_by_text("Unfinished uploads")).to_be_hidden()
    upload.expect_state(file.name, "done")
    assert initiations == []
    assert downloaded_from(upload.link_of(file.name), upload) == sha256_of(file)
    assert upload.page.evaluate("Object.keys(localStorage).length") == 0


def test_an_unfinished_file_chosen_in_the_first_moment_goes_on_too(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("quick hands.bin", 16 * MIB)
    upload.network.slow_down(8 * MIB)
    with upload.page.expect_response("**/api/v1/upload/initiate") as announced:
        upload.choose(file)
    link = announced.value.json()["share_url"]
    upload.wait_for_progress(file.name, 200)
    upload.page.on("dialog", lambda dialog: dialog.accept())
    upload.page.reload()
    upload.network.slow_down(0)
    upload.choose(file)  # before the page can know what other tabs are doing
    upload.expect_state(file.name, "done")
    assert upload.link_of(file.name) == link
    expect(upload.page.get_by_text("Unfinished uploads")).to_be_hidden()


def test_leaving_the_page_while_uploads_run_asks_first(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("hasty.bin", 8 * MIB)
    upload.network.slow_down(MIB)
    with upload.page.expect_file_chooser() as chooser:
        upload.button("Choose files").click()  # browsers ask only where somebody has done something on the page
    chooser.value.set_files(file)
    upload.wait_for_progress(file.name)
    with upload.page.expect_event("dialog") as asked:
        upload.page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    upload.network.slow_down(0)
    upload.expect_state(file.name, "done")


def test_a_second_tab_does_not_offer_what_runs_in_the_first(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context()
    first, file = open_page(context), make_file("here.bin", 24 * MIB)
    first.network.slow_down(MIB)
    first.choose(file)
    first.wait_for_progress(file.name)
    second = open_page(context)
    second.page.evaluate("document.querySelector('ddx-unfinished').ready")
    expect(second.page.get_by_text("Unfinished uploads")).to_be_hidden()
    first.button("Cancel here.bin").click()


def test_a_file_over_the_limit_is_refused_in_words(
    start_server: Callable[..., ServerProcess],
    network_to: Callable[[ServerProcess], Network],
    new_context: Callable[..., BrowserContext],
    make_file: MakeFile,
) -> None:
    network = network_to(start_server(ENVIRONMENT="staging", ENABLE_UPLOAD_LIMITS="true"))
    upload = UploadPage(new_context().new_page(), network).open()
    expect(upload.page.locator("ddx-quota")).to_contain_text("0 B of 2 GiB used today")
    expect(upload.page.locator("ddx-quota")).to_contain_text("Up to 2 GiB a file.")
    huge = make_file("huge.iso", 0)
    with huge.open("r+b") as file:
        file.truncate(3 * 1024 * MIB)  # sparse: it takes no room
    upload.choose(huge)
    upload.expect_state(huge.name, "failed")
    expect(upload.row(huge.name)).to_contain_text(
        "This file is too large: it is 3 GiB, and a file may be 2 GiB at most."
    )
    expect(upload.row(huge.name).get_by_role("button", name="again")).to_have_count(0)


def test_the_meter_of_the_day_counts_what_is_reserved_and_says_when_it_starts_anew(
    start_server: Callable[..., ServerProcess],
    network_to: Callable[[ServerProcess], Network],
    new_context: Callable[..., BrowserContext],
    make_file: MakeFile,
) -> None:
    network = network_to(start_server(ENVIRONMENT="staging", ENABLE_UPLOAD_LIMITS="true"))
    context = new_context(timezone_id="Asia/Kolkata")
    upload = UploadPage(context.new_page(), network).open()
    network.slow_down(MIB)
    upload.choose(make_file("half a day.bin", 24 * MIB))
    meter = upload.page.locator("ddx-quota")
    expect(meter).to_contain_text("24 MiB of 2 GiB used today; the count starts anew at 05:30.")
    expect(meter.get_by_role("progressbar", name="Used today")).to_have_js_property("value", 12)
    upload.button("Cancel half a day.bin").click()
    expect(meter).not_to_contain_text("24 MiB of 2 GiB")


def test_a_limit_of_ones_own_is_told_with_its_end(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context(timezone_id="Asia/Kolkata", locale="hi-IN")
    limits = {"file_bytes": None, "daily_bytes": 50 * MIB, "daily_files": None, "concurrent": 5}
    figures = {"used_bytes": 0, "reserved_bytes": 0, "files": 0}
    times = {"resets_at": "2026-11-27T00:00:00Z", "override_until": "2026-12-24T18:00:00Z"}
    answer = {"limits": limits, **figures, **times}
    context.route("**/upload/quota-info", lambda route: route.fulfill(json=answer))
    page = context.new_page()
    page.goto(open_page().url)
    meter = page.locator("ddx-quota")
    expect(meter).to_contain_text("05:30")
    expect(meter).to_contain_text("23:30")
    page.get_by_role("button", name="English").click()
    expect(meter).to_contain_text("0 B of 50 MiB used today; the count starts anew at 05:30")
    expect(meter).to_contain_text("These limits are yours until Dec 24, 2026, 11:30")


def test_on_a_phone_nobody_is_told_to_drop_files(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    hint = "or drop them anywhere on this page"
    expect(open_page().page.get_by_text(hint)).to_be_visible()
    phone = new_context(is_mobile=True, has_touch=True, viewport={"width": 360, "height": 740})
    expect(open_page(phone).page.get_by_text(hint)).to_be_hidden()


def test_nothing_is_said_of_limits_where_there_are_none(open_page: OpenPage) -> None:
    upload = open_page()
    with upload.page.expect_response("**/upload/quota-info"):
        upload.page.reload()
    expect(upload.page.locator("ddx-quota")).to_be_hidden()


def test_a_name_written_from_right_to_left_begins_where_the_others_do(open_page: OpenPage, make_file: MakeFile) -> None:
    upload = open_page()
    upload.choose(make_file("latin.txt", 10), make_file("قائمة.txt", 10))
    expect(upload.in_state("done")).to_have_count(2)
    edges = upload.page.evaluate(
        """() => [...document.querySelectorAll("ddx-upload-row .row-name")].map((name) => {
          const range = document.createRange();
          range.selectNodeContents(name);
          return Math.round(range.getBoundingClientRect().left);
        })"""
    )
    assert edges[0] == edges[1]


def test_sizes_read_the_same_on_every_page(open_page: OpenPage) -> None:
    sizes = [0, 1, 1023, 1024, 10_235, 9999, 102_349, MIB - 1, MIB * 1023 + 600_000, MIB * 9 // 8 * 1024, 5 * 1024**4]
    written = open_page().page.evaluate(
        """async (sizes) => {
          const {formatSize} = await import("/static/uploads/js/format.js");
          return sizes.map(formatSize);
        }""",
        sizes,
    )
    assert written == [short_size(size) for size in sizes]


def test_files_go_in_the_order_in_which_they_were_chosen(
    start_server: Callable[..., ServerProcess],
    network_to: Callable[[ServerProcess], Network],
    new_context: Callable[..., BrowserContext],
    make_file: MakeFile,
) -> None:
    server = start_server(MAX_CONCURRENT_UPLOADS_PER_USER="1")
    network = network_to(server)
    upload = UploadPage(new_context().new_page(), network).open()
    # Large and small ones in turn: the small ones are announced and connected sooner.
    files = [make_file(f"{number}.bin", MIB if number % 2 else 8 * MIB) for number in range(8)]
    upload.choose(*files)
    for file in files:
        upload.expect_state(file.name, "done")
    with sqlite3.connect(server.data_dir / "directdrivex.sqlite3", timeout=20) as database:
        rows = database.execute("SELECT filename FROM uploads_storedfile ORDER BY completed_at").fetchall()
    assert [name for (name,) in rows] == [file.name for file in files]


def test_everything_can_be_done_by_keyboard(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("by hand.bin", 24 * MIB)
    upload.network.slow_down(4 * MIB)
    keyboard = upload.page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(40):
            keyboard.press("Tab")
            focused = upload.page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"
            )
            if focused == name:
                return
        raise AssertionError(f"{name} cannot be reached by the keyboard")

    # Asked for before the first key: a page told only at the last moment may meet the key first and open a real dialog.
    with upload.page.expect_file_chooser() as chooser:
        tab_to("Choose files")
        keyboard.press("Enter")
    chooser.value.set_files(file)
    upload.wait_for_progress(file.name)
    tab_to("Pause by hand.bin")
    keyboard.press("Enter")
    upload.expect_state(file.name, "paused")
    upload.network.slow_down(0)
    # The focus stays in the row when its buttons change.
    expect(upload.row(file.name).locator(":focus")).to_have_count(1)
    upload.button("Resume by hand.bin").focus()
    keyboard.press("Space")
    upload.expect_state(file.name, "done")
    tab_to("Copy link of by hand.bin")
    keyboard.press("Enter")
    expect(upload.row(file.name).get_by_text("Copied")).to_be_visible()


def test_a_screen_reader_hears_what_became_of_a_file(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("heard.bin", MIB)
    upload.choose(file)
    expect(upload.page.get_by_role("status")).to_contain_text("heard.bin: Complete")
    expect(upload.row(file.name).locator("progress")).to_have_attribute("aria-label", "Progress of heard.bin")


def test_all_links_are_copied_together_one_for_each_batch(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context(permissions=["clipboard-read", "clipboard-write"])
    upload = open_page(context)
    for name in ("a.bin", "b.bin"):
        upload.choose(make_file(name, 1000))
        upload.expect_state(name, "done")
    upload.choose(make_file("c.bin", 1000), make_file("d.bin", 1000))
    expect(upload.in_state("done")).to_have_count(4)
    upload.button("Copy all links").click()
    expect(upload.button("Copied")).to_be_visible()
    batch = upload.page.locator(".batch-link").get_attribute("href")
    copied = upload.page.evaluate("navigator.clipboard.readText()")
    assert copied.split("\n") == [upload.link_of("a.bin"), upload.link_of("b.bin"), batch]


def test_my_earlier_uploads_are_listed_and_can_be_deleted(open_page: OpenPage, make_file: MakeFile) -> None:
    upload, file = open_page(), make_file("old news.txt", 1000)
    upload.choose(file)
    upload.expect_state(file.name, "done")
    link = upload.link_of(file.name)
    upload.page.reload()
    mine = upload.page.locator("ddx-my-files")
    mine.locator("summary").click()
    expect(mine.locator("li")).to_have_count(1)
    expect(mine.get_by_role("link", name=file.name)).to_have_attribute("href", link)
    upload.button("Delete old news.txt").click()
    upload.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(mine.locator("li")).to_have_count(0)
    answer = upload.page.goto(link)
    assert answer
    assert answer.status == 410
    expect(upload.page.get_by_text("This file was deleted.")).to_be_visible()


def test_another_visitor_does_not_see_my_uploads(open_page: OpenPage, make_file: MakeFile) -> None:
    mine, file = open_page(), make_file("private.txt", 1000)
    mine.choose(file)
    mine.expect_state(file.name, "done")
    other = open_page()
    other.page.wait_for_load_state("networkidle")
    with other.page.expect_response("**/api/v1/files") as answer:
        other.page.reload()
    assert answer.value.json()["items"] == []
    expect(other.page.locator("ddx-my-files")).to_be_hidden()
