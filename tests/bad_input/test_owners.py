"""Every call on somebody's upload, by everybody whose it is not; and forwarded headers by those who may send them."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from devtools.client import Client, Upload
from devtools.server_process import ServerProcess
from tests.bad_input.calls import CALLS, Call
from tests.bad_input.conftest import Treasure
from tests.bad_input.http import Request, ask
from tests.bad_input.matrix import all_cells, faults_of


@dataclass(frozen=True)
class Visitor:
    """A browser: its cookies, and an upload of its own."""

    visitor: str
    csrf: str
    upload: Upload
    batch_id: str

    def cookies(self) -> str:
        return f"ddx_visitor={self.visitor}; csrftoken={self.csrf}"


async def visit(server: ServerProcess) -> Visitor:
    async with (
        Client(server.url) as client,
        aiohttp.ClientSession(server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
    ):
        async with browser.get("/"):
            pass
        body = {"files": [{"filename": "mine", "size": 5}]}
        async with browser.post("/api/v1/batch/initiate", json=body) as response:
            batch = await response.json()
        cookies = {cookie.key: cookie.value for cookie in browser.cookie_jar}
        upload = client.upload_from(batch["files"][0])
    return Visitor(cookies["ddx_visitor"], cookies["csrftoken"], upload, batch["batch_id"])


ON_AN_UPLOAD = [call for call in CALLS if call.needs_token]
Headers = tuple[tuple[str, str | bytes], ...]


async def test_an_upload_is_its_senders_alone(server: ServerProcess, treasure: Treasure) -> None:
    """The columns are what somebody shows; `(reading, changing)` the answers to a GET and to a POST or DELETE."""
    mine, theirs = await visit(server), await visit(server)
    token, cookies = mine.upload.token, mine.cookies()
    right, wrong = ("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {theirs.upload.token}")
    csrf = ("X-CSRFToken", mine.csrf)
    half = mine.visitor.rpartition(":")
    shown: dict[str, tuple[Headers, int | str, int | str]] = {
        "nothing": ((), "unauthorized", "unauthorized"),
        "its token": ((right,), 200, "done"),
        "another upload's token": ((wrong,), "unauthorized", "unauthorized"),
        "another upload's token and the right cookie": (
            (wrong, ("Cookie", cookies), csrf),
            "unauthorized",
            "unauthorized",
        ),
        "its token and a stranger's cookie": ((right, ("Cookie", theirs.cookies())), 200, "done"),
        "its digest": ((("Authorization", "Bearer " + "0" * 64),), "unauthorized", "unauthorized"),
        "its id": ((("Authorization", f"Bearer {mine.upload.file_id}"),), "unauthorized", "unauthorized"),
        "the token in the query": ((("X-Query", "1"),), "unauthorized", "unauthorized"),
        "the token in a cookie": (
            (("Cookie", f"upload_token={token}; token={token}"),),
            "unauthorized",
            "unauthorized",
        ),
        "the token in another header": ((("X-Upload-Token", token),), "unauthorized", "unauthorized"),
        "the right cookie": ((("Cookie", cookies),), 200, "forbidden"),
        "the right cookie and the CSRF token": ((("Cookie", cookies), csrf), 200, "done"),
        "the right cookie and another's CSRF token": (
            (("Cookie", cookies), ("X-CSRFToken", theirs.csrf)),
            200,
            "forbidden",
        ),
        "the right cookie and an empty CSRF token": ((("Cookie", cookies), ("X-CSRFToken", "")), 200, "forbidden"),
        "the right cookie, a CSRF token and no CSRF cookie": (
            (("Cookie", f"ddx_visitor={mine.visitor}"), csrf),
            200,
            "forbidden",
        ),
        "the right cookie, the CSRF token and a foreign page": (
            (("Cookie", cookies), csrf, ("Origin", "https://evil.example")),
            200,
            "forbidden",
        ),
        "a stranger's cookie": ((("Cookie", theirs.cookies()), ("X-CSRFToken", theirs.csrf)), "forbidden", "forbidden"),
        "a cookie without signature": ((("Cookie", f"ddx_visitor={half[0]}"),), "unauthorized", "unauthorized"),
        "a stranger's signature": (
            (("Cookie", f"ddx_visitor={half[0]}:{theirs.visitor.rpartition(':')[2]}"),),
            "unauthorized",
            "unauthorized",
        ),
        "a cookie cut short": ((("Cookie", f"ddx_visitor={mine.visitor[:-1]}"),), "unauthorized", "unauthorized"),
        "a cookie of another salt": (
            (("Cookie", "ddx_visitor=ImFiYyI:1tXyZa:abcdefgh"),),
            "unauthorized",
            "unauthorized",
        ),
        "an empty cookie": ((("Cookie", "ddx_visitor="),), "unauthorized", "unauthorized"),
        "the wrong cookie first": (
            (("Cookie", f"ddx_visitor={theirs.visitor}; ddx_visitor={mine.visitor}"),),
            200,
            "forbidden",
        ),
        "a made-up session": ((("Cookie", "sessionid=" + "a" * 32),), "unauthorized", "unauthorized"),
    }

    async def fault_of(cell: tuple[Call, str]) -> str | None:
        call, title = cell
        headers, reading, changing = shown[title]
        expected = changing if call.changes else reading
        if expected == "done":
            return None  # tried in other tests: here it would end the upload
        named = {name for name, _ in headers}
        if "Authorization" not in named:
            headers = (*headers, ("Authorization", b""))
        target = mine.batch_id if call.target == "batch" else mine.upload.file_id
        answer = await ask(server.port, call.request(treasure, *headers, target=target))
        return faults_of(answer, expected)

    listed = [(f"{call} with {title}", (call, title)) for call in ON_AN_UPLOAD for title in shown]
    await all_cells("owners", listed, fault_of)
    status = await ask(server.port, Request("GET", f"/api/v1/upload/status/{mine.upload.file_id}", (right,)))
    assert status is not None
    assert status.problem["status"] == "pending"


async def test_a_body_in_the_wrong_form_is_no_fault_of_ours(server: ServerProcess) -> None:
    """The CSRF check looks into forms; one that cannot be read is refused like any other body that is no JSON."""
    mine = await visit(server)
    path = f"/api/v1/upload/cancel/{mine.upload.file_id}"
    bodies = {
        "a boundary that is none": ("multipart/form-data", b"x"),
        "a form cut off": ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name="),
        "a form of base64 that is none": (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n!!!!!\r\n--x--",
        ),
        "a form in no encoding": ("application/x-www-form-urlencoded; charset=hex", b"a=b"),
        "too many fields": ("application/x-www-form-urlencoded", b"a&" * 2000),
        "bytes": ("application/octet-stream", b"\xff\xfe"),
        "no type": ("", b"x"),
        "an empty form whose boundary is none": ("multipart/form-data", b""),
        "an empty form in no encoding": ("application/x-www-form-urlencoded; charset=hex", b""),
    }

    async def fault_of(cell: tuple[str, bytes, bool]) -> str | None:
        kind, body, in_chunks = cell
        headers: list[tuple[str, str | bytes]] = [("Cookie", mine.cookies()), ("Content-Type", kind)]
        if in_chunks:
            headers.append(("Transfer-Encoding", "chunked"))
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return faults_of(await ask(server.port, Request("POST", path, tuple(headers), body)), "invalid_request")

    cells = [
        (f"{title}{', in chunks' * in_chunks}", (kind, body, in_chunks))
        for title, (kind, body) in bodies.items()
        for in_chunks in (False, True)
    ]
    await all_cells("owners", cells, fault_of)


# --- behind a proxy ---


@pytest.fixture(scope="module")
def behind_a_proxy(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A program whose peers on this machine are proxies that it trusts."""
    data = tmp_path_factory.mktemp("proxy") / "data"
    shutil.copytree(prepared_data_dir, data)
    settings = {"TRUSTED_PROXIES": "127.0.0.0/8,::1", "ALLOWED_HOSTS": "files.example.org,127.0.0.1"}
    with ServerProcess(data, settings) as server:
        yield server


