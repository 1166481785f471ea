"""Every door of the real program against every reason to keep somebody out: a table, and what its cells do to files.

Rows are the doors. A column is a situation: how somebody comes, and what an admin has shut. A cell that refuses must
answer with its code, and leave every row of files, batches and quota as it was.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
import websockets

from devtools.client import Client, PatternSource, Upload
from devtools.server_process import ServerProcess
from tests.doors_rig import HERE, NAME, THERE, Who, begin_maintenance, block, fingerprint, seen, sign_in


@pytest.fixture
def server(guarded: ServerProcess) -> ServerProcess:
    return guarded


@dataclass
class Things:
    """What a column's doors lead to: an unfinished upload, a finished one, a batch; and somebody else's upload."""

    pending: Upload
    finished: Upload
    batch_id: str
    batch_token: str
    others: Upload


async def things_of(server: ServerProcess, who: Who) -> Things:
    async with Client(server.url, who.headers) as client, Client(server.url, Who(THERE).headers) as other:
        pending, finished = await client.initiate("pending.bin", 1000), await client.initiate("finished.bin", 1000)
        await client.send(finished, PatternSource(1000))
        files = [{"filename": name, "size": 10} for name in ("a", "b")]
        batch = await client.call("POST", "batch/initiate", json={"files": files})
        return Things(
            pending, finished, batch["batch_id"], batch["files"][0]["upload_token"], await other.initiate("other", 10)
        )


# --- The doors ---------------------------------------------------------------------------------------------------

ANNOUNCE = [{"filename": "new.bin", "size": 1}, {"files": [{"filename": "new.bin", "size": 1}]}]


@dataclass(frozen=True)
class Door:
    """One way in; `kind` says with which others it shares its cells, `open` what it answers to a welcome guest."""

    name: str
    kind: str
    open: Any = 200


DOORS = [
    Door("POST /api/v1/upload/initiate", "announce"),
    Door("POST /api/v1/batch/initiate", "announce"),
    Door("GET /api/v1/upload/status/{pending}", "look"),
    Door("GET /api/v1/upload/quota-info", "read"),
    Door("GET /api/v1/files/{pending}/meta", "read"),
    Door("GET /api/v1/files", "read"),
    Door("GET /api/v1/batch/{batch}", "read"),
    Door("GET /api/v1/download/stream/{finished}", "read"),
    Door("HEAD /api/v1/download/stream/{finished}", "read"),
    Door("GET /api/v1/batch/download-zip/{batch}", "read", (409, "wrong_state")),
    Door("GET /api/v1/system/upload-status", "read"),
    Door("GET /api/openapi.json", "read"),
    Door("GET /api/docs", "read"),
    Door("GET /api/nowhere", "read", (404, "not_found")),
    Door("GET /", "page"),
    Door("GET /f/{finished}", "page"),
    Door("GET /preview/{finished}", "page", 415),  # of such bytes there is none
    Door("GET /b/{batch}", "page"),
    Door("GET /f/{finished}/unlock", "page", 302),
    Door("GET /b/{batch}/unlock", "page", 302),
    Door("POST /f/{finished}/unlock", "page", 403),
    Door("POST /b/{batch}/unlock", "page", 403),
    Door("GET /accounts/login/", "page"),
    Door("GET /accounts/password/", "page", 302),
    Door("GET /accounts/password/changed/", "page", 302),
    Door("GET /nowhere", "page", 404),
    Door("WS /ws_api/upload_parallel/{pending}", "socket", "ready"),
    Door("WS /ws_api/upload/{pending}", "socket", "ready"),
    Door("WS /ws_api/admin/live", "live", 403),
    Door("GET /healthz", "always"),
    Door("GET /readyz", "always"),
    Door("GET /metrics", "always", 403),
    Door("GET /admin/login/", "always"),
    Door("GET /jsi18n/", "always"),
    Door("GET /static/uploads/favicon.svg", "always"),
    Door("POST /api/v1/files/{finished}/unlock", "unlock", (409, "wrong_state")),
    Door("POST /api/v1/batch/{batch}/unlock", "unlock", (409, "wrong_state")),
    Door("PATCH /api/v1/batch/{batch}", "change"),
    Door("POST /api/v1/upload/cancel/{pending}", "change"),
    Door("POST /api/v1/batch/cancel/{batch}", "change"),
    Door("PATCH /api/v1/files/{finished}", "change"),
    Door("DELETE /api/v1/files/{finished}", "change", 204),
    Door("POST /accounts/logout/", "page", 403),  # the last, since it ends a session that may be there
]


async def knock(server: ServerProcess, door: Door, who: Who, things: Things) -> Any:
    """What this door answers: a status, with the problem's code where it is one; of a socket what comes first."""
    method, _space, path = door.name.partition(" ")
    path = path.format(pending=things.pending.file_id, finished=things.finished.file_id, batch=things.batch_id)
    own = things.finished.token if "{finished}" in door.name else things.pending.token
    own = things.batch_token if "{batch}" in door.name else own
    bearer = who.bearer(own, things.others.token)
    if method == "WS":
        # No cookie opens an upload's socket.
        return await knock_at_socket(server, path, who, bearer.get("Authorization", f" {own}").partition(" ")[2])
    body = {"json": ANNOUNCE["batch" in path]} if door.kind == "announce" else {}
    body |= {"json": {"password": "x"}} if door.kind == "unlock" else {"json": {}} if method == "PATCH" else {}
    async with (
        aiohttp.ClientSession(server.url) as http,
        http.request(method, path, headers=who.headers | bearer, allow_redirects=False, **body) as answer,
    ):
        data = await answer.read()
        if answer.content_type != "application/problem+json":
            return answer.status
        if method == "HEAD":
            return answer.status, None
        problem = json.loads(data)
        assert problem["status"] == answer.status
        return answer.status, problem["code"]


