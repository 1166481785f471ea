"""Every address: wrong ids in the path, wrong methods, wrong queries, addresses that are none."""

import base64

from devtools.client import Client
from devtools.server_process import ServerProcess
from tests.bad_input.calls import CALLS, PAGES, Call
from tests.bad_input.conftest import Treasure
from tests.bad_input.http import Request, ask
from tests.bad_input.matrix import NO_REQUEST, all_cells, faults_of

NOBODYS = "00000000-0000-4000-8000-000000000000"


def wrong_ids(id: str) -> list[str]:
    """What stands in the path in the place of `id`, percent-encoded as a client would; each is nobody's file."""
    return [
        NOBODYS, "no-uuid", "%20", "null", "undefined", "None", "0", "-1", "1", "*", "%2A", "true", "[]", "{}",
        "%7B%7D",
        id.replace("-", ""), f"%7B{id}%7D", f"urn:uuid:{id}", f"{id}%20", f"%20{id}", f"{id}%0A", f"{id}%00",
        f"%00{id}", f"{id}x",
        f"{id}%2F", f"{id}%5C", f"{id};x=1", f"{id}.json", id[:-1], id + id, id[:-1] + "g", f"{id},{id}", f"{id}%2C",
        f"{id}%09",
        "%FF", "%C0%AF", "%ED%A0%80", "%E0%A5%A7" * 36, "%F0%9F%98%80", "%u0041", "%", "%2", "%zz", "%25", "%2500",
        "%2e", "%2e%2e",
        "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cetc%5cpasswd", "....//", ".",
        "..;",
        "' OR 1=1 --".replace(" ", "%20"), "%27%3B%20DROP%20TABLE%20x%3B--", "%3Cscript%3E", "%7B%7B7*7%7D%7D",
        "$%7B7*7%7D",
        "a" * 300, "a" * 10_000, "%41" * 3000, "1" * 400, "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-1000-8000-000000000000", "CON",
        "file:%2F%2F%2Fetc%2Fpasswd",
        "http:%2F%2Fevil.example", "%EF%BB%BF" + id, id.replace("-", "%E2%80%90"), id.replace("-", "_"),
    ]  # fmt: skip


async def try_ids(server: ServerProcess, treasure: Treasure) -> None:
    async def fault_of(cell: tuple[Call, str]) -> str | None:
        call, id = cell
        answer = await ask(server.port, call.request(treasure, target=id))
        if answer is not None and not call.path.startswith("/api"):
            return None if answer.status == 404 else f"answered {answer.status}"
        return faults_of(answer, "not_found")

    listed = [
        (f"{call} {id[:60]}", (call, id))
        for call in CALLS + PAGES
        if call.target
        for id in wrong_ids(getattr(treasure, call.target).file_id)
    ]
    await all_cells("ids", listed, fault_of)


async def test_an_id_that_is_no_files_is_not_found(server: ServerProcess, treasure: Treasure) -> None:
    await try_ids(server, treasure)


async def test_an_id_in_capitals_is_the_same_id(server: ServerProcess, treasure: Treasure) -> None:
    for call in CALLS:
        if call.target:
            id = getattr(treasure, call.target).file_id.upper()
            assert faults_of(await ask(server.port, call.request(treasure, target=id)), call.reached) is None


METHODS = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK", "NONSENSE", "X" * 500,
    "GET-X", "PURGE", "QUERY", "M-SEARCH",
]  # fmt: skip


async def test_an_address_answers_its_own_methods_and_names_them_to_others(
    server: ServerProcess, treasure: Treasure
) -> None:
    own: dict[str, set[str]] = {}
    for call in CALLS:
        own.setdefault(call.path, set()).add(call.method)

    async def fault_of(cell: tuple[Call, str]) -> str | None:
        call, method = cell
        request = call.request(treasure)
        answer = await ask(server.port, Request(method, request.path, request.headers, request.body))
        fault = faults_of(answer, "method_not_allowed")
        if fault or answer is None:
            return fault
        allowed = {name.strip() for name in answer.headers.get("allow", "").split(",")}
        return None if allowed == own[call.path] else f"allows {allowed}"

    listed = [
        (f"{method} {call.path}", (call, method))
        for call in CALLS
        for method in METHODS
        if method not in own[call.path]
    ]
    await all_cells("methods", listed, fault_of)


