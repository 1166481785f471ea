"""The resumable protocol, as docs/emulator.md promises it."""

import hashlib
import http.client
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools.emulator.errors import DriveError
from devtools.emulator.sessions import Sessions
from devtools.emulator_process import EmulatorProcess
from tests.emulator.rig import GRAIN, KIB, Drive

CONTENT = os.urandom(3 * GRAIN + 1000)
SIZE = len(CONTENT)


def test_a_file_goes_up_in_chunks_and_each_answer_says_how_much_is_stored(drive: Drive) -> None:
    session = drive.start(SIZE)
    for at in range(0, 3 * GRAIN, GRAIN):
        assert drive.put(session, CONTENT[at : at + GRAIN], at, SIZE).stored == at + GRAIN
    final = drive.put(session, CONTENT[3 * GRAIN :], 3 * GRAIN, SIZE)
    assert final.status == 200
    assert final.json["size"] == str(SIZE)
    assert final.json["sha256Checksum"] == hashlib.sha256(CONTENT).hexdigest()
    assert final.json["md5Checksum"] == hashlib.md5(CONTENT).hexdigest()
    assert drive.emulator.content(final.json["id"]) == CONTENT


def test_the_session_is_at_the_address_by_which_the_emulator_was_reached(drive: Drive) -> None:
    assert drive.start(1).startswith(f"{drive.emulator.url}/upload/drive/v3/files?")


def test_post_does_as_well_as_put(drive: Drive) -> None:
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[:GRAIN], 0, SIZE, method="POST").stored == GRAIN
    assert drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE, method="POST").status == 200


def test_a_body_without_content_range_is_the_whole_file(drive: Drive) -> None:
    for method in ("PUT", "POST"):
        answer = drive.send(method, drive.start(SIZE), CONTENT)
        assert answer.json["sha256Checksum"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_body_without_content_range_may_come_in_http_chunks_and_of_unknown_length(drive: Drive) -> None:
    blocks = (CONTENT[at : at + 100_000] for at in range(0, SIZE, 100_000))
    answer = drive.send("PUT", drive.start(None), blocks)
    assert answer.json["sha256Checksum"] == hashlib.sha256(CONTENT).hexdigest()


def test_range_is_omitted_where_nothing_is_stored(drive: Drive) -> None:
    session = drive.start(SIZE)
    assert drive.ask(session, SIZE).status == 308
    assert "Range" not in drive.ask(session, SIZE).headers


def test_what_is_not_final_is_floored_to_256_kib(drive: Drive) -> None:
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[: GRAIN + 5], 0, SIZE).stored == GRAIN
    assert drive.put(session, CONTENT[GRAIN : GRAIN + 100 * KIB], GRAIN, SIZE).stored == GRAIN
    assert drive.ask(session, SIZE).stored == GRAIN


def test_bytes_that_are_stored_already_are_ignored(drive: Drive) -> None:
    session = drive.start(SIZE)
    drive.put(session, CONTENT[: 2 * GRAIN], 0, SIZE)
    assert drive.put(session, bytes(GRAIN), 0, SIZE).stored == 2 * GRAIN
    assert drive.put(session, bytes(GRAIN) + CONTENT[2 * GRAIN : 3 * GRAIN], GRAIN, SIZE).stored == 3 * GRAIN
    final = drive.put(session, bytes(GRAIN) + CONTENT[3 * GRAIN :], 2 * GRAIN, SIZE)
    assert final.json["sha256Checksum"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_gap_is_refused_and_the_session_lives(drive: Drive) -> None:
    session = drive.start(SIZE)
    drive.put(session, CONTENT[:GRAIN], 0, SIZE)
    answer = drive.put(session, CONTENT[2 * GRAIN :], 2 * GRAIN, SIZE)
    assert answer.status == 400
    assert "exceeds already uploaded size of 262144 byte(s)" in answer.json["error"]["message"]
    assert drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE).status == 200


