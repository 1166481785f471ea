"""Every header that the program reads, on every call, in every wrong form."""

import uuid

import pytest

from devtools.client import Client
from devtools.server_process import ServerProcess
from tests.bad_input.calls import CALLS, PAGES, Call
from tests.bad_input.conftest import Treasure
from tests.bad_input.http import MISSING, Request, ask
from tests.bad_input.matrix import NO_REQUEST, all_cells, faults_of

REACHED = "reached"  # the call goes on as if nothing had been wrong
Expected = int | str
Cells = dict[str, tuple[str | bytes, Expected]]


def all_are(expected: Expected, *values: str | bytes) -> Cells:
    return {repr(value[:50]): (value, expected) for value in values}


# What no header of any name may hold or be; the server refuses it before the program sees it.
UNSENDABLE = all_are(NO_REQUEST, b"a\x00b", b"a\rb", b"a\nb", b"a\r\n b\x00", b"\x00")


async def try_calls(
    server: ServerProcess, treasure: Treasure, surface: str, calls: list[Call], name: str, cells: Cells
) -> None:
    async def fault_of(cell: tuple[Call, str | bytes, Expected]) -> str | None:
        call, value, expected = cell
        answer = await ask(server.port, call.request(treasure, (name, value)))
        if call.method == "HEAD" and expected == "invalid_request" and answer is not None:
            return None if answer.status == 422 else f"answered {answer.status}"
        return faults_of(answer, call.reached if expected == REACHED else expected)

    listed = [
        (f"{call} {name}: {title}", (call, value, expected))
        for call in calls
        for title, (value, expected) in cells.items()
    ]
    await all_cells(surface, listed, fault_of)


# --- headers that decide nothing, whatever they hold ---

HARMLESS: dict[str, Cells] = {
    "Accept-Language": all_are(
        REACHED,
        "",
        "hi",
        "xx",
        "*",
        "en;q=2",
        "en;q=NaN",
        "en;q=1e999",
        ",,,;;;",
        "en-" * 2000,
        "en," * 5000,
        b"\xff\xfe",
        "../../etc/passwd",
        "en\t;\tq=0",
        "hi;q=0.1,en;q=0.1," * 500,
    ),
    "Accept": all_are(REACHED, "", "*/*", "text/html", "application/xml", "nonsense", ";;;", b"\xff", "x/" * 5000),
    "Cookie": all_are(
        REACHED,
        "",
        "=",
        ";",
        "a",
        "a=b;" * 3000,
        "sessionid=",
        "sessionid=x",
        'sessionid="aaaaaaaa\\000aaaaaaaa"',
        'sessionid="a\\012b"',
        "sessionid=" + "a" * 32,
        "sessionid=" + "x" * 8000,
        b"sessionid=\xff\xfe",
        "sessionid=../../etc/passwd",
        "sessionid=' OR 1=1 --",
        "ddx_visitor=",
        "ddx_visitor=x",
        "ddx_visitor=x:y",
        "ddx_visitor=x:y:z",
        'ddx_visitor="\\000:\\000:\\000"',
        "ddx_visitor=" + "e30:" * 2000,
        b"ddx_visitor=\x80",
        "csrftoken=",
        "csrftoken=x",
        'csrftoken="\\000"',
        "csrftoken=" + "x" * 5000,
        "django_language=xx",
        'django_language="' + "\\" * 8000 + '"',
        'django_language="\\000"',
        "django_language=" + "en-" * 2000,
        "messages=x",
        "messages=W10:x:y",
    ),
    "X-CSRFToken": all_are(REACHED, "", "x", "x" * 5000, b"\xff"),
    "X-Request-ID": all_are(REACHED, "", "x", "x" * 8000, b"\xff\xfe", "%s {0} ${x}", b"\x1b[31m"),
    "X-Correlation-ID": all_are(REACHED, "", "x" * 8000, b"\xff"),
    "X-Forwarded-For": all_are(REACHED, "", "1.2.3.4", "nonsense", ",,,", "::1", "1.2.3.4," * 3000, b"\xff", "unknown"),
    "X-Forwarded-Host": all_are(REACHED, "", "evil.example", "a b", "[::1", b"\xff", "x" * 8000, "evil.example:99999"),
    "X-Forwarded-Proto": all_are(REACHED, "", "https", "ftp", "https,http", b"\xff"),
    "X-Forwarded-Port": all_are(REACHED, "", "443", "99999", "x"),
    "Forwarded": all_are(REACHED, "", "for=1.2.3.4;host=evil.example;proto=https", ";;;=", b"\xff"),
    "X-Real-IP": all_are(REACHED, "1.2.3.4", "nonsense"),
    "X-HTTP-Method-Override": all_are(REACHED, "DELETE", "", "nonsense"),
    "X-Original-URL": all_are(REACHED, "/admin/", ""),
    "Referer": all_are(REACHED, "", "https://evil.example/", "nonsense", b"\xff"),
    "User-Agent": all_are(REACHED, "", "x" * 8000, b"\xff", "() { :;}; echo"),
    "Sec-Fetch-Site": all_are(REACHED, "", "cross-site", "nonsense"),
    "Upgrade-Insecure-Requests": all_are(REACHED, "1", "nonsense"),
    "Expect": all_are(REACHED, "", "nonsense", "100-continue"),
    "TE": all_are(REACHED, "trailers", "nonsense"),
}
ON_PAGES_TOO = {"Accept-Language", "Accept", "Cookie", "X-Forwarded-Host", "X-Forwarded-Proto", "Referer"}


