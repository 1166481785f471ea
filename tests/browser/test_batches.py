"""Several files under one link: from the first second, live for who opens it, and over a reload."""

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, expect

from devtools.server_process import ServerProcess
from tests.browser.conftest import MIB, UploadPage, sha256_behind, sha256_of
from tests.browser.network import Network

OpenPage = Callable[..., UploadPage]
MakeFile = Callable[[str, int], Path]


def facts_of(upload: UploadPage, link: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{upload.url}/api/v1/batch/{link.rpartition('/')[2]}", timeout=30) as answer:
        facts: dict[str, Any] = json.load(answer)
        return facts


def test_the_link_of_several_files_works_from_the_first_second_and_turns_into_downloads(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    upload = open_page()
    upload.network.slow_down(MIB)
    small, large = make_file("first.bin", 2 * MIB), make_file("second.bin", 16 * MIB)
    upload.choose(small, large)
    expect(upload.group()).to_contain_text("You can share this link now")
    expect(upload.in_state("done")).to_have_count(0)
    expect(upload.page.get_by_role("status").last).to_contain_text("The link of 2 files is ready.")

    recipient = new_context(viewport={"width": 360, "height": 740}).new_page()
    recipient.goto(upload.batch_link())
    expect(recipient.get_by_role("heading", level=1)).to_have_text("2 files")
    expect(recipient.get_by_text("still coming")).to_be_visible()
    downloads = recipient.locator(".folder").get_by_role("link", name="Download")
    expect(downloads).to_have_count(0)
    expect(downloads).to_have_count(1)  # one is complete while the other still comes
    expect(recipient.locator("[data-file]", has_text="second.bin").locator(".row-words")).to_have_text(
        re.compile(r"On its way · \d+ %$")
    )
    expect(recipient.get_by_role("status").first).to_contain_text("first.bin can be downloaded.")
    upload.network.slow_down(0)
    expect(downloads).to_have_count(2)
    expect(recipient.get_by_text("All files are complete")).to_be_visible()
    with recipient.expect_download() as download:
        downloads.last.click()
    assert download.value.suggested_filename == "second.bin"
    assert sha256_of(download.value.path()) == sha256_of(large)
    expect(upload.group()).to_contain_text("2 complete")


def test_a_folder_keeps_its_folders_and_gives_the_batch_its_name(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    upload = open_page()
    for name in ("Wedding/program.txt", "Wedding/photos/10.jpg", "Wedding/photos/9.jpg"):
        (make_file("unused", 0).parent / name).parent.mkdir(parents=True, exist_ok=True)
        top = make_file(name, 1000).parent
    with upload.page.expect_response("**/api/v1/batch/initiate") as announced:
        upload.page.set_input_files("input[data-choose=folder]", top.parent)
    assert json.loads(announced.value.request.post_data or "")["title"] == "Wedding"
    expect(upload.group().get_by_role("heading", name="Wedding")).to_be_visible()
    expect(upload.in_state("done")).to_have_count(3)
    expect(upload.row("9.jpg")).to_contain_text("Wedding/photos")
    upload.page.locator("ddx-my-files summary").click()
    expect(upload.page.locator("ddx-my-files").get_by_role("link", name="Wedding")).to_be_visible()
    page = new_context(java_script_enabled=False).new_page()
    page.goto(upload.batch_link())
    expect(page.get_by_role("heading", level=1)).to_have_text("Wedding")
    photos = page.get_by_role("region", name="Wedding/photos")
    expect(photos.locator(".row-name")).to_have_text(["9.jpg", "10.jpg"])
    expect(page.locator(".folder").get_by_role("link", name="Download")).to_have_count(3)


def test_cancel_all_ends_what_is_unfinished_and_leaves_what_is_complete(
    open_page: OpenPage, make_file: MakeFile
) -> None:
    upload = open_page()
    upload.choose(make_file("done.bin", 1000), make_file("slow.bin", 24 * MIB))
    upload.expect_state("done.bin", "done")
    upload.network.slow_down(MIB)
    upload.choose(*[make_file(f"slow {number}.bin", 4 * MIB) for number in range(12)])
    upload.wait_for_progress("slow 0.bin")
    expect(upload.in_state("waiting").first).to_be_visible()
    upload.group(1).get_by_role("button", name="Cancel all").click()
    upload.page.get_by_role("dialog").get_by_role("button", name="Cancel all").click()
    expect(upload.group(1)).to_contain_text("12 cancelled")
    assert facts_of(upload, upload.batch_link(1))["status"] == "cancelled"
    upload.network.slow_down(0)
    upload.expect_state("slow.bin", "done")
    assert facts_of(upload, upload.batch_link(0))["status"] == "completed"


def test_a_batch_of_which_a_part_was_cancelled_is_never_said_to_be_complete(
    open_page: OpenPage, make_file: MakeFile
) -> None:
    upload = open_page()
    upload.network.slow_down(MIB)
    upload.choose(make_file("small.bin", 1000), make_file("large.bin", 8 * MIB), make_file("larger.bin", 8 * MIB))
    upload.expect_state("small.bin", "done")
    upload.group().get_by_role("button", name="Cancel all").click()
    dialog = upload.page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Keep them")).to_be_visible()
    dialog.get_by_role("button", name="Cancel all").click()
    expect(upload.group()).to_contain_text("1 complete · 2 cancelled")
    expect(upload.group()).to_contain_text("You can share this link: 1 of these files can be downloaded from it.")
    expect(upload.page.locator("#announcer")).to_contain_text("3 files: 1 complete · 2 cancelled.")


def test_after_a_reload_in_the_middle_the_link_is_there_and_only_what_is_missing_is_sent(
    open_page: OpenPage, make_file: MakeFile
) -> None:
    upload = open_page()
    files = [make_file("early.bin", 1000), make_file("late.bin", 24 * MIB), make_file("later.bin", 24 * MIB)]
    upload.network.slow_down(4 * MIB)
    upload.choose(*files)
    upload.expect_state("early.bin", "done")
    upload.wait_for_progress("later.bin", 100)
    link = upload.batch_link()
    upload.page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    upload.page.reload()
    unfinished = upload.page.locator("ddx-unfinished")
    expect(unfinished).to_contain_text("2 of 3 files are not finished.")
    expect(unfinished.locator("a.batch-link")).to_have_attribute("href", link)
    expect(unfinished).to_contain_text("percent sent")
    announced: list[str] = []
    upload.page.on("request", lambda request: announced.append(request.url) if "initiate" in request.url else None)
    upload.network.slow_down(0)
    upload.choose(*files)
    expect(unfinished).to_be_hidden()
    assert upload.batch_link() == link
    expect(upload.in_state("done")).to_have_count(3)
    assert announced == []
    facts = facts_of(upload, link)
    assert facts["status"] == "completed"
    for file, known in zip(files, facts["files"], strict=True):
        assert sha256_behind(f"{upload.url}{known['download_url']}") == sha256_of(file)
    assert upload.page.evaluate("Object.keys(localStorage).length") == 0


def test_refused_files_are_named_and_the_others_are_sent_when_somebody_says_so(
    start_server: Callable[..., ServerProcess],
    network_to: Callable[[ServerProcess], Network],
    new_context: Callable[..., BrowserContext],
    make_file: MakeFile,
) -> None:
    server = start_server(ENVIRONMENT="staging", ENABLE_UPLOAD_LIMITS="true")
    upload = UploadPage(new_context().new_page(), network_to(server)).open()
    huge = make_file("huge.iso", 0)
    with huge.open("r+b") as file:
        file.truncate(3 * 1024 * MIB)  # sparse: it takes no room
    upload.choose(make_file("a.txt", 1000), huge, make_file("saver.scr", 1000), make_file("b.txt", 1000))
    upload.expect_state("huge.iso", "refused")
    expect(upload.row("saver.scr")).to_contain_text("Files of the type “.scr” are not accepted here.")
    expect(upload.row("huge.iso")).to_contain_text("it is 3 GiB, and a file may be 2 GiB at most")
    expect(upload.group()).to_contain_text("2 files were refused, so none of them was sent yet.")
    expect(upload.in_state("held")).to_have_count(2)
    upload.button("Send the other 2 files").click()
    expect(upload.in_state("done")).to_have_count(2)
    assert [known["filename"] for known in facts_of(upload, upload.batch_link())["files"]] == ["a.txt", "b.txt"]
    expect(upload.group()).to_contain_text("You can share this link: 2 of these files can be downloaded from it.")
    upload.expect_state("huge.iso", "refused")


def test_what_does_not_fit_into_the_day_is_left_out_with_the_time_when_it_will(
    start_server: Callable[..., ServerProcess],
    network_to: Callable[[ServerProcess], Network],
    new_context: Callable[..., BrowserContext],
    make_file: MakeFile,
) -> None:
    network = network_to(start_server(ENVIRONMENT="staging", ENABLE_UPLOAD_LIMITS="true"))
    upload = UploadPage(new_context(timezone_id="Asia/Kolkata").new_page(), network).open()
    network.slow_down(MIB)
    files = [make_file("one.iso", 0), make_file("two.iso", 0), make_file("small.txt", 1000)]
    for file in files[:2]:
        with file.open("r+b") as sparse:
            sparse.truncate(1536 * MIB)
    upload.choose(*files)
    upload.expect_state("two.iso", "refused")
    expect(upload.row("two.iso")).to_contain_text("It is more than is left for today. The count starts anew at 05:30.")
    expect(upload.group()).to_contain_text("2 GiB of 2 GiB")
    upload.button("Send the other 2 files").click()
    upload.expect_state("small.txt", "done")
    expect(upload.page.locator("ddx-quota")).to_contain_text("1.5 GiB of 2 GiB used today")
    upload.button("Cancel one.iso").click()


def test_a_file_deleted_below_loses_its_link_above_and_its_batch_is_one_click_away(
    open_page: OpenPage, make_file: MakeFile
) -> None:
    upload = open_page()
    upload.choose(make_file("keep.txt", 1000), make_file("regret.txt", 1000))
    expect(upload.in_state("done")).to_have_count(2)
    mine = upload.page.locator("ddx-my-files")
    mine.locator("summary").click()
    together = mine.get_by_role("link", name="2 files: keep.txt and 1 more")
    expect(together).to_have_attribute("href", upload.batch_link())
    expect(mine.locator(".batch-line")).to_contain_text(re.compile(r"sent \d+ \w+ \d{4}, \d\d:\d\d"))
    upload.button("Delete regret.txt").click()
    upload.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    upload.expect_state("regret.txt", "deleted")
    expect(upload.row("regret.txt").locator("a")).to_have_count(0)
    upload.page.goto(upload.batch_link())
    expect(upload.page.get_by_text("Not all files are here")).to_be_visible()
    expect(upload.page.locator(".missing")).to_have_text("A deleted file · Deleted")


def test_one_of_many_files_is_found_by_its_name_and_all_are_called_by_the_first(
    open_page: OpenPage, make_file: MakeFile, new_context: Callable[..., BrowserContext]
) -> None:
    upload = open_page()
    upload.choose(*[make_file(f"scan {number:02}.pdf", 10) for number in range(30)])
    expect(upload.in_state("done")).to_have_count(30)
    items = upload.page.request.get(f"{upload.url}/api/v1/files").json()["items"]
    parts = {"": {"items": items[:20], "next": "second"}, "second": {"items": items[20:], "next": None}}
    upload.page.route("**/api/v1/files*", lambda route: route.fulfill(json=parts[route.request.url.partition("=")[2]]))
    mine = upload.page.locator("ddx-my-files")
    mine.locator("summary").click()
    expect(mine.get_by_role("link", name="scan 00.pdf and more")).to_be_visible()
    upload.button("Show more").click()
    expect(mine.locator(".batch-line a")).to_have_text("30 files: scan 00.pdf and 29 more")
    page = new_context().new_page()
    page.goto(upload.batch_link())
    page.get_by_label("Find a file").fill("SCAN 17")
    expect(page.locator("[data-file]:visible")).to_have_count(1)
    expect(page.get_by_text("1 of 30 shown")).to_be_visible()
    page.get_by_label("Find a file").fill("")
    expect(page.locator("[data-file]:visible")).to_have_count(30)


def test_a_page_that_waits_for_files_outlives_a_server_that_is_away(
    open_page: OpenPage, make_file: MakeFile, server: ServerProcess, new_context: Callable[..., BrowserContext]
) -> None:
    upload = open_page()
    upload.network.slow_down(2 * MIB)
    upload.choose(make_file("one.bin", 8 * MIB), make_file("two.bin", 8 * MIB))
    page = new_context().new_page()
    page.goto(upload.batch_link())
    with page.expect_event("requestfailed"):
        server.stop()
    server.restart()
    upload.network.slow_down(0)
    expect(page.locator(".folder").get_by_role("link", name="Download")).to_have_count(2)