def test_an_empty_file_is_a_put_without_content_range(drive: Drive) -> None:
    for size in (0, None):
        answer = drive.send("PUT", drive.start(size), b"")
        assert answer.status == 200
        assert answer.json["size"] == "0"
        assert answer.json["sha256Checksum"] == hashlib.sha256(b"").hexdigest()


def test_asking_finishes_a_file_of_which_all_is_there(drive: Drive) -> None:
    session = drive.start(None)
    assert drive.put(session, CONTENT[: 2 * GRAIN], 0, "*").stored == 2 * GRAIN
    answer = drive.ask(session, 2 * GRAIN)
    assert answer.status == 200
    assert answer.json["size"] == str(2 * GRAIN)
    assert drive.ask(drive.start(0), 0).json["size"] == "0"


def test_a_finished_session_says_again_what_it_made(drive: Drive) -> None:
    session = drive.start(SIZE)
    made = drive.put(session, CONTENT, 0, SIZE).json
    assert drive.ask(session, SIZE).json["id"] == made["id"]
    assert drive.put(session, CONTENT[-1000:], SIZE - 1000, SIZE).json["id"] == made["id"]


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-1/1", "bytes 5-1/10", "bytes a-b/c", "0-9/10", "bytes 0-99/100", "bytes */", "bytes 0-/10"],
)
def test_a_content_range_that_makes_no_sense_is_refused(drive: Drive, content_range: str) -> None:
    answer = drive.send("PUT", drive.start(None), b"0123456789", Content_Range=content_range)
    assert answer.status == 400
    assert answer.reason == "badRequest"


def test_another_length_than_was_said_before_is_refused(drive: Drive) -> None:
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[:GRAIN], 0, SIZE + 1).status == 400
    assert drive.ask(session, SIZE + 1).status == 400
    assert drive.send("PUT", session, CONTENT[:-1]).status == 400
    assert drive.ask(session, SIZE).stored == 0


def test_unknown_and_cancelled_sessions_answer_404(drive: Drive) -> None:
    session = drive.start(SIZE)
    assert drive.ask(session + "x", SIZE).status == 404
    drive.put(session, CONTENT[:GRAIN], 0, SIZE)
    before = drive.emulator.open_sessions()
    assert drive.send("DELETE", session).status == 499
    assert drive.emulator.open_sessions() == before - 1
    assert drive.ask(session, SIZE).status == 404
    assert drive.send("DELETE", session).status == 404