async def knock_at_socket(server: ServerProcess, path: str, who: Who, token: str) -> Any:
    headers = {name: value for name, value in who.headers.items() if name not in ("Origin", "X-CSRFToken")}
    is_live = path.endswith("live")
    origin = who.origin or (server.url if is_live else None)
    connection = websockets.connect(
        server.ws_url + path, additional_headers=headers, origin=origin, proxy=None, compression=None
    )
    try:
        async with asyncio.timeout(15), connection as socket:
            if is_live:
                return "open" if json.loads(await socket.recv())["slots"] else "empty"
            with contextlib.suppress(websockets.ConnectionClosed):  # it may have been turned away already
                await socket.send(json.dumps({"type": "start", "token": token}))
            message = json.loads(await socket.recv())
            if message["type"] != "error":
                return message["type"]
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_reason == message["code"]
            return socket.close_code, message["code"]
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


# --- The table ---------------------------------------------------------------------------------------------------

KINDS = ("announce", "look", "read", "page", "socket", "live", "always", "change", "unlock")
OPEN = "open"  # the door answers as to a welcome guest
FORBIDDEN, UNAUTHORIZED = (403, "forbidden"), (401, "unauthorized")

Cells = dict[str, Any]


def cells(**refusals: Any) -> Cells:
    return dict.fromkeys(KINDS, OPEN) | refusals


FOREIGN = cells(announce=FORBIDDEN, change=FORBIDDEN, unlock=FORBIDDEN, socket=403, live=403)
NO_SECRET = cells(announce=FORBIDDEN, change=FORBIDDEN)
STRANGE_TOKEN = cells(look=UNAUTHORIZED, change=UNAUTHORIZED, socket=(1008, "unauthorized"))
BLOCKED = cells(
    announce=FORBIDDEN,
    look=FORBIDDEN,
    read=FORBIDDEN,
    page=403,
    socket=(1008, "forbidden"),
    change=FORBIDDEN,
    unlock=FORBIDDEN,
)
AWAY = (503, "maintenance")
SHUT = cells(announce=AWAY, look=AWAY, read=AWAY, page=503, socket=(1013, "maintenance"), change=AWAY, unlock=AWAY)

TABLE: dict[str, Cells] = {
    "a welcome guest": cells(),
    "a page of another site": FOREIGN,
    "a page without an origin (null)": FOREIGN,
    "a session without the CSRF token": NO_SECRET,
    "a session with the CSRF token": cells(),
    "a wrong token": STRANGE_TOKEN,
    "somebody else's token": STRANGE_TOKEN,
    "a blocked address": BLOCKED,
    "a neighbour of a blocked address": cells(),
    "a blocked account": BLOCKED,
    "maintenance": SHUT,
    "an IPv6 address in a blocked /64": BLOCKED,
    "an IPv6 address beside a blocked /64": cells(),
    "a forged header behind the trusted proxy": BLOCKED,
}


