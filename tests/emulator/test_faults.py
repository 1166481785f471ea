"""Each fault, by the interface that docs/emulator.md promises to outside programs."""

import hashlib
import http.client
import os
import threading
import time
from typing import Any

import pytest

from tests.emulator.rig import GRAIN, Drive

CONTENT = os.urandom(4 * GRAIN + 1000)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def add(drive: Drive, fault: str, **fields: Any) -> int:
    answer = drive.call_faults("POST", {"fault": fault, **fields})
    assert answer.status == 200, answer.body
    return int(answer.json["id"])


def fired(drive: Drive, id: int) -> int:
    return drive.emulator.fired(id)


# --- the interface ---


def test_faults_need_no_token_and_stay_listed_when_they_are_spent(drive: Drive) -> None:
    first = add(drive, "short")
    second = add(drive, "status", status=503, reason="backendError", times=2, on="about", retry_after=7)
    for _ in range(3):
        drive.call("GET", "about", fields="user")
    listed = drive.call_faults("GET").json["faults"]
    assert [(fault["id"], fault["fault"], fault["times"], fault["fired"]) for fault in listed] == [
        (first, "short", 1, 0),
        (second, "status", 2, 2),
    ]
    assert listed[1]["retry_after"] == 7
    cleared = drive.call_faults("DELETE")
    assert (cleared.status, cleared.body) == (204, b"")
    assert drive.call_faults("GET").json == {"faults": []}


@pytest.mark.parametrize(
    "body",
    [
        {"fault": "burn"},
        {},
        {"fault": "short", "when": 5},
        {"fault": "short", "times": 0},
        {"fault": "short", "times": -2},
        {"fault": "short", "times": True},
        {"fault": "short", "at": -1},
        {"fault": "short", "at": "0"},
        {"fault": "stall"},
        {"fault": "slow"},
        {"fault": "slow", "rate": 0},
        {"fault": "status"},
        {"fault": "status", "status": 200},
        {"fault": "status", "status": 600},
        {"fault": "status", "status": 503, "reason": 5},
        {"fault": "status", "status": 503, "on": "everything"},
        ["short"],
    ],
    ids=str,
)
def test_an_unknown_kind_field_or_value_is_refused(drive: Drive, body: Any) -> None:
    assert drive.call_faults("POST", body).status == 400
    assert drive.call_faults("GET").json == {"faults": []}


def test_a_fault_that_is_no_json_is_refused(drive: Drive) -> None:
    assert drive.send("POST", "/_faults", b"{", token=None).status == 400


def test_another_name_that_leads_to_this_machine_finds_no_faults(drive: Drive) -> None:
    assert drive.send("GET", "/_faults", token=None, Host="rebound.example").status == 403


def test_the_oldest_that_fits_fires(drive: Drive) -> None:
    lost = add(drive, "lost")
    later = add(drive, "short", at=2 * GRAIN)
    short = add(drive, "short")
    session = drive.start(SIZE)
    drive.put(session, CONTENT[: 2 * GRAIN], 0, SIZE)
    assert [fired(drive, id) for id in (lost, later, short)] == [0, 0, 1]


def test_a_fault_waits_for_the_chunk_whose_last_byte_is_at_its_offset(drive: Drive) -> None:
    id = add(drive, "short", at=2 * GRAIN)
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[: 2 * GRAIN], 0, SIZE).stored == 2 * GRAIN
    assert fired(drive, id) == 0
    assert drive.put(session, CONTENT[2 * GRAIN : 4 * GRAIN], 2 * GRAIN, SIZE).stored == 3 * GRAIN
    assert fired(drive, id) == 1


def test_times_says_how_often_and_minus_one_until_removed(drive: Drive) -> None:
    add(drive, "status", status=503, reason="backendError", times=2)
    session = drive.start(SIZE)
    answers = [drive.put(session, CONTENT[:GRAIN], 0, SIZE).status for _ in range(3)]
    assert answers == [503, 503, 308]
    add(drive, "status", status=503, reason="backendError", times=-1)
    for _ in range(4):
        assert drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE).status == 503
    drive.call_faults("DELETE")
    assert drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE).status == 200