@pytest.mark.parametrize("name", HARMLESS)
async def test_a_header_that_decides_nothing_changes_nothing(
    server: ServerProcess, treasure: Treasure, name: str
) -> None:
    # Who asks for metrics from behind a proxy is not on this machine.
    pages = [page for page in PAGES if name in ON_PAGES_TOO and page.path != "/metrics"]
    await try_calls(server, treasure, "headers", CALLS + pages, name, HARMLESS[name])


async def test_what_no_header_may_hold_is_refused_before_any_call(server: ServerProcess, treasure: Treasure) -> None:
    for name in ("Authorization", "Idempotency-Key", "Origin", "Cookie", "Range", "X-Anything"):
        await try_calls(server, treasure, "headers", CALLS, name, UNSENDABLE)


# --- credentials ---


def authorizations(token: str, other: str) -> Cells:
    refused = all_are(
        "unauthorized", MISSING, "", "Bearer", "Bearer ", "Bearer x", token, f"Bearer:{token}", f"Bearer\t{token}",
        f"Basic {token}", f"Digest {token}", f"Token {token}", f"Bearer {token} x", f"Bearer {token},",
        f"Bearer {token}A",
        f"Bearer {token[:-1]}", f"Bearer {token[1:]}", f"Bearer {token.swapcase()}", f"Bearer {other}",
        f'Bearer "{token}"',
        f"Bearer token={token}", f"Bearer {other} {token}", f"Bearer {other}, Bearer {token}", "Bearer null",
        "Bearer *",
        "Bearer ' OR 1=1 --", "Bearer " + "x" * 8000, b"Bearer \xff\xfe", b"Bearer \xc2\xa0" + token.encode(),
        "Bearer " + "=" * 43,
        "Bearer e30.e30.", "Bearer None", "Bearer 0", "Bearer undefined",
    )  # fmt: skip
    return refused | all_are(REACHED, f"Bearer {token}", f"bearer {token}", f"BEARER {token}", f"Bearer  {token}")


async def test_only_the_uploads_own_token_opens_it(server: ServerProcess, treasure: Treasure) -> None:
    for call in CALLS:
        if call.needs_token:
            own = getattr(treasure, call.target)
            other = treasure.finished if own is treasure.half else treasure.half
            cells = authorizations(own.token, other.token)
            await try_calls(server, treasure, "credentials", [call], "Authorization", cells)


async def test_a_call_that_needs_no_token_looks_at_none(server: ServerProcess, treasure: Treasure) -> None:
    free = [call for call in CALLS + PAGES if not call.needs_token]
    cells = all_are(REACHED, "", "Bearer", "Bearer x", "Basic e", b"\xff", "Bearer " + "x" * 8000)
    await try_calls(server, treasure, "credentials", free, "Authorization", cells)


async def test_two_tokens_are_none(server: ServerProcess, treasure: Treasure) -> None:
    call = next(call for call in CALLS if call.needs_token)
    right = ("Authorization", f"Bearer {treasure.half.token}")
    answer = await ask(server.port, call.request(treasure, right, right))
    assert faults_of(answer, "unauthorized") is None


# --- where the request comes from ---


