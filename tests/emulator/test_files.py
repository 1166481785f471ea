"""Files, folders, lists and downloads of the emulator."""

import hashlib
import json
from typing import Any

import pytest

from tests.emulator.rig import Answer, Drive

FOLDER = "application/vnd.google-apps.folder"


@pytest.fixture
def folder(drive: Drive) -> str:
    """A folder of the test's own."""
    return str(drive.call("POST", "files", {"name": "box", "mimeType": FOLDER}).json["id"])


def names(drive: Drive, q: str, **query: Any) -> list[str]:
    answer = drive.call("GET", "files", q=q, **query)
    assert answer.status == 200, answer.body
    return [file["name"] for file in answer.json["files"]]


# --- what a list finds ---


@pytest.fixture
def full(drive: Drive, folder: str) -> str:
    """A folder with something of each kind."""
    here = {"parents": [folder]}
    drive.upload(b"1", name="alpha one.txt", mimeType="text/plain", appProperties={"upload": "a", "part": "1"}, **here)
    drive.upload(b"22", name="beta's.mp4", mimeType="video/mp4", properties={"colour": "blue"}, **here)
    drive.upload(b"333", name="back\\slash", appProperties={"upload": "b"}, description="a long story", **here)
    drive.call("POST", "files", {"name": "inner", "mimeType": FOLDER, **here})
    gone = drive.upload(b"", name="gone.txt", mimeType="text/plain", starred=True, **here)
    drive.call("PATCH", f"files/{gone['id']}", {"trashed": True})
    return folder


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("trashed = false", {"alpha one.txt", "beta's.mp4", "back\\slash", "inner"}),
        ("trashed=true", {"gone.txt"}),
        ("trashed != true and mimeType = 'text/plain'", {"alpha one.txt"}),
        ("name = 'beta\\'s.mp4'", {"beta's.mp4"}),
        ("name = 'back\\\\slash'", {"back\\slash"}),
        ("name != 'inner' and not trashed=true", {"alpha one.txt", "beta's.mp4", "back\\slash"}),
        ("name contains 'one'", {"alpha one.txt"}),
        ("name contains 'ALPHA'", {"alpha one.txt"}),
        ("name contains 'lpha'", set()),
        ("fullText contains 'story'", {"back\\slash"}),
        ("mimeType contains 'video/'", {"beta's.mp4"}),
        (f"mimeType = '{FOLDER}'", {"inner"}),
        (f"mimeType != '{FOLDER}' and trashed=false", {"alpha one.txt", "beta's.mp4", "back\\slash"}),
        ("appProperties has { key='upload' and value='a' }", {"alpha one.txt"}),
        ("appProperties has {key='upload' and value='c'}", set()),
        ("properties has { key='colour' and value='blue' }", {"beta's.mp4"}),
        ("name='inner' or name='gone.txt' and trashed=true", {"gone.txt"}),
        ("name='inner' or (name='gone.txt' and trashed=true)", {"inner", "gone.txt"}),
        ("trashed=false and (name='inner' or name='beta\\'s.mp4')", {"inner", "beta's.mp4"}),
        ("not (name contains 'a' or name contains 'b') and not trashed=true", {"inner"}),
        ("starred = true", {"gone.txt"}),
        ("modifiedTime > '2020-01-01T00:00:00' and trashed=false and name='inner'", {"inner"}),
        ("createdTime < '2020-01-01T00:00:00Z'", set()),
        ("'nobody@example.org' in owners", set()),
        ("sharedWithMe = true", set()),
    ],
)
def test_q_is_honoured(drive: Drive, full: str, q: str, found: set[str]) -> None:
    assert set(names(drive, f"'{full}' in parents and ({q})")) == found


def test_q_finds_by_the_name_of_the_root(drive: Drive) -> None:
    made = drive.upload(b"", name="at the top")
    for root in ("root", "root0"):
        assert "at the top" in names(drive, f"'{root}' in parents and trashed=false")
    assert drive.call("GET", "files/root").json["id"] == "root0"
    assert drive.call("GET", f"files/{made['id']}", fields="parents").json["parents"] == ["root0"]


@pytest.mark.parametrize(
    "q",
    [
        "name",
        "name =",
        "name = alpha",
        "name = 'open",
        "colour = 'blue'",
        "trashed = 'true'",
        "(trashed = true",
        "trashed = true)",
        "'x' in places",
        "appProperties has {key='a'}",
        "modifiedTime > 'yesterday'",
        "fullText = 'a'",
        "trashed = true trashed = true",
        "§",
    ],
)
def test_a_q_that_cannot_be_read_is_refused(drive: Drive, q: str) -> None:
    answer = drive.call("GET", "files", q=q)
    assert (answer.status, answer.reason) == (400, "invalid")
    assert answer.json["error"]["errors"][0]["location"] == "q"