def test_questions_whole_bodies_and_other_requests_are_touched_by_no_chunk_fault(drive: Drive) -> None:
    id = add(drive, "status", status=503, reason="backendError", times=-1)
    session = drive.start(SIZE)
    assert drive.ask(session, SIZE).status == 308
    assert drive.send("PUT", session, CONTENT).status == 200
    assert drive.call("GET", "files").status == 200
    assert fired(drive, id) == 0


# --- the kinds ---


def test_short_stores_half_of_a_chunk(drive: Drive) -> None:
    id = add(drive, "short", times=-1)
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[: 3 * GRAIN], 0, SIZE).stored == GRAIN
    assert drive.put(session, CONTENT[GRAIN : 2 * GRAIN], GRAIN, SIZE).stored == GRAIN
    assert fired(drive, id) == 2
    assert drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE).json["sha256Checksum"] == SHA256
    assert fired(drive, id) == 2


def test_gone_is_503_and_then_410(drive: Drive) -> None:
    add(drive, "gone")
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[:GRAIN], 0, SIZE).status == 503
    assert drive.ask(session, SIZE).status == 410
    assert drive.put(session, CONTENT[:GRAIN], 0, SIZE).status == 410
    other = drive.start(SIZE)
    assert drive.put(other, CONTENT, 0, SIZE).status == 200


def test_lost_makes_the_file_and_cuts_the_connection(drive: Drive) -> None:
    id = add(drive, "lost")
    [file_id] = drive.call("GET", "files/generateIds", count=1).json["ids"]
    session = drive.start(SIZE, id=file_id)
    assert drive.put(session, CONTENT[:GRAIN], 0, SIZE).status == 308
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE)
    assert fired(drive, id) == 1
    assert drive.call("GET", f"files/{file_id}", fields="sha256Checksum").json["sha256Checksum"] == SHA256
    assert drive.ask(session, SIZE).json["id"] == file_id


def test_reset_reads_half_and_resets_the_connection(drive: Drive) -> None:
    add(drive, "reset")
    session = drive.start(SIZE)
    with pytest.raises(ConnectionError):
        drive.put(session, CONTENT[: 3 * GRAIN], 0, SIZE)
    assert drive.ask(session, SIZE).stored == GRAIN
    add(drive, "reset")
    with pytest.raises(ConnectionError):
        drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE)
    assert drive.ask(session, SIZE).stored == 2 * GRAIN
    assert drive.put(session, CONTENT[2 * GRAIN :], 2 * GRAIN, SIZE).json["sha256Checksum"] == SHA256


def test_stall_answers_nothing_for_its_time_and_then_goes_on(drive: Drive) -> None:
    add(drive, "stall", seconds=0.3)
    session = drive.start(SIZE)
    began = time.monotonic()
    assert drive.put(session, CONTENT[:GRAIN], 0, SIZE).stored == GRAIN
    assert time.monotonic() - began >= 0.3


def test_a_client_that_gives_a_stalled_chunk_up_is_told_that_nothing_is_stored(drive: Drive) -> None:
    id = add(drive, "stall", seconds=600)
    session = drive.start(SIZE)
    ends: list[Exception] = []

    def stalled() -> None:
        try:
            drive.put(session, CONTENT[:GRAIN], 0, SIZE)
        except (OSError, http.client.HTTPException) as error:
            ends.append(error)

    thread = threading.Thread(target=stalled)
    thread.start()
    while not fired(drive, id):
        pass
    assert drive.ask(session, SIZE).stored == 0
    thread.join()
    assert ends
    assert drive.put(session, CONTENT, 0, SIZE).json["sha256Checksum"] == SHA256