async def test_another_sites_page_changes_nothing_whatever_its_origin_looks_like(
    server: ServerProcess, treasure: Treasure
) -> None:
    own = f"127.0.0.1:{server.port}"
    ours = (f"http://{own}", f"HTTP://{own}", f"http://{own}/")
    foreign = (
        "null", "", "*", "https://evil.example", f"https://{own}", "http://127.0.0.1",
        f"http://127.0.0.1:{server.port + 1}",
        f"http://localhost:{server.port}", f"http://[::1]:{server.port}", f"http://{own}.evil.example",
        f"http://{own}@evil.example",
        f"http://user@{own}", f"http://evil.example#{own}", f"http://{own}/path", f"http://{own}?x", f"//{own}", own,
        f"ftp://{own}", "http://", "http://[", "http://127.0.0.1:99999", "http://127.0.0.1:-1", "http://2130706433",
        f"http://0x7f.1:{server.port}", f"http://{own} http://{own}", f"http://{own},https://evil.example", "x" * 8000,
        b"http://\xff", f"http:\\\\{own}", "data:text/html,x", "file://", "chrome-extension://abc",
    )  # fmt: skip
    changing = [call for call in CALLS if call.changes]
    reading = [call for call in CALLS if not call.changes]
    cells = all_are(REACHED, MISSING, *ours) | all_are("forbidden", *foreign)
    await try_calls(server, treasure, "origins", changing, "Origin", cells)
    await try_calls(server, treasure, "origins", reading, "Origin", all_are(REACHED, *ours, *foreign))


async def test_a_host_that_is_not_ours_gets_nothing(server: ServerProcess, treasure: Treasure) -> None:
    refused = all_are(
        "invalid_request", "evil.example", f"evil.example:{server.port}", "", " ", "127.0.0.1:x",
        "127.0.0.1 evil.example",
        "127.0.0.1,evil.example", "a@127.0.0.1", "127.0.0.1/x", "[::1", "[::1]x", "..", "x" * 8000, b"\xff",
        "٠.example",
        "0", "127.0.0.1.evil.example", "169.254.169.254", "localhost.evil.example", "_",
    )  # fmt: skip
    refused |= all_are(NO_REQUEST, MISSING)
    # `localhost` is another name of this very address.
    welcome = all_are(
        REACHED, "127.0.0.1", "127.0.0.1:1", "localhost", "x.localhost", "[::1]", "LOCALHOST", "127.0.0.1."
    )
    await try_calls(server, treasure, "hosts", CALLS, "Host", refused | welcome)


async def test_two_hosts_are_none(server: ServerProcess, treasure: Treasure) -> None:
    for call in CALLS:
        hosts = (("Host", f"127.0.0.1:{server.port}"), ("Host", "evil.example"))
        assert faults_of(await ask(server.port, call.request(treasure, *hosts)), NO_REQUEST) is None


# --- requests made again ---


async def test_an_idempotency_key_has_1_to_255_characters(server: ServerProcess, treasure: Treasure) -> None:
    initiate = [call for call in CALLS if call.path.endswith("initiate")]
    welcome = all_are(
        REACHED,
        MISSING,
        "x",
        "a b",
        str(uuid.uuid4()),
        "x" * 255,
        b"\xff\xfe",
        "'; DROP TABLE x",
        "%00",
        "é",
        "ключ",
        "0",
        "null",
    )
    refused = all_are("invalid_request", "", " ", "\t", "x" * 256, "x" * 8000, b"\xff" * 256)
    await try_calls(server, treasure, "idempotency keys", initiate, "Idempotency-Key", welcome | refused)
    others = [call for call in CALLS if not call.path.endswith("initiate")]
    await try_calls(server, treasure, "idempotency keys", others, "Idempotency-Key", all_are(REACHED, "", "x" * 8000))


# --- parts of a file ---

NO_RANGES = [
    "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=0-0,2-3", "bytes=0-0,-1", "byte=0-1",
    "items=0-1", "bytes 0-1", "bytes=0 - 1", "bytes=+1-2", "bytes=-1-2", "bytes=0x1-0x2", "bytes=1.0-2", "0-1",
    "bytes=1e1-", "bytes=0-1-2", "bytes=" + "0-1," * 3000, "bytes=²-³", "bytes=;", "none",
]  # fmt: skip
SERVED = [
    "bytes=0-", "bytes=0-0", "Bytes=0-1", "bytes= 0-1 ", "bytes=-1", "bytes=-" + "9" * 400, "bytes=0-" + "9" * 400,
    "bytes=00-01",
]  # fmt: skip
OUTSIDE = ["bytes=3000-", "bytes=-0", "bytes=" + "9" * 400 + "-", "bytes=3000-3001"]


