"""Google's sign-in at the emulator: tokens, the consent page, service accounts."""

import base64
import hashlib
import json
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import google.auth.transport.requests
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import service_account

from devtools.emulator_process import EmulatorProcess
from tests.emulator.rig import Answer, Drive

SCOPE = "https://www.googleapis.com/auth/drive"
CLIENT = {"client_id": "client", "client_secret": "secret"}
FORM = "application/x-www-form-urlencoded"


def ask(drive: Drive, **form: str) -> Answer:
    return drive.send("POST", "/token", urlencode(form).encode(), token=None, Content_Type=FORM)


def works(drive: Drive, token: str) -> bool:
    return drive.send("GET", "/drive/v3/files", token=token).status == 200


@pytest.fixture
def strict(drive: Drive) -> Any:
    """The emulator, whose ways with tokens the test may change."""
    yield drive.emulator
    drive.emulator.set_tokens(seconds=3599, clients={}, known_only=False)


# --- refresh tokens ---


def test_any_client_and_any_refresh_token_is_accepted(drive: Drive) -> None:
    answer = ask(drive, grant_type="refresh_token", refresh_token="whatever", **CLIENT).json
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3599)
    assert works(drive, answer["access_token"])


def test_a_refresh_token_is_always_the_same_user_and_another_one_another(drive: Drive) -> None:
    def user(refresh_token: str) -> str:
        return str(Drive(drive.emulator, refresh_token).call("GET", "about", fields="user").json["user"])

    assert user("one") == user("one")
    assert user("one") != user("two")
    assert "very secret" not in user("very secret")


def test_the_client_may_say_who_it_is_in_the_header(drive: Drive) -> None:
    word = base64.b64encode(b"client:secret").decode()
    form = urlencode({"grant_type": "refresh_token", "refresh_token": "x"}).encode()
    assert (
        drive.send("POST", "/token", form, token=None, Content_Type=FORM, Authorization=f"Basic {word}").status == 200
    )
    assert drive.send("POST", "/token", form, token=None, Content_Type=FORM).json["error"] == "invalid_request"


def test_what_the_token_endpoint_does_not_know_is_refused(drive: Drive) -> None:
    for form, error in (
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", **CLIENT}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x", **CLIENT}, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}, "invalid_grant"),
    ):
        answer = ask(drive, **form)
        assert (answer.status, answer.json["error"]) == (400, error)


def test_only_known_clients_and_refresh_tokens_where_a_test_says_so(drive: Drive, strict: EmulatorProcess) -> None:
    strict.set_tokens(clients={"client": "secret"}, known_only=True)
    strict.set_account(refresh_token="known")
    known = {"grant_type": "refresh_token", "refresh_token": "known"}
    assert ask(drive, **known, **CLIENT).status == 200
    for wrong in ({"client_id": "client", "client_secret": "?"}, {"client_id": "?", "client_secret": "secret"}):
        answer = ask(drive, **known, **wrong)
        assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert ask(drive, grant_type="refresh_token", refresh_token="unknown", **CLIENT).json["error"] == "invalid_grant"


# --- access tokens ---


def test_nothing_of_drive_is_answered_without_a_good_token(drive: Drive) -> None:
    for method, path in (
        ("GET", "/drive/v3/files"),
        ("GET", "/drive/v3/files/root"),
        ("GET", "/drive/v3/files/root?alt=media"),
        ("PATCH", "/drive/v3/files/root"),
        ("DELETE", "/drive/v3/files/root"),
        ("GET", "/drive/v3/files/generateIds"),
        ("DELETE", "/drive/v3/files/trash"),
        ("POST", "/drive/v3/files/root/copy"),
        ("GET", "/drive/v3/about?fields=*"),
        ("GET", "/drive/v3/drives"),
        ("POST", "/drive/v3/drives"),
        ("POST", "/upload/drive/v3/files?uploadType=resumable"),
        ("POST", "/upload/drive/v3/files?uploadType=media"),
    ):
        without = drive.send(method, path, token=None)
        assert (without.status, without.reason) == (401, "required"), path
        wrong = drive.send(method, path, token="ya29.wrong")
        assert (wrong.status, wrong.reason) == (401, "authError"), path
        assert "WWW-Authenticate" in wrong.headers