def test_flip_turns_one_bit_of_what_is_stored_and_the_digests_are_those_of_what_is_stored(drive: Drive) -> None:
    add(drive, "flip", at=2 * GRAIN)
    session = drive.start(SIZE)
    drive.put(session, CONTENT[: 2 * GRAIN], 0, SIZE)
    made = drive.put(session, CONTENT[2 * GRAIN :], 2 * GRAIN, SIZE).json
    stored = drive.emulator.content(made["id"])
    turned = [(one ^ two).bit_count() for one, two in zip(stored, CONTENT, strict=True)]
    assert sum(turned) == 1
    assert made["sha256Checksum"] == hashlib.sha256(stored).hexdigest() != SHA256
    assert made["size"] == str(SIZE)


def test_a_flip_waits_for_bytes_that_stay(drive: Drive) -> None:
    id = add(drive, "flip")
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[:1000], 0, SIZE).stored == 0
    assert fired(drive, id) == 0
    drive.put(session, CONTENT[:GRAIN], 0, SIZE)
    assert fired(drive, id) == 1


def test_slow_reads_at_its_rate_while_it_is_there(drive: Drive) -> None:
    id = add(drive, "slow", rate=4 * GRAIN, times=-1)
    session = drive.start(SIZE)
    began = time.monotonic()
    drive.put(session, CONTENT[:GRAIN], 0, SIZE)
    assert time.monotonic() - began >= 0.25
    assert fired(drive, id) == 1
    drive.call_faults("DELETE")
    add(drive, "slow", rate=8, times=-1)
    threading.Timer(0.2, drive.call_faults, ("DELETE",)).start()
    assert drive.put(session, CONTENT[GRAIN:], GRAIN, SIZE).json["sha256Checksum"] == SHA256


def test_a_slow_link_without_an_end_keeps_no_other_fault_from_firing(drive: Drive) -> None:
    slow = add(drive, "slow", rate=100 * GRAIN, times=-1)
    short = add(drive, "short")
    session = drive.start(SIZE)
    assert drive.put(session, CONTENT[: 2 * GRAIN], 0, SIZE).stored == GRAIN
    assert (fired(drive, slow), fired(drive, short)) == (1, 1)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "storageQuotaExceeded"),
        (403, "quotaExceeded"),
        (403, "dailyLimitExceeded"),
        (403, "teamDriveFileLimitExceeded"),
        (403, "rateLimitExceeded"),
        (403, "userRateLimitExceeded"),
        (403, "cannotDownloadAbusiveFile"),
        (429, "rateLimitExceeded"),
        (404, "notFound"),
        (410, "gone"),
        (500, "internalError"),
        (503, "backendError"),
    ],
)
def test_status_answers_instead_in_googles_form(drive: Drive, status: int, reason: str) -> None:
    session = drive.start(SIZE)
    add(drive, "status", status=status, reason=reason, retry_after=3)
    answer = drive.put(session, CONTENT[:GRAIN], 0, SIZE)
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.headers["Retry-After"] == "3"
    assert drive.put(session, CONTENT, 0, SIZE).status == 200


def test_each_place_of_a_status(drive: Drive) -> None:
    made = drive.upload(b"there")
    session = drive.start(SIZE)
    requests = {
        "chunk": lambda: drive.put(session, CONTENT[:GRAIN], 0, SIZE).status,
        "start": lambda: drive.try_start(SIZE).status,
        "download": lambda: drive.call("GET", f"files/{made['id']}", alt="media").status,
        "about": lambda: drive.call("GET", "about", fields="user").status,
    }
    for place in ("chunk", "start", "download", "about", "any"):
        add(drive, "status", status=418, reason="teapot", on=place, times=-1)
        hit = {name for name, send in requests.items() if send() == 418}
        assert hit == ({"start", "chunk"} if place == "any" else {place})
        drive.call_faults("DELETE")


def test_401_voids_the_tokens_given_so_far(drive: Drive) -> None:
    session = drive.start(SIZE)
    add(drive, "status", status=401, reason="authError")
    answer = drive.put(session, CONTENT[:GRAIN], 0, SIZE)
    assert (answer.status, answer.reason) == (401, "authError")
    assert drive.put(session, CONTENT[:GRAIN], 0, SIZE).status == 401
    assert drive.call("GET", "files").status == 401
    drive.token = drive.emulator.token()
    assert drive.put(session, CONTENT, 0, SIZE).json["sha256Checksum"] == SHA256