def test_lists_come_in_order_and_by_pages(drive: Drive, folder: str) -> None:
    for number in (10, 9, 1, 2, 11):
        drive.upload(b"x" * number, name=f"part {number}", parents=[folder])
    here = f"'{folder}' in parents"
    assert names(drive, here, orderBy="name") == ["part 1", "part 10", "part 11", "part 2", "part 9"]
    assert names(drive, here, orderBy="name_natural desc") == ["part 11", "part 10", "part 9", "part 2", "part 1"]
    assert names(drive, here, orderBy="folder,quotaBytesUsed")[0] == "part 1"
    first = drive.call("GET", "files", q=here, orderBy="quotaBytesUsed", pageSize=2).json
    assert [file["name"] for file in first["files"]] == ["part 1", "part 2"]
    token = first["nextPageToken"]
    drive.upload(b"", name="part 0", parents=[folder])  # comes too late for this list, and shifts nothing
    for _ in range(2):  # a page may be asked for again
        second = drive.call("GET", "files", q=here, orderBy="quotaBytesUsed", pageSize=2, pageToken=token).json
        assert [file["name"] for file in second["files"]] == ["part 9", "part 10"]
    token = second["nextPageToken"]
    last = drive.call("GET", "files", q=here, orderBy="quotaBytesUsed", pageSize=2, pageToken=token).json
    assert [file["name"] for file in last["files"]] == ["part 11"]
    assert "nextPageToken" not in last


@pytest.mark.parametrize(
    "query", [{"pageSize": 0}, {"pageSize": "many"}, {"orderBy": "colour"}, {"pageToken": "x"}, {"corpora": "drive"}]
)
def test_a_list_refuses_what_it_cannot_do(drive: Drive, query: dict[str, str]) -> None:
    assert drive.call("GET", "files", **query).reason == "invalid"


def test_a_page_token_is_good_for_its_own_question_only(drive: Drive, full: str) -> None:
    token = drive.call("GET", "files", q=f"'{full}' in parents", pageSize=1).json["nextPageToken"]
    assert drive.call("GET", "files", q="trashed=true", pageToken=token).status == 400


def test_a_list_shows_the_fields_that_were_asked_for(drive: Drive, full: str) -> None:
    here = f"'{full}' in parents and name='alpha one.txt'"
    assert drive.call("GET", "files", q=here, fields="files(name,sha256Checksum)").json == {
        "files": [{"name": "alpha one.txt", "sha256Checksum": hashlib.sha256(b"1").hexdigest()}]
    }
    assert drive.call("GET", "files", q=here, fields="files/size").json == {"files": [{"size": "1"}]}
    usual = drive.call("GET", "files", q=here).json
    assert usual.keys() == {"kind", "incompleteSearch", "files"}
    assert usual["files"][0].keys() == {"kind", "id", "name", "mimeType"}
    assert drive.call("GET", "files", q=here, fields="*").json["files"][0]["appProperties"]["upload"] == "a"
    assert drive.call("GET", "files", fields="files(colour)").reason == "invalidParameter"


# --- one file ---


def test_a_file_is_renamed_moved_trashed_and_deleted(drive: Drive, folder: str) -> None:
    made = drive.upload(b"content", name="before", appProperties={"keep": "1", "drop": "2"})
    path = f"files/{made['id']}"
    change = {"name": "after", "appProperties": {"drop": None, "new": "3"}}
    changed = drive.call("PATCH", path, change, addParents=folder, removeParents="root", fields="*").json
    assert (changed["name"], changed["parents"]) == ("after", [folder])
    assert changed["appProperties"] == {"keep": "1", "new": "3"}
    assert int(changed["version"]) > int(made["version"])
    drive.call("PATCH", f"files/{folder}", {"trashed": True})
    below = drive.call("GET", path, fields="trashed,explicitlyTrashed").json
    assert below == {"trashed": True, "explicitlyTrashed": False}
    assert drive.call("DELETE", f"files/{folder}").status == 204
    gone = drive.call("GET", path)
    assert (gone.status, gone.reason) == (404, "notFound")
    assert drive.call("DELETE", path).status == 404


def test_a_folder_does_not_go_into_itself(drive: Drive, folder: str) -> None:
    inner = drive.call("POST", "files", {"name": "inner", "mimeType": FOLDER, "parents": [folder]}).json["id"]
    assert drive.call("PATCH", f"files/{folder}", {}, addParents=inner).status == 403
    assert drive.call("DELETE", "files/root").status == 403