async def test_a_range_is_served_refused_or_not_understood(server: ServerProcess, treasure: Treasure) -> None:
    cells = all_are(200, *NO_RANGES) | all_are(206, *SERVED) | all_are("range_invalid", *OUTSIDE)
    get = [call for call in CALLS if call.target == "finished" and call.method == "GET"]
    await try_calls(server, treasure, "ranges", get, "Range", cells)
    head = [call for call in CALLS if call.method == "HEAD"]
    await try_calls(server, treasure, "ranges", head, "Range", all_are(200, *NO_RANGES, *SERVED, *OUTSIDE))


async def test_a_condition_that_cannot_be_read_is_as_good_as_none(server: ServerProcess, treasure: Treasure) -> None:
    downloads = [call for call in CALLS if "download" in call.path]
    unread = all_are(
        REACHED, "", "x", '"', '""', '"x"', "W/", 'W/"x"', ",,,", '"x",' * 3000, b"\xff", "not a date", "x" * 8000
    )
    for name in ("If-None-Match", "If-Range", "If-Modified-Since", "If-Unmodified-Since", "Cache-Control"):
        await try_calls(server, treasure, "conditions", downloads, name, unread)
    await try_calls(server, treasure, "conditions", downloads, "If-None-Match", all_are(304, "*", " * "))
    other = all_are("precondition_failed", "", "x", '"', '""', '"x"', "W/", ",,,", '"x",' * 3000, b"\xff", "x" * 8000)
    await try_calls(server, treasure, "conditions", downloads, "If-Match", other | all_are(REACHED, "*", " * "))


# --- the length of the body ---


async def test_a_length_that_is_none_is_no_request(server: ServerProcess, treasure: Treasure) -> None:
    cells = all_are(
        NO_REQUEST, "", "-1", "+1", "1.0", "1e3", "0x10", "a", "1,2", "1;2", "1 2", "9" * 400, b"\xff", "٣", "²"
    ) | all_are("body_too_large", str(2 * 2**20 + 1), "9" * 15)
    posts = [call for call in CALLS if call.body is not None]
    await try_calls(server, treasure, "lengths", posts, "Content-Length", cells)


SMUGGLED = b"0\r\n\r\nDELETE /api/v1/files HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_body_has_one_length_or_comes_in_chunks(server: ServerProcess, treasure: Treasure) -> None:
    chunked = b'20\r\n{"filename": "a.bin", "size": 1}\r\n0\r\n\r\n'
    bodies: dict[str, tuple[list[tuple[str, str | bytes]], bytes, Expected]] = {
        "in chunks": ([("Transfer-Encoding", "chunked")], chunked, 200),
        "in chunks with trailers": ([("Transfer-Encoding", "chunked")], chunked[:-2] + b"X-Trailer: 1\r\n\r\n", 200),
        "in chunks with extensions": ([("Transfer-Encoding", "chunked")], chunked.replace(b"20\r", b"20;a=b\r"), 200),
        "in two ways": ([("Transfer-Encoding", "chunked"), ("Content-Length", "5")], chunked, 200),
        "chunks that are none": ([("Transfer-Encoding", "chunked")], b"nonsense\r\n", "invalid_request"),
        "a chunk of negative size": ([("Transfer-Encoding", "chunked")], b"-5\r\nabc\r\n", "invalid_request"),
        "a chunk without end": ([("Transfer-Encoding", "chunked")], b"f" * 400 + b"\r\nabc\r\n", "invalid_request"),
        "gzip in chunks": ([("Transfer-Encoding", "gzip, chunked")], chunked, NO_REQUEST),
        "an unknown coding": ([("Transfer-Encoding", "nonsense")], chunked, NO_REQUEST),
        "two lengths": ([("Content-Length", "32"), ("Content-Length", "33")], chunked, NO_REQUEST),
        "the same length twice": ([("Content-Length", "32"), ("Content-Length", "32")], b"", 200),
    }

    async def fault_of(cell: tuple[list[tuple[str, str | bytes]], bytes, Expected]) -> str | None:
        headers, body, expected = cell
        if not body:
            body = b'{"filename": "a.bin", "size": 1}'
        request = Request("POST", "/api/v1/upload/initiate", (("Content-Type", "application/json"), *headers), body)
        answer = await ask(server.port, request)
        if expected == "invalid_request" and (answer is None or answer.status == 400):
            return None
        return faults_of(answer, expected)

    await all_cells("lengths", bodies.items(), fault_of)


async def test_after_all_of_it_the_half_upload_goes_on_and_ends_equal(laid_down: Treasure, client: Client) -> None:
    await laid_down.ends_equal(client)