def wrong_cursors() -> list[str]:
    def made(text: str | bytes) -> str:
        return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode()

    return [
        "x", "%00", "%FF", "null", "0", "-1", "1", "a" * 10_000, "%F0%9F%98%80", "====", "=", "%20", "..",
        "' OR 1=1".replace(" ", "+"),
        made(" "), made("x x"), made(b"\xff\xfe"), made(f"2026-01-01T00:00:00+00:00 0 {NOBODYS}x"), made("\x00"),
        made(f"2026-01-01 0 {NOBODYS}"), made(f"2026-01-01T00:00:00 0 {NOBODYS}"),
        made(f"2026-13-01T00:00:00+00:00 0 {NOBODYS}"),
        made(f"0001-01-01T00:00:00+23:59 0 {NOBODYS}"), made(f"9999-12-31T23:59:59-23:59 0 {NOBODYS}"),
        made(f"10000-01-01T00:00:00+00:00 0 {NOBODYS}"), made("2026-01-01T00:00:00+00:00 0 x"),
        made(f"now 0 {NOBODYS}"),
        made(f"2026-01-01T00:00:00+99:99 0 {NOBODYS}"), made('{"a":1}'), made(b"\x80\x04\x95"),
        made("2026-01-01T00:00:00+00:00"), made(f"2026-01-01T00:00:00+00:00 {NOBODYS}"),
        *(made(f"2026-01-01T00:00:00+00:00 {place} {NOBODYS}") for place in (
            "", "x", "-1", "1.5", "1e3", "NaN", "0x1", "9" * 20, "9" * 5000, "\x00", "0 0",
        )),
    ]  # fmt: skip


async def try_cursors(server: ServerProcess, client: Client) -> None:
    """As a visitor with files, since nobody else's list has pages."""
    async with client.http.post("/api/v1/upload/initiate", json={"filename": "a", "size": 0}) as response:
        visitor = response.cookies["ddx_visitor"].value

    async def fault_of(cursor: str) -> str | None:
        cookie = ("Cookie", f"ddx_visitor={visitor}")
        return faults_of(
            await ask(server.port, Request("GET", f"/api/v1/files?cursor={cursor}", (cookie,))), "invalid_request"
        )

    await all_cells("cursors", ((cursor[:60], cursor) for cursor in wrong_cursors()), fault_of)
    early_and_late = ("0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00", "2026-01-01T00:00:00Z")
    for moment in early_and_late:
        cursor = base64.urlsafe_b64encode(f"{moment} 0 {NOBODYS}".encode()).decode()
        request = Request("GET", f"/api/v1/files?cursor={cursor}", (("Cookie", f"ddx_visitor={visitor}"),))
        assert faults_of(await ask(server.port, request), 200) is None


async def test_a_cursor_that_was_not_made_here_is_refused(
    server: ServerProcess, treasure: Treasure, client: Client
) -> None:
    await try_cursors(server, client)


QUERIES = [
    "?", "?&", "?&&=&", "?=", "?a", "?a=b&a=c", "?%00", "?%FF=%FF", "?a=" + "x" * 10_000, "?" + "a&" * 990, "?cursor",
    "?cursor=",
    "?%F0%9F%98%80", "?a[]=1&a[b]=2", "?format=xml", "?callback=x", "?_method=DELETE", "?file_id=x",
    "?request=1&payload=2",
]  # fmt: skip