def test_two_files_may_have_one_name(drive: Drive, folder: str) -> None:
    for _ in range(2):
        drive.upload(b"", name="twin", parents=[folder])
    assert names(drive, f"'{folder}' in parents") == ["twin", "twin"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "parseError"),
        (b"[]", "parseError"),
        (b'{"name": 5}', "invalid"),
        (b'{"name": "x", "parents": "root"}', "invalid"),
        (b'{"name": "x", "parents": ["root", "root"]}', "multipleParentsNotSupported"),
        (b'{"name": "x", "id": "../etc"}', "invalid"),
        (b'{"name": "x", "appProperties": 5}', "invalid"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(drive: Drive, body: bytes, reason: str) -> None:
    for path in ("/drive/v3/files", "/upload/drive/v3/files?uploadType=resumable"):
        assert drive.send("POST", path, body, Content_Type="application/json").reason == reason


def test_a_file_without_content_is_empty(drive: Drive) -> None:
    made = drive.call("POST", "files", {"name": "nothing", "mimeType": "text/plain"}, fields="*").json
    assert made["size"] == "0"
    assert drive.call("GET", f"files/{made['id']}", alt="media").body == b""


def test_a_file_inside_a_file_is_refused(drive: Drive) -> None:
    made = drive.upload(b"")
    assert drive.try_start(1, parents=[made["id"]]).reason == "parentNotAFolder"


def test_content_comes_with_one_request_too(drive: Drive) -> None:
    made = drive.send("POST", "/upload/drive/v3/files?uploadType=media&fields=*", b"at once", Content_Type="text/plain")
    assert (made.json["size"], made.json["mimeType"]) == ("7", "text/plain")
    kind = "multipart/related; boundary=end"
    for end in ("\n", "\r\n"):
        lines = ["--end", "Content-Type: application/json", "", json.dumps({"name": "both"})]
        lines += ["--end", "Content-Type: text/plain", "", f"two{end}--en lines", "--end--", ""]
        body = end.join(lines).encode()
        both = drive.send("POST", "/upload/drive/v3/files?uploadType=multipart&fields=*", body, Content_Type=kind)
        assert both.json["name"] == "both", both.body
        assert drive.emulator.content(both.json["id"]) == f"two{end}--en lines".encode()
        cut = drive.send("POST", "/upload/drive/v3/files?uploadType=multipart", body[:-9], Content_Type=kind)
        assert cut.status == 400


def test_new_content_replaces_the_old(drive: Drive) -> None:
    made = drive.upload(b"old", name="kept name")
    path = f"/upload/drive/v3/files/{made['id']}?uploadType=resumable&fields=*"
    session = drive.send("PATCH", path, b"", X_Upload_Content_Length=3).headers["Location"]
    changed = drive.put(session, b"new", 0, 3).json
    assert (changed["id"], changed["name"]) == (made["id"], "kept name")
    assert changed["sha256Checksum"] == hashlib.sha256(b"new").hexdigest()
    assert drive.call("GET", f"files/{made['id']}", alt="media").body == b"new"


# --- downloads ---


def download(drive: Drive, content: bytes, byte_range: str) -> Answer:
    made = drive.upload(content)
    return drive.send("GET", f"/drive/v3/files/{made['id']}?alt=media", Range=byte_range)


@pytest.mark.parametrize(
    ("byte_range", "part", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ],
)
def test_a_range_is_answered_with_206(drive: Drive, byte_range: str, part: bytes, content_range: str) -> None:
    answer = download(drive, b"0123456789", byte_range)
    assert (answer.status, answer.body) == (206, part)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(part))


@pytest.mark.parametrize(
    ("content", "byte_range"), [(b"0123456789", "bytes=10-"), (b"", "bytes=0-5"), (b"01", "lines=1-2")]
)
def test_a_range_that_cannot_be_answered_is_416(drive: Drive, content: bytes, byte_range: str) -> None:
    answer = download(drive, content, byte_range)
    assert (answer.status, answer.reason) == (416, "requestedRangeNotSatisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"


def test_without_a_range_the_whole_file_is_answered(drive: Drive) -> None:
    made = drive.upload(b"0123456789", mimeType="text/plain")
    answer = drive.call("GET", f"files/{made['id']}", alt="media")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"0123456789", "text/plain")


def test_a_folder_has_nothing_to_download(drive: Drive, folder: str) -> None:
    assert drive.call("GET", f"files/{folder}", alt="media").reason == "fileNotDownloadable"


def test_an_abusive_file_must_be_acknowledged(drive: Drive) -> None:
    made = drive.upload(b"virus")
    drive.emulator.call("POST", f"/_files/{made['id']}", {"abusive": True})
    refused = drive.call("GET", f"files/{made['id']}", alt="media")
    assert (refused.status, refused.reason) == (403, "cannotDownloadAbusiveFile")
    assert drive.call("GET", f"files/{made['id']}", alt="media", acknowledgeAbuse="true").body == b"virus"


# --- ids ---


def test_ids_are_made_as_many_as_asked(drive: Drive) -> None:
    answer = drive.call("GET", "files/generateIds", count=3).json
    assert len(set(answer["ids"])) == 3
    assert answer["space"] == "drive"
    assert len(drive.call("GET", "files/generateIds").json["ids"]) == 10
    for count in ("0", "1001", "many"):
        assert drive.call("GET", "files/generateIds", count=count).status == 400