def test_what_came_before_the_connection_was_lost_is_stored_to_a_multiple_of_256_kib(drive: Drive) -> None:
    session = drive.start(SIZE)
    connection = http.client.HTTPConnection("127.0.0.1", drive.emulator.port, timeout=30)
    connection.putrequest("PUT", session.removeprefix(drive.emulator.url))
    connection.putheader("Content-Length", str(SIZE))
    connection.putheader("Content-Range", f"bytes 0-{SIZE - 1}/{SIZE}")
    connection.endheaders()
    connection.send(CONTENT[:-1])
    connection.close()
    while (stored := drive.ask(session, SIZE).stored) == 0:
        pass  # the question overtook the bytes
    assert stored % GRAIN == 0
    final = drive.put(session, CONTENT[stored:], stored, SIZE)
    assert final.json["sha256Checksum"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_new_request_ends_an_older_one_that_its_client_has_given_up(drive: Drive) -> None:
    session = drive.start(SIZE)
    reading, writing = os.pipe()
    ends: list[type[Exception]] = []

    def hang() -> None:
        with os.fdopen(reading, "rb") as pipe:
            try:
                drive.send("PUT", session, pipe, Content_Length=SIZE, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}")
            except OSError as error:
                ends.append(type(error))

    thread = threading.Thread(target=hang)
    thread.start()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(CONTENT[: GRAIN + KIB])
        pipe.flush()
        while drive.ask(session, SIZE).stored == 0 and not ends:
            pass
    thread.join()
    assert ends
    stored = drive.ask(session, SIZE).stored
    assert drive.put(session, CONTENT[stored:], stored, SIZE).json["sha256Checksum"] == (
        hashlib.sha256(CONTENT).hexdigest()
    )


def test_sessions_and_files_outlive_a_restart(start_emulator: Callable[[], EmulatorProcess]) -> None:
    emulator = start_emulator()
    drive = Drive(emulator)
    made = drive.upload(b"kept", name="kept")
    session = drive.start(SIZE)
    drive.put(session, CONTENT[: 2 * GRAIN], 0, SIZE)
    emulator.kill()
    emulator.restart()
    drive = Drive(emulator)
    assert drive.call("GET", f"files/{made['id']}", alt="media").body == b"kept"
    assert drive.ask(session, SIZE).stored == 2 * GRAIN
    final = drive.put(session, CONTENT[2 * GRAIN :], 2 * GRAIN, SIZE)
    assert final.json["sha256Checksum"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_session_lives_a_week(tmp_path: Path) -> None:
    facts = {"email": "a@b", "body": {}, "mime_type": "", "total": 1, "fields": None}
    week = 7 * 24 * 3600
    sessions = Sessions(tmp_path)
    young = sessions.open(**facts, began=time.time() - week + 60)
    old = sessions.open(**facts, began=time.time() - week - 1)
    for kept in (sessions, Sessions(tmp_path)):
        assert kept.find(young.facts.id).facts.total == 1
        assert kept.blobs() == {young.facts.blob}
        with pytest.raises(DriveError, match="404"):
            kept.find(old.facts.id)


# --- ids ---


def test_an_id_from_generate_ids_is_taken_and_a_repeat_makes_no_duplicate(drive: Drive) -> None:
    [id] = drive.call("GET", "files/generateIds", count=1).json["ids"]
    assert drive.upload(b"once", id=id)["id"] == id
    again = drive.try_start(4, id=id)
    assert again.status == 409
    assert again.reason == "fileIdInUse"
    assert drive.call("POST", "files", {"id": id, "name": "file"}).status == 409
    assert drive.call("GET", f"files/{id}", alt="media").body == b"once"


def test_of_two_sessions_with_one_id_the_first_to_end_makes_the_file(drive: Drive) -> None:
    [id] = drive.call("GET", "files/generateIds", count=1).json["ids"]
    one, two = drive.start(3, id=id), drive.start(3, id=id)
    assert drive.put(two, b"two", 0, 3).status == 200
    assert drive.put(one, b"one", 0, 3).status == 409
    assert drive.call("GET", f"files/{id}", alt="media").body == b"two"


# --- what the start says ---


def test_the_fields_of_the_start_decide_what_the_final_answer_carries(drive: Drive) -> None:
    assert drive.upload(b"12", "fields=id,size").keys() == {"id", "size"}
    assert drive.upload(b"12", "").keys() == {"kind", "id", "name", "mimeType"}
    made = drive.upload(b"12", "fields=owners(emailAddress),capabilities/canEdit")
    assert made["owners"][0].keys() == {"emailAddress"}
    assert made["capabilities"] == {"canEdit": True}


@pytest.mark.parametrize("wanted", ["nonsense", "id,", "files(id)", "owners(", "id)"])
def test_fields_that_there_are_not_are_refused(drive: Drive, wanted: str) -> None:
    answer = drive.try_start(1, f"fields={wanted}")
    assert answer.status == 400
    assert answer.reason == "invalidParameter"


def test_a_file_beyond_the_largest_size_is_refused(drive: Drive) -> None:
    assert drive.try_start(5_497_558_138_881).reason == "uploadTooLarge"


def test_an_unknown_parent_is_refused_at_the_start(drive: Drive) -> None:
    answer = drive.try_start(1, parents=["nowhere"])
    assert answer.status == 404
    assert answer.reason == "notFound"


def test_a_session_needs_no_token_but_refuses_a_bad_one(drive: Drive) -> None:
    session = drive.start(2)
    question = {"Content_Range": "bytes */2"}
    assert drive.send("PUT", session, b"", token=None, **question).status == 308
    assert drive.send("PUT", session, b"", token="bad", **question).status == 401
