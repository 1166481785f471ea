"""How the page answers what a server may say on the socket (wire.md), with a server of the test's own making.

Announcements go to the real program; only the socket is played.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from devtools.server_process import ServerProcess
from tests.browser.conftest import MIB, UploadPage, until
from tests.browser.played import PATIENT, WINDOW, PlayedServer, payload, problem

OpenPage = Callable[..., UploadPage]


@pytest.fixture
def server(announcing_server: ServerProcess) -> ServerProcess:
    """No socket ever reaches it."""
    return announcing_server


def test_the_token_is_in_the_first_message_and_in_no_address(open_page: OpenPage) -> None:
    upload = open_page()
    server = PlayedServer(upload, 1000)
    with upload.page.expect_response("**/api/v1/upload/initiate") as announced:
        upload.choose(payload("a.bin", 1000))
    upload.expect_state("a.bin", "done")
    token = announced.value.json()["upload_token"]
    assert server.said[0] == {"type": "start", "token": token}
    assert token not in server.connections[0].url


def test_never_more_than_a_window_is_sent_beyond_what_was_received(open_page: OpenPage) -> None:
    def no_progress(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if isinstance(heard, bytes):
            assert len(heard) <= MIB
            server.data += heard
            return True
        return False

    upload = open_page()
    server = PlayedServer(upload, 14 * MIB, no_progress)
    upload.choose(payload("a.bin", 14 * MIB))
    until(upload.page, lambda: len(server.data) >= WINDOW)
    for received in (1 * MIB, 2 * MIB, 5 * MIB):
        server.say(server.connections[0], type="progress", value=1, received=received, stored=received, rate=1)
        until(upload.page, lambda received=received: len(server.data) >= received + WINDOW)
        upload.page.evaluate("document.body.offsetHeight")  # a round trip: what was sent has arrived
        assert len(server.data) == received + WINDOW
    assert "finish" not in server.types()


def test_the_bar_shows_what_is_stored_not_what_was_sent(open_page: OpenPage) -> None:
    def received_but_not_stored(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if not isinstance(heard, bytes):
            return heard["type"] == "finish"  # not answered, so that it stays as it is
        server.data += heard
        server.say(socket, type="progress", value=25, received=len(server.data), stored=MIB, rate=1)
        return True

    upload = open_page()
    server = PlayedServer(upload, 4 * MIB, received_but_not_stored)
    upload.choose(payload("a.bin", 4 * MIB))
    until(upload.page, lambda: len(server.data) == 4 * MIB)
    upload.wait_for_progress("a.bin", 250)
    assert upload.row("a.bin").locator("progress").evaluate("bar => bar.value") == 250
    expect(upload.row("a.bin")).to_contain_text("1 MiB of 4 MiB")


def test_after_a_rewind_it_resumes_from_there_and_finishes_again(open_page: OpenPage) -> None:
    file = payload("a.bin", 12 * MIB)

    def rewind_once(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if isinstance(heard, dict) and heard["type"] == "finish" and server.types().count("finish") == 1:
            server.data, server.dropping = server.data[: 5 * MIB], True
            server.say(socket, type="rewind", offset=5 * MIB, reason="storage_lost")
            return True
        return False

    upload = open_page()
    server = PlayedServer(upload, 12 * MIB, rewind_once)
    upload.choose(file)
    upload.expect_state("a.bin", "done")
    assert server.types() == ["start", "finish", "resume", "finish"]
    assert server.data == file["buffer"]


def test_whoever_sends_again_is_told_why_until_it_is_made_good(open_page: OpenPage) -> None:
    file = payload("a.bin", 4 * MIB)
    resumes: list[WebSocketRoute] = []

    def lose_everything(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if isinstance(heard, dict) and heard["type"] == "finish" and not resumes:
            server.data, server.dropping = b"", True
            server.say(socket, type="rewind", offset=0, reason="storage_unavailable")
            return True
        if isinstance(heard, dict) and heard["type"] == "resume":
            resumes.append(socket)
            return len(resumes) == 1  # what comes after the first is dropped, so that the page stays as it is
        return False

    upload = open_page()
    server = PlayedServer(upload, 4 * MIB, lose_everything)
    upload.choose(file)
    why = "The storage failed in the middle. The file is sent again from its beginning."
    expect(upload.row("a.bin")).to_contain_text(why)
    expect(upload.page.get_by_role("status")).to_contain_text(f"a.bin: {why}")
    server.say(resumes[0], type="rewind", offset=0, reason="storage_unavailable")
    upload.expect_state("a.bin", "done")
    expect(upload.row("a.bin")).not_to_contain_text(why)
    assert server.data == file["buffer"]


def test_what_an_earlier_visit_sent_is_in_the_digest_too(open_page: OpenPage) -> None:
    file = payload("a.bin", 24 * MIB + 1)
    upload = open_page()
    server = PlayedServer(upload, 24 * MIB + 1)
    server.data = file["buffer"][: 9 * MIB + 5]
    upload.choose(file)
    upload.expect_state("a.bin", "done")
    assert server.data == file["buffer"]
    assert "finish" in server.types()  # which the played server believes only with the digest of the whole file


def test_a_browser_that_cannot_read_into_memory_of_ones_own_sends_the_same_bytes(open_page: OpenPage) -> None:
    file = payload("a.bin", 11 * MIB + 7)
    upload = open_page()
    upload.page.evaluate(
        """() => {
          const getReader = ReadableStream.prototype.getReader;
          ReadableStream.prototype.getReader = function (options) {
            if (options) throw new TypeError("no such mode");
            return getReader.call(this);
          };
        }"""
    )
    server = PlayedServer(upload, 11 * MIB + 7)
    upload.choose(file)
    upload.expect_state("a.bin", "done")
    assert server.data == file["buffer"]


def test_an_admins_pause_is_told_and_the_next_ready_answered_with_resume(open_page: OpenPage) -> None:
    file = payload("a.bin", 12 * MIB)

    def pause_once(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if isinstance(heard, bytes) and len(server.data) == 3 * MIB and not server.dropping:
            server.dropping = True
            server.say(socket, **PATIENT | {"waiting_for": "paused"})
            return True
        return False

    upload = open_page()
    server = PlayedServer(upload, 12 * MIB, pause_once)
    upload.choose(file)
    expect(upload.row("a.bin")).to_contain_text("Paused by an administrator")
    server.plot = lambda *_: False
    server.ready(server.connections[0])
    upload.expect_state("a.bin", "done")
    assert server.said[1] == {"type": "resume", "offset": 3 * MIB}
    assert server.data == file["buffer"]


def test_a_place_in_line_is_shown_as_it_changes(open_page: OpenPage) -> None:
    def line(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if isinstance(heard, dict) and heard["type"] == "start":
            server.say(socket, **PATIENT | {"position": 7, "eta_seconds": 130})
            return True
        return False

    upload = open_page()
    server = PlayedServer(upload, 1000, line)
    upload.choose(payload("a.bin", 1000))
    row = upload.row("a.bin")
    expect(row).to_contain_text("Number 7 in line · about 2 min 10 s")
    server.say(server.connections[0], **PATIENT | {"position": 2, "waiting_for": "memory"})
    expect(row).to_contain_text("Number 2 in line · the server is short of memory")
    server.say(server.connections[0], **PATIENT | {"waiting_for": "storage", "eta_seconds": 5 * 3600})
    expect(row).to_contain_text("Waiting until the storage has room again · about 5 h 0 min")
    server.ready(server.connections[0])
    upload.expect_state("a.bin", "done")


def test_an_upload_taken_over_elsewhere_says_so_and_does_not_fight_for_it(open_page: OpenPage) -> None:
    def take_over(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if len(server.connections) == 1:
            server.refuse(socket, "superseded", 4409, False)
            return True
        return False

    upload = open_page()
    upload.page.clock.install()
    server = PlayedServer(upload, 1000, take_over)
    upload.choose(payload("a.bin", 1000))
    upload.expect_state("a.bin", "elsewhere")
    upload.page.clock.run_for(120_000)
    upload.expect_state("a.bin", "elsewhere")
    assert len(server.connections) == 1
    upload.button("Go on here").click()
    upload.page.clock.run_for(5_000)
    upload.expect_state("a.bin", "done")


@pytest.mark.parametrize("code", ["forbidden", "flow_violation", "size_exceeded", "checksum_mismatch", "gone"])
def test_what_cannot_be_mended_by_trying_again_is_said_and_left(open_page: OpenPage, code: str) -> None:
    def refuse(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        server.refuse(socket, code, 1008, False)
        return True

    upload = open_page()
    upload.page.clock.install()
    server = PlayedServer(upload, 1000, refuse)
    upload.choose(payload("a.bin", 1000))
    upload.expect_state("a.bin", "failed")
    upload.page.clock.run_for(120_000)
    upload.expect_state("a.bin", "failed")
    expect(upload.row("a.bin")).to_contain_text(f"About {code}.")
    assert len(server.connections) == 1


def test_after_a_failure_that_ended_the_upload_another_try_is_a_new_one(open_page: OpenPage) -> None:
    def refuse_first(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if len(server.connections) == 1:
            server.refuse(socket, "checksum_mismatch", 1008, False)
            return True
        return False

    upload = open_page()
    server = PlayedServer(upload, 1000, refuse_first)
    upload.choose(payload("a.bin", 1000))
    upload.expect_state("a.bin", "failed")
    upload.button("Try a.bin again").click()
    upload.expect_state("a.bin", "done")
    first, second = (socket.url.rpartition("/")[2] for socket in server.connections)
    assert first != second


@pytest.mark.parametrize(
    ("close", "code"),
    [
        (1001, ""),
        (1006, ""),
        (1011, "internal"),
        (1012, "server_restart"),
        (1013, "storage_unavailable"),
        (4408, "idle_timeout"),
    ],
)
@pytest.mark.parametrize("with_message", [True, False])
def test_a_loss_that_passes_is_told_and_mended_by_itself(
    open_page: OpenPage, close: int, code: str, with_message: bool
) -> None:
    file = payload("a.bin", 4 * MIB)

    def lose_once(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if len(server.connections) == 1 and len(server.data) == 2 * MIB:
            if with_message and code:
                server.refuse(socket, code, close, True, retry_after=None)
            else:
                socket.close(code=close, reason=code)
            return True
        return len(server.connections) == 1 and len(server.data) > 2 * MIB

    upload = open_page()
    upload.page.clock.install()
    server = PlayedServer(upload, 4 * MIB, lose_once)
    upload.choose(file)
    until(upload.page, lambda: len(server.data) == 2 * MIB)
    upload.page.clock.run_for(300)
    expect(upload.row("a.bin")).to_contain_text("Trying again in")
    if with_message and code:
        expect(upload.row("a.bin")).to_contain_text(f"About {code}.")
    upload.page.clock.run_for(1_500)
    until(upload.page, lambda: "finish" in server.types())
    upload.page.clock.run_for(1_000)
    upload.expect_state("a.bin", "done")
    assert len(server.connections) == 2
    assert server.data == file["buffer"]


def test_the_pauses_between_tries_grow_and_the_servers_own_is_kept(open_page: OpenPage) -> None:
    waits: list[int | None] = [None, None, None, None, 60]

    def refuse(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        server.refuse(socket, "storage_full", 1013, True, retry_after=waits[len(server.connections) - 1])
        return True

    upload = open_page()
    upload.page.clock.install()
    server = PlayedServer(upload, 1000, refuse)
    upload.choose(payload("a.bin", 1000))
    pauses = []
    for count in range(1, 6):
        until(upload.page, lambda count=count: len(server.connections) == count)
        upload.page.clock.run_for(250)  # the row has its words
        elapsed = 250
        while count < 5 and len(server.connections) == count:
            upload.page.clock.run_for(250)
            elapsed += 250
        pauses.append(elapsed)
    assert pauses[3] > 2 * pauses[0]
    expect(upload.row("a.bin")).to_contain_text("Trying again in 1 min")


def test_the_online_event_brings_a_lost_upload_back_at_once(open_page: OpenPage) -> None:
    def lose(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if len(server.connections) == 1:
            server.refuse(socket, "storage_unavailable", 1013, True, retry_after=300)
            return True
        return False

    upload = open_page()
    PlayedServer(upload, 1000, lose)
    upload.choose(payload("a.bin", 1000))
    upload.expect_state("a.bin", "lost")
    upload.page.evaluate("dispatchEvent(new Event('online'))")
    upload.expect_state("a.bin", "done")


def test_when_one_lost_upload_is_back_the_others_come_at_once(open_page: OpenPage) -> None:
    away = True

    def be_away(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if away:
            socket.close(code=1001)
        elif isinstance(heard, dict):
            server.say(socket, **PATIENT)
        return True

    upload = open_page()
    upload.page.clock.install()
    PlayedServer(upload, 1, be_away)
    upload.choose(*[payload(f"{number}.bin", 1) for number in range(5)])
    pauses = upload.page.locator('ddx-upload-row[data-state="lost"] .state', has_text=re.compile(r"\d\d s"))
    until(upload.page, lambda: upload.page.clock.run_for(1_000) or pauses.count() == 5)
    away = False
    until(upload.page, lambda: upload.page.clock.run_for(200) or upload.in_state("queued").count())
    upload.page.clock.run_for(600)
    expect(upload.in_state("queued")).to_have_count(5)


def test_incomplete_makes_it_come_back_for_the_true_offset(open_page: OpenPage) -> None:
    file = payload("a.bin", 4 * MIB)

    def forget_some(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if isinstance(heard, dict) and heard["type"] == "finish" and len(server.connections) == 1:
            server.data = server.data[:MIB]
            server.say(socket, type="error", code="incomplete", value="Not all.", retryable=True, retry_after=None)
            return True
        return False

    upload = open_page()
    server = PlayedServer(upload, 4 * MIB, forget_some)
    upload.choose(file)
    upload.expect_state("a.bin", "done")
    assert server.data == file["buffer"]


def test_a_connection_that_falls_silent_is_replaced(open_page: OpenPage) -> None:
    file = payload("a.bin", 12 * MIB)

    def fall_silent(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        return len(server.connections) == 1 and isinstance(heard, bytes)

    upload = open_page()
    upload.page.clock.install()
    server = PlayedServer(upload, 12 * MIB, fall_silent)
    upload.choose(file)
    until(upload.page, lambda: server.said)
    upload.page.clock.run_for(50_000)
    until(upload.page, lambda: len(server.connections) == 2 and "finish" in server.types())
    upload.page.clock.run_for(1_000)
    upload.expect_state("a.bin", "done")
    assert server.data == file["buffer"]


def test_a_file_changed_on_disk_is_not_sent_on_but_asked_for_again(open_page: OpenPage, tmp_path: Path) -> None:
    path = tmp_path / "draft.txt"
    path.write_bytes(os.urandom(12 * MIB))

    def stop_in_the_middle(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        return isinstance(heard, bytes) and len(server.connections) == 1

    upload = open_page()
    server = PlayedServer(upload, 12 * MIB, stop_in_the_middle)
    upload.choose(path)
    upload.expect_state(path.name, "uploading")
    path.write_bytes(b"another text")
    os.utime(path, (1, 1))
    server.connections[0].close(code=1012, reason="server_restart")
    upload.expect_state(path.name, "unreadable")
    expect(upload.row(path.name)).to_contain_text("changed, moved or removed")
    server.size = path.stat().st_size
    with upload.page.expect_file_chooser() as chooser:
        upload.button("Choose the file").click()
    chooser.value.set_files(path)
    upload.expect_state(path.name, "done")
    assert server.data == b"another text"


def test_a_lost_answer_to_an_announcement_makes_no_second_file(open_page: OpenPage) -> None:
    keys, answers = [], []

    def lose_the_first_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        response = route.fetch()
        answers.append(response.json()["file_id"])
        if len(keys) == 1:
            route.abort()
        else:
            route.fulfill(response=response)

    upload = open_page()
    upload.page.route("**/api/v1/upload/initiate", lose_the_first_answer)
    PlayedServer(upload, 1000)
    upload.choose(payload("a.bin", 1000))
    upload.expect_state("a.bin", "done")
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(("code", "status"), [("storage_unavailable", 503), ("internal", 500)])
def test_an_announcement_refused_for_a_moment_is_made_again(open_page: OpenPage, code: str, status: int) -> None:
    upload = open_page()
    upload.page.route("**/api/v1/upload/initiate", problem(code, status, True, retry_after=1), times=1)
    PlayedServer(upload, 1000)
    upload.choose(payload("a.bin", 1000))
    expect(upload.row("a.bin")).to_contain_text(f"About {code}. Trying again in")
    upload.expect_state("a.bin", "done")


def test_a_days_limit_is_told_with_its_numbers_and_not_tried_all_night(open_page: OpenPage) -> None:
    numbers = {"limit": 2048 * MIB, "used": 1536 * MIB, "reserved": 256 * MIB, "remaining": 256 * MIB}
    upload = open_page()
    refusal = problem("daily_limit_exceeded", 429, True, retry_after=5 * 3600, unit="bytes", **numbers)
    upload.page.route("**/api/v1/upload/initiate", refusal)
    upload.choose(payload("a.bin", 1000))
    upload.expect_state("a.bin", "failed")
    sentence = (
        r"This is more than is left for today: 256 MiB of 2 GiB\. "
        r"The other 1\.75 GiB were sent today or are on their way\. The count starts anew at \d\d:\d\d\."
    )
    expect(upload.row("a.bin")).to_contain_text(re.compile(sentence))
    expect(upload.button("Try a.bin again")).to_be_visible()


def test_five_hundred_files_wait_their_turn_and_the_page_stays_quick(open_page: OpenPage) -> None:
    def keep_waiting(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        server.say(socket, **PATIENT)
        return True

    upload = open_page()
    server = PlayedServer(upload, 10, keep_waiting)
    upload.choose(*[payload(f"file {number:03}.bin", 10) for number in range(500)])
    expect(upload.in_state("queued")).to_have_count(8)
    expect(upload.in_state("waiting")).to_have_count(100)
    expect(upload.group()).to_contain_text("8 in line · 492 waiting on this device")
    expect(upload.group()).to_contain_text("392 more wait on this device")
    assert len(server.connections) == 8


def test_files_dropped_anywhere_on_the_page_are_taken(open_page: OpenPage) -> None:
    upload = open_page()
    PlayedServer(upload, 5)
    upload.page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["hello"], "dropped.txt"));
          for (const type of ["dragenter", "dragover", "drop"]) {
            document.querySelector("footer").dispatchEvent(
              new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
          }
        }"""
    )
    upload.expect_state("dropped.txt", "done")
    assert upload.page.evaluate("document.body.className") == ""