# What staff are answered: the live page's socket is part of the admin, and open whatever else is shut.
SIGNED_IN = {
    "WS /ws_api/admin/live": "open",
    "GET /admin/login/": 302,
    "GET /accounts/login/": 302,
    "GET /accounts/password/": 200,
    "GET /accounts/password/changed/": 200,
}


def expected(door: Door, column: str, who: Who) -> Any:
    cell = TABLE[column][door.kind]
    if cell == OPEN:
        forms = ("POST /accounts/logout/", "POST /f/{finished}/unlock", "POST /b/{batch}/unlock")
        signed_in = SIGNED_IN | dict.fromkeys(forms, 302 if who.csrf else 403)
        return signed_in.get(door.name, door.open) if "sessionid" in who.cookies else door.open
    return (cell[0], None) if door.name.startswith("HEAD") else cell


async def situation(server: ServerProcess, column: str) -> tuple[Who, Things]:
    """Bring the column about: who comes, and what an admin has shut meanwhile."""
    with_session = "account" in column or "session" in column
    welcome = await sign_in(server) if with_session else Who("2001:db8:1:2::1" if "/64" in column else HERE)
    await seen(server, 200, welcome)
    things = await things_of(server, welcome)
    match column:
        case "a page of another site":
            return replace(welcome, origin="http://evil.example"), things
        case "a page without an origin (null)":
            return replace(welcome, origin="null"), things
        case "a session without the CSRF token":
            return replace(welcome, token="none", csrf=False), things
        case "a session with the CSRF token":
            return replace(welcome, token="none"), things
        case "a wrong token":
            return replace(welcome, token="wrong"), things
        case "somebody else's token":
            return replace(welcome, token="others"), things
        case "maintenance":
            begin_maintenance(server)
            await seen(server, 503, welcome)
        case "a blocked address":
            block(server, network=HERE)
            await seen(server, 403, welcome)
        case "a neighbour of a blocked address":
            block(server, network="198.51.100.2")
            await seen(server, 403, Who("198.51.100.2"))
        case "a blocked account":
            block(server, account=NAME)
            await seen(server, 403, welcome)
        case "an IPv6 address in a blocked /64":
            block(server, network="2001:db8:1:2::/64")
            await seen(server, 403, welcome)
            return replace(welcome, address="2001:db8:1:2:ffff::9"), things
        case "an IPv6 address beside a blocked /64":
            block(server, network="2001:db8:1:3::/64")
            await seen(server, 403, Who("2001:db8:1:3::1"))
        case "a forged header behind the trusted proxy":
            block(server, network=HERE)
            await seen(server, 403, welcome)
            return replace(welcome, address=f"192.0.2.99, {HERE}"), things
    return welcome, things


@pytest.mark.parametrize("column", TABLE)
async def test_every_door_answers_as_the_table_says_and_a_refusal_changes_nothing(
    server: ServerProcess, column: str
) -> None:
    who, things = await situation(server, column)
    found, wanted, changed = {}, {}, []
    for door in DOORS:
        wanted[door.name] = expected(door, column, who)
        before = fingerprint(server)
        found[door.name] = await knock(server, door, who, things)
        if TABLE[column][door.kind] != OPEN and fingerprint(server) != before:
            changed.append(door.name)
    assert found == wanted
    assert not changed


def test_the_table_has_every_address_of_the_program() -> None:
    """A new door must say here whom it lets in."""
    from django.urls import URLPattern, URLResolver, get_resolver

    def addresses(patterns: Any, prefix: str = "") -> Iterator[str]:
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from addresses(pattern.url_patterns, prefix + str(pattern.pattern))
            elif isinstance(pattern, URLPattern):
                yield prefix + str(pattern.pattern)

    known = {door.name.partition(" ")[2].lstrip("/") for door in DOORS}
    elsewhere = ("admin/", "i18n/")
    stated = {"".join("*" if part[:1] in "<{" else part for part in _parts(address)) for address in known}
    for address in addresses(get_resolver().url_patterns):
        if not address.startswith(elsewhere) and "^api" not in address and not address.endswith("api-root"):
            form = "".join("*" if part[:1] in "<{" else part for part in _parts(address))
            assert form in stated or form in ("api/",), f"no door in the table for {address}"


def _parts(address: str) -> list[str]:
    return re.split(r"(<[^>]*>|\{[^}]*\})", address)
