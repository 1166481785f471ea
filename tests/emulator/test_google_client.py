"""Google's own Python client, unmodified, against the emulator: that is why the emulator is believed."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import google.oauth2.credentials
import googleapiclient
import pytest
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaInMemoryUpload, MediaIoBaseDownload, MediaIoBaseUpload

from devtools.emulator_process import EmulatorProcess
from tests.emulator.rig import GRAIN, Drive

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "drive.v3.json"
CONTENT = os.urandom(4 * GRAIN + 77)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FIELDS = "id,name,size,sha256Checksum"


def service_at(emulator: EmulatorProcess) -> Any:
    """Google's client with its API description pointed at the emulator, and a refresh token as a user has it."""
    document = json.loads(DOCUMENT.read_text())
    document |= {"rootUrl": f"{emulator.url}/", "baseUrl": f"{emulator.url}/drive/v3/"}
    credentials = google.oauth2.credentials.Credentials(
        token=None,
        refresh_token="of a person",
        token_uri=emulator.token_url,
        client_id="client",
        client_secret="secret",
    )
    return build_from_document(document, credentials=credentials)


@pytest.fixture
def files(drive: Drive) -> Any:
    return service_at(drive.emulator).files()


class Chunks(MediaIoBaseUpload):
    """Chunks as bytes: of a stream Google's client sends what is left, so nothing, when it repeats a request."""

    def has_stream(self) -> bool:
        return False


def upload(files: Any, content: bytes = CONTENT, chunk: int = GRAIN, retries: int = 5, **metadata: Any) -> Any:
    """As Google's guide has it: what broke off is gone on with by the next call."""
    media = Chunks(io.BytesIO(content), "application/octet-stream", chunksize=chunk, resumable=True)
    request = files.create(body={"name": "film", **metadata}, media_body=media, fields=FIELDS, supportsAllDrives=True)
    answer, breaks = None, 0
    while answer is None:
        try:
            _, answer = request.next_chunk(num_retries=retries)
        except ConnectionError:
            breaks += 1
            if breaks > retries:
                raise
    return answer


def download(files: Any, id: str, chunk: int = GRAIN) -> bytes:
    target = io.BytesIO()
    loader = MediaIoBaseDownload(target, files.get_media(fileId=id), chunksize=chunk)
    done = False
    while not done:
        _, done = loader.next_chunk()
    return target.getvalue()


def test_a_file_goes_up_in_chunks_and_comes_back_in_ranges(files: Any) -> None:
    made = upload(files)
    assert made == {"id": made["id"], "name": "film", "size": str(len(CONTENT)), "sha256Checksum": SHA256}
    assert download(files, made["id"]) == CONTENT


def test_it_streams_its_chunks(files: Any) -> None:
    media = MediaIoBaseUpload(io.BytesIO(CONTENT), "application/octet-stream", chunksize=2 * GRAIN, resumable=True)
    made = files.create(body={"name": "film"}, media_body=media, fields=FIELDS).execute()
    assert made["sha256Checksum"] == SHA256


def test_an_empty_file_goes_up_and_comes_back(files: Any) -> None:
    made = upload(files, b"")
    assert made["size"] == "0"
    assert download(files, made["id"]) == b""


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "short"},
        {"fault": "short", "at": 2 * GRAIN, "times": 2},
        {"fault": "status", "status": 503, "reason": "backendError", "at": 3 * GRAIN},
        {"fault": "status", "status": 403, "reason": "userRateLimitExceeded"},
        {"fault": "status", "status": 429, "reason": "rateLimitExceeded", "retry_after": 0},
        {"fault": "status", "status": 401, "reason": "authError", "at": GRAIN},
        {"fault": "reset", "at": 3 * GRAIN},
        {"fault": "stall", "seconds": 0.2},
        {"fault": "slow", "rate": 8 * GRAIN, "times": -1},
    ],
    ids=lambda fault: fault.get("reason", fault["fault"]),
)
def test_it_carries_on_after_a_fault(drive: Drive, files: Any, monkeypatch: Any, fault: dict[str, Any]) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # its patience, not its correctness
    id = drive.emulator.add_fault(**fault)
    made = upload(files, chunk=2 * GRAIN)
    assert made["sha256Checksum"] == SHA256
    assert drive.emulator.fired(id) >= 1


def test_it_reports_success_though_a_bit_was_flipped(drive: Drive, files: Any) -> None:
    drive.emulator.add_fault("flip")
    assert upload(files)["sha256Checksum"] != SHA256


def test_a_repeat_after_a_lost_answer_makes_no_duplicate(drive: Drive, files: Any) -> None:
    [id] = files.generateIds(count=1).execute()["ids"]
    lost = drive.emulator.add_fault("lost")
    assert upload(files, retries=0, id=id)["id"] == id  # it sends the chunk again and hears what became of it
    assert drive.emulator.fired(lost) == 1
    with pytest.raises(HttpError) as refused:
        upload(files, retries=0, id=id)
    assert refused.value.status_code == 409
    assert download(files, id) == CONTENT


def test_it_tells_the_true_cause(drive: Drive, files: Any) -> None:
    drive.emulator.add_fault("status", status=403, reason="storageQuotaExceeded")
    with pytest.raises(HttpError) as refused:
        upload(files, retries=0)
    assert refused.value.error_details[0]["reason"] == "storageQuotaExceeded"


def test_folders_and_lists_and_pages_and_removal(files: Any) -> None:
    folder = files.create(body={"name": "box", "mimeType": "application/vnd.google-apps.folder"}).execute()["id"]
    made = {upload(files, b"x", parents=[folder], name=f"part {number}")["id"] for number in range(5)}
    found, request = [], files.list(q=f"'{folder}' in parents and trashed=false", pageSize=2, orderBy="name")
    while request is not None:
        answer = request.execute()
        found += answer["files"]
        request = files.list_next(request, answer)
    assert [file["name"] for file in found] == [f"part {number}" for number in range(5)]
    assert {file["id"] for file in found} == made
    one = made.pop()
    files.update(fileId=one, body={"trashed": True}).execute()
    assert len(files.list(q=f"'{folder}' in parents and trashed=false").execute()["files"]) == 4
    files.delete(fileId=folder).execute()
    with pytest.raises(HttpError, match="404"):
        files.get(fileId=one).execute()


def test_small_files_by_multipart_and_changed_content_and_copies(files: Any) -> None:
    made = files.create(body={"name": "note.txt"}, media_body=MediaInMemoryUpload(b"one", "text/plain")).execute()
    assert made["mimeType"] == "text/plain"
    assert download(files, made["id"]) == b"one"
    copied = files.copy(fileId=made["id"], body={"name": "copy.txt"}).execute()["id"]
    files.update(fileId=made["id"], media_body=MediaInMemoryUpload(b"two", "text/plain")).execute()
    larger = MediaIoBaseUpload(io.BytesIO(CONTENT), "text/plain", chunksize=GRAIN, resumable=True)
    assert download(files, made["id"]) == b"two"
    files.update(fileId=made["id"], media_body=larger).execute()
    assert download(files, made["id"]) == CONTENT
    assert download(files, copied) == b"one"


def test_who_and_how_much(drive: Drive) -> None:
    service = service_at(drive.emulator)
    about = service.about().get(fields="user,storageQuota").execute()
    assert about["user"]["emailAddress"].endswith("@emulator.example")
    assert int(about["storageQuota"]["limit"]) > int(about["storageQuota"]["usage"])
    assert "shared0" in [shared["id"] for shared in service.drives().list().execute()["drives"]]