def test_the_files_of_a_dropped_folder_are_all_found_with_their_folders(open_page: OpenPage) -> None:
    upload = open_page()
    found = upload.page.evaluate(
        """async () => {
          const {droppedFiles} = await import("/static/uploads/js/dropped.js");
          const file = (name) => ({isFile: true, name, file: (take) => take(new File(["x"], name))});
          const folder = (name, children) => ({isFile: false, name, createReader: () => {
            const parts = [children.slice(0, 100), children.slice(100), []];  // as browsers do: a hundred a call
            return {readEntries: (take) => take(parts.shift())};
          }});
          const many = Array.from({length: 150}, (_, number) => file(`${number}.bin`));
          const broken = {isFile: true, name: "broken", file: (take, fail) => fail(new Error())};
          const locked = {isFile: false, name: "locked", createReader: () => ({readEntries: (_, fail) => fail()})};
          const root = folder("top", [file("a.txt"), folder("many", many), broken, locked]);
          const items = [{webkitGetAsEntry: () => root}, {webkitGetAsEntry: () => file("b.txt")}];
          const {files, unreadable} = await droppedFiles({items, files: []});
          return {names: files.map(({file, path}) => `${path}/${file.name}`), unreadable};
        }"""
    )
    assert len(found["names"]) == 152
    assert {"top/a.txt", "/b.txt", "top/many/0.bin", "top/many/149.bin"} <= set(found["names"])
    assert found["unreadable"] == ["top/broken", "top/locked"]
