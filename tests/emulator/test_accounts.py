"""The emulator's users: what each sees, may store, and has left."""

from typing import Any
from urllib.error import HTTPError

import pytest

from tests.emulator.rig import Drive


def quota(drive: Drive) -> dict[str, str]:
    return dict(drive.call("GET", "about", fields="storageQuota").json["storageQuota"])


@pytest.fixture
def person(drive: Drive, request: pytest.FixtureRequest) -> Drive:
    """A user whom no other test knows."""
    return Drive(drive.emulator, f"of {request.node.name}")


def test_about_tells_who_it_is_and_how_much_is_used(person: Drive) -> None:
    person.upload(b"12345")
    trashed = person.upload(b"123")
    person.call("PATCH", f"files/{trashed['id']}", {"trashed": True})
    used = quota(person)
    assert (used["usage"], used["usageInDriveTrash"], used["limit"]) == ("8", "3", str(2 * 1024**4))
    about = person.call("GET", "about", fields="user(emailAddress,me),maxUploadSize").json
    assert about["user"]["me"] is True
    assert about["maxUploadSize"] == "5497558138880"
    person.call("DELETE", f"files/{trashed['id']}")
    assert quota(person)["usage"] == "5"


def test_about_must_be_told_its_fields(drive: Drive) -> None:
    answer = drive.call("GET", "about")
    assert (answer.status, answer.reason) == (400, "required")
    assert drive.call("GET", "about", fields="colour").status == 400


def test_a_full_account_takes_nothing_that_does_not_fit(person: Drive) -> None:
    person.emulator.set_account(refresh_token=person.refresh_token, limit=10)
    person.upload(b"123456")
    refused = person.try_start(5)
    assert (refused.status, refused.reason) == (403, "storageQuotaExceeded")
    assert person.send("POST", "/upload/drive/v3/files?uploadType=media", b"12345").reason == "storageQuotaExceeded"
    person.upload(b"1234")
    person.emulator.set_account(refresh_token=person.refresh_token, limit=None)
    assert "limit" not in quota(person)
    person.upload(b"12345")


def test_a_day_has_a_budget_of_its_own(person: Drive) -> None:
    other = Drive(person.emulator, "another")
    person.emulator.set_account(refresh_token=person.refresh_token, daily=5)
    running = person.start(100)
    person.upload(b"1234")
    person.upload(b"5678")
    refused = person.try_start(1)
    assert (refused.status, refused.reason) == (403, "dailyLimitExceeded")
    assert person.put(running, bytes(100), 0, 100).status == 200  # what is under way may end
    other.upload(b"1")
    person.emulator.set_account(refresh_token=person.refresh_token, daily_reason="userRateLimitExceeded")
    assert person.try_start(1).reason == "userRateLimitExceeded"
    [seen] = [account for account in person.emulator.accounts() if account["daily"] == 5]
    assert (seen["used_today"], seen["usage"]) == (108, 108)


def test_all_see_one_drive_but_who_is_alone(person: Drive, drive: Drive) -> None:
    shared = drive.upload(b"for all")
    assert person.call("GET", f"files/{shared['id']}").status == 200
    alone = Drive(drive.emulator, "alone")
    alone.emulator.set_account(refresh_token="alone", alone=True)
    mine = alone.upload(b"mine")
    assert alone.call("GET", f"files/{mine['id']}", fields="parents").json["parents"] != ["root0"]
    assert alone.call("GET", f"files/{shared['id']}").status == 404
    assert [file["id"] for file in alone.call("GET", "files").json["files"]] == [mine["id"]]
    assert drive.call("GET", f"files/{mine['id']}").status == 404


@pytest.mark.parametrize(
    "body", [{}, {"refresh_token": "x", "colour": 1}, {"email": "a@b", "limit": "much"}, {"email": "a@b", "alone": 1}]
)
def test_an_account_that_makes_no_sense_is_refused(drive: Drive, body: dict[str, Any]) -> None:

    with pytest.raises(HTTPError, match="400"):
        drive.emulator.set_account(**body)


# --- shared drives ---


def test_a_shared_drive_is_seen_by_who_supports_it(drive: Drive) -> None:
    made = drive.upload(b"shared", name="ours", parents=["shared0"])
    assert (made["driveId"], made.get("owners")) == ("shared0", None)
    path = f"/drive/v3/files/{made['id']}"
    assert drive.send("GET", path).status == 404
    assert drive.send("GET", f"{path}?supportsAllDrives=true").status == 200
    q = {"q": "name='ours'"}
    assert drive.call("GET", "files", **q).json["files"] == []
    everywhere = {**q, "includeItemsFromAllDrives": "true"}
    assert len(drive.call("GET", "files", **everywhere).json["files"]) == 1
    assert len(drive.call("GET", "files", **everywhere, corpora="drive", driveId="shared0").json["files"]) == 1
    answer = drive.call("GET", "files", **everywhere, corpora="drive", driveId="nowhere")
    assert answer.status == 404


def test_shared_drives_are_listed_made_and_removed(drive: Drive) -> None:
    made = drive.call("POST", "drives", {"name": "Films"}, requestId="once").json["id"]
    assert {"shared0", made} <= {shared["id"] for shared in drive.call("GET", "drives").json["drives"]}
    assert drive.call("GET", f"drives/{made}").json["name"] == "Films"
    inside = drive.upload(b"", parents=[made])["id"]
    assert drive.call("DELETE", f"drives/{made}").status == 403
    drive.call("DELETE", f"files/{inside}")
    assert drive.call("DELETE", f"drives/{made}").status == 204
    assert drive.call("GET", f"drives/{made}").status == 404
    assert drive.call("POST", "drives", {"name": "x"}).status == 400


def test_what_lies_in_a_shared_drive_is_on_nobodys_quota(person: Drive) -> None:
    person.upload(b"12345", parents=["shared0"])
    assert quota(person)["usage"] == "0"


def test_a_content_manager_of_a_shared_drive_can_trash_and_not_remove(drive: Drive) -> None:
    member = Drive(drive.emulator, "content manager")
    member.emulator.set_account(refresh_token="content manager", manager=False)
    made = f"files/{member.upload(b'', parents=['shared0'])['id']}"
    assert member.call("GET", "files/shared0", fields="capabilities").json["capabilities"]["canDeleteChildren"] is False
    refused = member.call("DELETE", made)
    assert (refused.status, refused.reason) == (403, "insufficientFilePermissions")
    assert member.call("PATCH", made, {"trashed": True}).status == 200
    assert drive.call("GET", "files/shared0", fields="capabilities").json["capabilities"]["canDeleteChildren"] is True
    assert drive.call("DELETE", made).status == 204