def test_access_tokens_end_by_time_and_by_order(drive: Drive, strict: EmulatorProcess) -> None:
    token = strict.token()
    strict.void_tokens()
    assert not works(drive, token)
    strict.set_tokens(seconds=0.2)
    short = strict.token()
    deadline = time.monotonic() + 10
    while works(drive, short):
        assert time.monotonic() < deadline
    strict.set_tokens(seconds=3599)
    assert works(drive, strict.token())


def test_a_token_is_revoked_and_so_is_an_account(drive: Drive) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "to be revoked", **CLIENT}
    drive.emulator.set_account(refresh_token="to be revoked")
    token = ask(drive, **form).json["access_token"]
    assert drive.send("POST", f"/revoke?token={token}", b"", token=None).status == 200
    assert not works(drive, token)
    assert drive.send("POST", "/revoke?token=to%20be%20revoked", b"", token=None).status == 200
    assert ask(drive, **form).json == {
        "error": "invalid_grant",
        "error_description": "Token has been expired or revoked.",
    }
    assert drive.send("POST", "/revoke?token=nonsense", b"", token=None).status == 400
    drive.emulator.set_account(refresh_token="whose account goes")
    token = drive.emulator.token("whose account goes")
    drive.emulator.set_account(refresh_token="whose account goes", revoked=True)
    assert not works(drive, token)
    assert ask(drive, **form | {"refresh_token": "whose account goes"}).json["error"] == "invalid_grant"


# --- the consent page ---

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
BACK = "http://127.0.0.1:1/back?from=drive"
WISH = {
    "client_id": "client",
    "redirect_uri": BACK,
    "response_type": "code",
    "scope": SCOPE,
    "state": "s&t",
    "access_type": "offline",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


def consent(drive: Drive, email: str, wish: dict[str, str] = WISH, **said: str) -> dict[str, str]:
    """Say yes, or what the test says, on the page; returns what comes back with the browser."""
    form = urlencode(wish | {"email": email, "answer": "allow"} | said).encode()
    answer = drive.send("POST", "/o/oauth2/v2/auth", form, token=None, Content_Type=FORM)
    assert answer.status == 302, answer.body
    assert answer.headers["Location"].startswith("http://127.0.0.1:1/back?from=drive&")
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


def redeem(drive: Drive, code: str, **changes: str) -> Answer:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER, **CLIENT}
    return ask(drive, **form | changes)


def test_the_page_asks_and_carries_everything_on(drive: Drive) -> None:
    page = drive.send("GET", f"/o/oauth2/v2/auth?{urlencode(WISH)}", token=None)
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    text = page.body.decode()
    assert 'value="s&amp;t"' in text
    assert f'name="granted" value="{SCOPE}" checked' in text


def test_who_allows_it_comes_back_with_a_code_that_is_good_once(drive: Drive) -> None:
    came = consent(drive, "ann@example.org")
    assert (came["state"], came["scope"]) == ("s&t", SCOPE)
    tokens = redeem(drive, came["code"]).json
    about = drive.send("GET", "/drive/v3/about?fields=user", token=tokens["access_token"]).json
    assert about["user"]["emailAddress"] == "ann@example.org"
    assert works(drive, drive.emulator.token(tokens["refresh_token"]))
    assert redeem(drive, came["code"]).json["error"] == "invalid_grant"


def test_who_denies_it_comes_back_without(drive: Drive) -> None:
    came = consent(drive, "ann@example.org", answer="deny")
    assert (came["error"], came["state"]) == ("access_denied", "s&t")
    assert "code" not in came


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "w" * 64}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:1/elsewhere"}, "redirect_uri_mismatch"),
        ({"client_id": "another"}, "invalid_grant"),
    ],
)
def test_a_code_is_for_the_same_program_address_and_verifier(drive: Drive, changes: Any, error: str) -> None:
    assert redeem(drive, consent(drive, "ann@example.org")["code"], **changes).json["error"] == error