ADDRESSES = [
    "", ",", ",,,", " ", "unknown", "nonsense", "_hidden", "1.2.3.4", "1.2.3.4:80", "[::1]", "[2001:db8::1]:443",
    "2001:db8::1", "::",
    "fe80::1%eth0", "fe80::1%" + "x" * 5000, "::ffff:1.2.3.4", "1.2.3.4, ", ", 1.2.3.4", "1.2.3", "1.2.3.4.5",
    "256.1.1.1", "01.02.03.04",
    "0x7f.1", "2130706433", "-1", "1.2.3.4/8", "1.2.3.4," * 4000, "127.0.0.1," * 4000, "x" * 8000, b"\xff\xfe",
    "٣.٤.٥.٦", "'; DROP TABLE x",
    "<script>", "localhost", "evil.example", "0.0.0.0", "255.255.255.255", "::ffff:0:0", "1::2::3", "for=1.2.3.4",
]  # fmt: skip
HOSTS: dict[str | bytes, int | str] = {
    "files.example.org": 200, "FILES.example.org": 200, "files.example.org:8443": 200,
    "evil.example, files.example.org": 200, "": 200,
    "files.example.org, evil.example": "invalid_request", "evil.example": "invalid_request", "a b": "invalid_request",
    "[::1": "invalid_request",
    b"\xff": "invalid_request", "x" * 8000: "invalid_request", "files.example.org@evil.example": "invalid_request",
    "files.example.org/x": "invalid_request", "files.example.org:x": "invalid_request",
    "files.example.org.evil.example": "invalid_request",
}  # fmt: skip
SCHEMES = [
    "",
    "http",
    "https",
    "HTTPS",
    "ftp",
    "javascript",
    "https,http",
    "http,https",
    b"\xff",
    "x" * 8000,
    "ws",
    "wss",
    "https://",
]


async def test_what_a_trusted_proxy_forwards_may_be_nonsense_too(behind_a_proxy: ServerProcess) -> None:
    body = b'{"filename": "a.bin", "size": 1}'
    cells: list[tuple[str, tuple[str, str | bytes, int | str]]] = [
        (f"X-Forwarded-For {address[:40]!r}", ("X-Forwarded-For", address, 200)) for address in ADDRESSES
    ]
    cells += [(f"X-Forwarded-Host {host[:40]!r}", ("X-Forwarded-Host", host, code)) for host, code in HOSTS.items()]
    cells += [(f"X-Forwarded-Proto {scheme[:40]!r}", ("X-Forwarded-Proto", scheme, 200)) for scheme in SCHEMES]

    async def fault_of(cell: tuple[str, str | bytes, int | str]) -> str | None:
        name, value, expected = cell
        headers = ((name, value), ("Content-Type", "application/json"))
        return faults_of(
            await ask(behind_a_proxy.port, Request("POST", "/api/v1/upload/initiate", headers, body)), expected
        )

    await all_cells("forwarded headers", cells, fault_of)


async def test_after_all_of_it_the_half_upload_goes_on_and_ends_equal(laid_down: Treasure, client: Client) -> None:
    await laid_down.ends_equal(client)