async def test_a_query_that_nobody_asked_for_changes_nothing(server: ServerProcess, treasure: Treasure) -> None:
    async def fault_of(cell: tuple[Call, str]) -> str | None:
        call, query = cell
        request = call.request(treasure)
        path = f"{request.path}{query}"
        return faults_of(
            await ask(server.port, Request(call.method, path, request.headers, request.body)), call.reached
        )

    listed = [(f"{call} {query[:40]}", (call, query)) for call in CALLS for query in QUERIES]
    await all_cells("queries", listed, fault_of)


NOWHERE = [
    "/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/upload/quota-info", "/api/v1/upload", "/api/v1/upload/",
    "/api/v1/upload/status",
    "/api/v1/upload/status/", "/api/v1/upload/quota-info/", "/api/v1//upload/quota-info",
    "//api/v1/upload/quota-info".replace("//", "/api//"),
    "/api/v1/upload/quota-info%00", "/api/v1/upload/quota-info%0a", "/api/v1/upload/quota-info%2f",
    "/api/v1/upload/./quota-info",
    "/api/v1/files/../upload/quota-info", "/api/v1/files/%2e%2e/upload/quota-info", "/api/v1/UPLOAD/quota-info",
    "/api/v1/%FF", "/api/v1/\\",
    "/api/v1/" + "a/" * 3000, "/api/v1/" + "%2e%2e/" * 500, "/api/v1/files//meta", "/api/v1/download/stream/",
    "/api/.git/config", "/api/v1/.env", "/api/v1/system", "/api/v1/system/upload-status/x", "/api/docs/x",
    "/api/openapi.yaml",
]  # fmt: skip
PAGES_NOWHERE = [
    "/x", "/f/", "/f/x", "/F/" + NOBODYS, "/.env", "/.git/config", "/static/", "/static/../manage.py",
    "/static/%2e%2e/manage.py",
    "/static/..%2fmanage.py", "/static//etc/passwd", "/static/%00", "/static/uploads/..%5c..%5cmanage.py", "/%00",
    "/%FF", "/" + "a" * 8000,
    "/f/" + NOBODYS + "/", "/index.php", "/static/uploads", "/f/%2e%2e/%2e%2e/etc/passwd", "/var/secret_key",
    "/server.log",
]  # fmt: skip


async def test_what_is_nowhere_is_not_found(server: ServerProcess, treasure: Treasure) -> None:
    async def fault_of(cell: str) -> str | None:
        method, _space, path = cell.partition(" ")
        answer = await ask(server.port, Request(method, path))
        if path.startswith("/api"):
            return faults_of(answer, "not_found")
        return None if answer is not None and answer.status == 404 else f"answered {answer and answer.status}"

    cells = [f"{method} {path}" for method in ("GET", "POST", "DELETE") for path in NOWHERE]
    cells += [f"GET {path}" for path in PAGES_NOWHERE]
    await all_cells("nowhere", ((cell[:60], cell) for cell in cells), fault_of)


NO_TARGETS = [
    "x",
    "*",
    "http://evil.example/",
    "/a b",
    "/\x01",
    "/é",
    "/" + "a" * 100_000,
    "",
    "127.0.0.1:80",
    "//",
    "///etc/passwd",
]


async def test_a_target_that_is_no_path_harms_nobody(server: ServerProcess, treasure: Treasure) -> None:
    """HTTP knows other forms than a path; no call has one, and the program's own 404 or HTTP's 400 will do."""

    async def fault_of(target: str) -> str | None:
        answer = await ask(server.port, Request("GET", target))
        if answer is not None and answer.status == 404:
            return None
        return faults_of(answer, NO_REQUEST)

    await all_cells("nowhere", ((target[:60], target) for target in NO_TARGETS), fault_of)


async def test_after_all_of_it_the_half_upload_goes_on_and_ends_equal(laid_down: Treasure, client: Client) -> None:
    await laid_down.ends_equal(client)
