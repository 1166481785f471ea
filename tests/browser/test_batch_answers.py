"""How the page answers what a server may say of a batch, or to everything at once; sockets and refusals are played."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from devtools.server_process import ServerProcess
from tests.browser.conftest import UploadPage, until
from tests.browser.played import PATIENT, PlayedServer, payload, problem

OpenPage = Callable[..., UploadPage]


@pytest.fixture
def server(announcing_server: ServerProcess) -> ServerProcess:
    """No socket ever reaches it."""
    return announcing_server


def succeed(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
    """Any upload is complete as soon as it says `start`."""
    if isinstance(heard, dict) and heard["type"] == "start":
        file_id = socket.url.rpartition("/")[2]
        digest = "ab" * 32
        server.say(socket, type="success", value="/", file_id=file_id, size=1, sha256=digest, share_url="http://x/f/1")
        socket.close(code=1000)
    return True


def wait_in_line(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
    if isinstance(heard, dict) and heard["type"] == "start":
        server.say(socket, **PATIENT)
    return True


def drop(upload: UploadPage, count: int) -> None:
    """Files made in the page itself, as many as one likes."""
    upload.page.evaluate(
        """(count) => {
          const transfer = new DataTransfer();
          for (let number = 0; number < count; number += 1) transfer.items.add(new File(["x"], `file ${number}.bin`));
          document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        count,
    )