def test_the_refresh_token_comes_with_the_first_consent_or_when_asked_for_again(drive: Drive) -> None:
    def given(**changes: str) -> bool:
        wish = WISH | {"client_id": "new program"} | changes
        return (
            "refresh_token"
            in redeem(drive, consent(drive, "bob@example.org", wish)["code"], client_id="new program").json
        )

    assert given()
    assert not given()
    assert given(prompt="consent")
    assert not given(prompt="consent", access_type="online")


def test_who_unticks_drive_gives_a_token_that_does_not_open_it(drive: Drive) -> None:
    wish = WISH | {"scope": f"openid {SCOPE}"}
    came = consent(drive, "cat@example.org", wish, chosen="yes", granted="openid")
    assert came["scope"] == "openid"
    tokens = redeem(drive, came["code"]).json
    assert tokens["scope"] == "openid"
    for token in (tokens["access_token"], drive.emulator.token(tokens["refresh_token"])):
        refused = drive.send("GET", "/drive/v3/files", token=token)
        assert (refused.status, refused.reason) == (403, "insufficientPermissions")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": ""},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "http://files.example.org/back"},
        {"response_type": "token"},
        {"scope": ""},
        {"code_challenge_method": "S512"},
    ],
)
def test_a_wish_that_google_would_block_leads_nowhere(drive: Drive, changes: dict[str, str]) -> None:
    query = urlencode(WISH | changes)
    assert drive.send("GET", f"/o/oauth2/v2/auth?{query}", token=None).status == 400
    assert drive.send("POST", "/o/oauth2/v2/auth", query.encode(), token=None, Content_Type=FORM).status == 400


# --- service accounts, by Google's own library ---


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*kind).decode()


def robot(drive: Drive, private_key: str, scope: str = SCOPE, subject: str | None = None) -> Drive:
    info = {"client_email": "robot@project.iam.gserviceaccount.com", "private_key": private_key}
    info |= {"token_uri": drive.emulator.token_url}
    credentials = service_account.Credentials.from_service_account_info(info, scopes=[scope], subject=subject)
    credentials.refresh(google.auth.transport.requests.Request())
    its = Drive(drive.emulator)
    its.token = credentials.token
    return its


def test_a_service_account_fills_shared_drives_only(drive: Drive, private_key: str) -> None:
    its = robot(drive, private_key)
    about = its.call("GET", "about", fields="*").json
    assert about["user"]["emailAddress"] == "robot@project.iam.gserviceaccount.com"
    assert about["storageQuota"]["limit"] == "0"
    refused = its.try_start(5)
    assert (refused.status, refused.reason) == (403, "storageQuotaExceeded")
    assert "Service Accounts do not have storage quota" in refused.json["error"]["message"]
    assert its.upload(b"12345", parents=["shared0"])["driveId"] == "shared0"


def test_a_service_account_may_act_for_a_person(drive: Drive, private_key: str) -> None:
    its = robot(drive, private_key, subject="dan@example.org")
    assert its.call("GET", "about", fields="user").json["user"]["emailAddress"] == "dan@example.org"
    its.upload(b"12345")


def test_a_scope_without_drive_does_not_open_it(drive: Drive, private_key: str) -> None:
    its = robot(drive, private_key, scope="https://www.googleapis.com/auth/calendar")
    assert its.call("GET", "files").reason == "insufficientPermissions"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": -3600, "iat": -7200},
        {"exp": 86_400, "iat": 0},
        {"exp": 7200, "iat": 3700},
    ],
)
def test_an_assertion_out_of_its_time_is_refused(drive: Drive, claims: dict[str, int]) -> None:
    moment = int(time.time())
    said = {"iss": "robot@x", "scope": SCOPE, **{name: moment + seconds for name, seconds in claims.items()}}
    parts = [{"alg": "RS256"}, said, {}]
    assertion = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    answer = ask(drive, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion)
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