def test_only_the_failed_files_are_tried_again_and_what_has_no_way_back_is_a_new_upload(open_page: OpenPage) -> None:
    ids: dict[str, str] = {}
    started: list[str] = []

    def fail_two(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        file_id = socket.url.rpartition("/")[2]
        if heard["type"] == "start":
            started.append(file_id)
        if file_id == ids["corrupted.bin"] or (file_id == ids["rude.bin"] and started.count(file_id) == 1):
            code = "checksum_mismatch" if file_id == ids["corrupted.bin"] else "flow_violation"
            server.refuse(socket, code, 1008, False)
            return True
        return succeed(server, socket, heard)

    def remember(route: Route) -> None:
        response = route.fetch()
        ids.update({file["filename"]: file["file_id"] for file in response.json()["files"]})
        route.fulfill(response=response)

    upload = open_page()
    upload.page.route("**/api/v1/batch/initiate", remember)
    PlayedServer(upload, 1, fail_two)
    upload.choose(*[payload(name, 1) for name in ("fine.bin", "corrupted.bin", "rude.bin")])
    expect(upload.in_state("failed")).to_have_count(2)
    upload.expect_state("fine.bin", "done")
    before = len(started)
    upload.button("Retry failed").click()
    expect(upload.in_state("done")).to_have_count(3)
    new = started[before:]
    assert ids["rude.bin"] in new
    assert not {ids["fine.bin"], ids["corrupted.bin"]} & set(new)
    expect(upload.row("corrupted.bin")).to_contain_text("A new upload, with a link of its own")
    expect(upload.row("rude.bin")).not_to_contain_text("A new upload")


@pytest.mark.parametrize(("code", "status"), [("rate_limited", 429), ("maintenance", 503), ("queue_full", 503)])
def test_a_pause_that_the_server_asks_for_is_the_pages_and_ends_by_itself(
    open_page: OpenPage, code: str, status: int
) -> None:
    upload = open_page()
    upload.page.clock.install()
    upload.page.route("**/api/v1/batch/initiate", problem(code, status, True, retry_after=20), times=1)
    PlayedServer(upload, 1, succeed)
    upload.choose(payload("a.bin", 1), payload("b.bin", 1))
    notice = upload.page.locator("ddx-hold")
    expect(notice).to_contain_text(f"About {code}.")
    upload.page.clock.run_for(2_000)
    expect(notice).to_contain_text("It goes on by itself in")
    expect(upload.in_state("waiting")).to_have_count(2)
    upload.choose(payload("c.bin", 1))
    upload.page.clock.run_for(1_000)
    upload.expect_state("c.bin", "waiting")
    upload.page.clock.run_for(25_000)
    until(upload.page, lambda: upload.page.clock.run_for(300) or upload.in_state("done").count() == 3)
    expect(notice).to_be_hidden()


def test_maintenance_that_is_over_sooner_than_was_said_keeps_nobody_waiting(open_page: OpenPage) -> None:
    upload = open_page()
    upload.page.clock.install()
    shut = problem("maintenance", 503, True, retry_after=8 * 3600)
    upload.page.route("**/api/v1/batch/initiate", shut, times=1)
    upload.page.route("**/api/v1/upload/quota-info", shut)
    PlayedServer(upload, 1, succeed)
    upload.choose(payload("a.bin", 1), payload("b.bin", 1))
    notice = upload.page.locator("ddx-hold")
    expect(notice).to_contain_text("It goes on by itself at")
    for _ in range(4):
        with upload.page.expect_response("**/api/v1/upload/quota-info"):
            upload.page.clock.run_for(30_000)
    expect(notice).to_be_visible()
    upload.page.unroute("**/api/v1/upload/quota-info")
    until(upload.page, lambda: upload.page.clock.run_for(1_000) or upload.in_state("done").count() == 2)
    expect(notice).to_be_hidden()


def test_a_pause_told_on_the_sockets_is_no_failure_of_the_files(open_page: OpenPage) -> None:
    refused: list[str] = []

    def refuse_some(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        if len(refused) < 8:
            refused.append(socket.url)
            server.refuse(socket, "rate_limited", 1013, True, retry_after=30)
            return True
        return succeed(server, socket, heard)

    upload = open_page()
    server = PlayedServer(upload, 1, refuse_some)
    upload.choose(*[payload(f"{number}.bin", 1) for number in range(12)])
    expect(upload.page.locator("ddx-hold")).to_contain_text("About rate_limited.")
    expect(upload.in_state("waiting")).to_have_count(12)
    assert len(server.connections) <= 8
    upload.page.locator("ddx-hold").get_by_role("button", name="Try now").click()
    expect(upload.in_state("done")).to_have_count(12)


def test_blocked_files_are_named_with_the_reason_and_the_others_can_be_sent(open_page: OpenPage) -> None:
    sent: list[list[str]] = []

    def refuse_programs(route: Route) -> None:
        names = [file["filename"] for file in json.loads(route.request.post_data or "")["files"]]
        sent.append(names)
        errors = [
            {"field": f"files.{index}.filename", "reason": "Programs are not accepted."}
            for index, name in enumerate(names)
            if name.endswith(".exe")
        ]
        if errors:
            problem("file_type_blocked", 415, False, errors=errors)(route)
        else:
            route.continue_()

    upload = open_page()
    upload.page.route("**/api/v1/batch/initiate", refuse_programs)
    PlayedServer(upload, 1, succeed)
    upload.choose(*[payload(name, 1) for name in ("a.txt", "virus.exe", "b.txt", "worse.exe")])
    expect(upload.in_state("refused")).to_have_count(2)
    expect(upload.row("virus.exe")).to_contain_text("Programs are not accepted.")
    expect(upload.row("virus.exe").get_by_role("button", name="again")).to_have_count(0)
    expect(upload.group()).to_contain_text("2 files were refused")
    upload.button("Send the other 2 files").click()
    expect(upload.in_state("done")).to_have_count(2)
    assert sent == [["a.txt", "virus.exe", "b.txt", "worse.exe"], ["a.txt", "b.txt"]]


def test_a_person_who_may_not_send_is_told_so_once_for_all_files(open_page: OpenPage) -> None:
    calls: list[str] = []
    upload = open_page()
    upload.page.on("request", lambda request: calls.append(request.url) if "initiate" in request.url else None)
    upload.page.clock.install()
    upload.page.route("**/api/v1/batch/initiate", problem("forbidden", 403, False))
    upload.choose(*[payload(f"{number}.bin", 1) for number in range(5)])
    expect(upload.group()).to_contain_text("About forbidden.")
    expect(upload.group().get_by_role("button", name="again")).to_have_count(0)
    upload.page.clock.run_for(600_000)
    assert len(calls) == 1
    expect(upload.in_state("refused")).to_have_count(5)


def test_a_person_who_is_barred_on_the_way_does_not_knock_for_every_file(open_page: OpenPage) -> None:
    def bar(server: PlayedServer, socket: WebSocketRoute, heard: Any) -> bool:
        server.refuse(socket, "forbidden", 1008, False)
        return True

    upload = open_page()
    server = PlayedServer(upload, 1, bar)
    drop(upload, 150)
    expect(upload.group()).to_contain_text("refused")
    expect(upload.in_state("waiting")).to_have_count(0)
    expect(upload.row("file 149.bin")).to_contain_text("About forbidden.")
    assert len(server.connections) <= 8


def test_a_lost_answer_to_a_batch_makes_no_second_one(open_page: OpenPage) -> None:
    keys, answers = [], []

    def lose_the_first_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        response = route.fetch()
        answers.append(response.json()["batch_id"])
        if len(keys) == 1:
            route.abort()
        else:
            route.fulfill(response=response)

    upload = open_page()
    upload.page.route("**/api/v1/batch/initiate", lose_the_first_answer)
    PlayedServer(upload, 1, succeed)
    upload.choose(payload("a.bin", 1), payload("b.bin", 1))
    expect(upload.in_state("done")).to_have_count(2)
    assert keys[0] == keys[1]
    assert answers[0] == answers[1]
    assert upload.batch_link().endswith(answers[0])


def test_a_file_cancelled_while_its_batch_is_announced_is_cancelled_at_the_server_too(open_page: OpenPage) -> None:
    held: list[Route] = []
    upload = open_page()
    upload.page.route("**/api/v1/batch/initiate", lambda route: held.append(route))
    PlayedServer(upload, 1, succeed)
    upload.choose(payload("wanted.bin", 1), payload("mistake.bin", 1))
    until(upload.page, lambda: held)
    upload.button("Cancel mistake.bin").click()
    with upload.page.expect_response("**/api/v1/upload/cancel/*") as cancelled:
        held[0].continue_()
    assert cancelled.value.ok
    upload.expect_state("wanted.bin", "done")
    upload.expect_state("mistake.bin", "cancelled")


def test_fifteen_hundred_files_become_two_batches_and_the_second_waits_until_its_turn_nears(
    open_page: OpenPage,
) -> None:
    announced: list[dict[str, Any]] = []
    upload = open_page()
    upload.page.on(
        "request",
        lambda request: announced.append(json.loads(request.post_data or "")) if "initiate" in request.url else None,
    )
    PlayedServer(upload, 1, wait_in_line)
    drop(upload, 1500)
    expect(upload.in_state("queued")).to_have_count(8)
    expect(upload.group(0)).to_contain_text("Part 1 of 2")
    expect(upload.group(0).locator("a.batch-link")).to_be_visible()
    expect(upload.group(1)).to_contain_text("Part 2 of 2")
    expect(upload.group(0)).to_contain_text("each of the 2 parts has its own")
    expect(upload.group(1)).to_contain_text("500 waiting on this device")
    expect(upload.group(1)).to_contain_text("The link comes when the turn of these files nears.")
    assert [len(body["files"]) for body in announced] == [1000]
    upload.group(0).get_by_role("button", name="Cancel all").click()
    upload.page.get_by_role("dialog").get_by_role("button", name="Cancel all").click()
    expect(upload.group(1).locator("a.batch-link")).to_be_visible()
    assert [len(body["files"]) for body in announced] == [1000, 500]
    assert announced[1]["title"] == "Part 2 of 2"
    expect(upload.page.locator("ddx-upload-row")).not_to_have_count(1500)


def test_many_files_are_divided_by_number_and_by_what_a_request_may_hold(open_page: OpenPage) -> None:
    upload = open_page()
    sizes = upload.page.evaluate(
        """async () => {
          const {describe, divide} = await import("/static/uploads/js/parts.js");
          const many = (count, name, path) => Array.from({length: count}, () => ({file: new File([], name), path}));
          const measure = (part) => {
            const files = part.map(({file, path}) => describe(file, path));
            return [part.length, new Blob([JSON.stringify({files, title: "x".repeat(255)})]).size];
          };
          const [face, letter] = [0x1f600, 0x939].map((point) => String.fromCodePoint(point));
          const long = divide(many(1000, face.repeat(127), letter.repeat(1000)));
          return [divide(many(2001, "a.txt", "")).map(measure), long.map(measure), divide([])];
        }"""
    )
    by_number, by_bytes, nothing = sizes
    assert [count for count, _size in by_number] == [1000, 1000, 1]
    assert sum(count for count, _size in by_bytes) == 1000
    assert len(by_bytes) == 2
    assert all(size < 2 * 1024 * 1024 for _count, size in by_bytes)
    assert nothing == []


def test_a_batch_that_is_given_up_while_it_is_announced_is_cancelled_by_one_call(open_page: OpenPage) -> None:
    held: list[Route] = []
    calls: list[str] = []
    upload = open_page()
    upload.page.route("**/api/v1/batch/initiate", lambda route: held.append(route))
    upload.page.on("request", lambda request: calls.append(request.url) if "cancel" in request.url else None)
    upload.choose(*[payload(f"{number}.bin", 1) for number in range(5)])
    until(upload.page, lambda: held)
    upload.button("Cancel all").click()
    upload.page.get_by_role("dialog").get_by_role("button", name="Cancel all").click()
    expect(upload.in_state("cancelled")).to_have_count(5)
    with upload.page.expect_response("**/api/v1/batch/cancel/*") as answer:
        held[0].continue_()
    assert answer.value.json() == {"cancelled": 5}
    assert len(calls) == 1


def test_pausing_all_and_going_on_keeps_to_those_that_were_paused(open_page: OpenPage) -> None:
    upload = open_page()
    server = PlayedServer(upload, 1, wait_in_line)
    upload.choose(*[payload(f"{number:02}.bin", 1) for number in range(12)])
    expect(upload.in_state("queued")).to_have_count(8)
    upload.button("Pause all").click()
    expect(upload.in_state("paused")).to_have_count(12)
    expect(upload.button("Pause all")).to_have_count(0)
    server.plot = succeed
    upload.button("Resume all").click()
    expect(upload.in_state("done")).to_have_count(12)
