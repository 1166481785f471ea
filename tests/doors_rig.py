"""What tests of the doors share: who comes, and what an admin of another process writes into the database."""

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from devtools.server_process import ServerProcess

NAME, PASSWORD = "root@example.org", "a long password for tests"
HERE, THERE = "198.51.100.1", "203.0.113.9"


# --- What the database has, and what another process writes into it ----------------------------------------------


def query(server: ServerProcess, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    path = Path(server.data_dir) / "directdrivex.sqlite3"
    with contextlib.closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as database:
        return list(database.execute(statement, values))


def fingerprint(server: ServerProcess) -> list[Any]:
    """All that a refused request must leave alone."""
    return [
        query(server, f"SELECT * FROM {table} ORDER BY 1")
        for table in ("uploads_storedfile", "uploads_batch", "quotas_dailyusage", "uploads_fileevent")
    ]


def block(server: ServerProcess, *, network: str = "", account: str = "") -> None:
    accounts = query(server, "SELECT id FROM auth_user WHERE username = ?", account)
    query(
        server,
        "INSERT INTO quotas_blockedperson (network, account_id, reason, created_at) VALUES (?, ?, '', datetime())",
        network,
        accounts[0][0] if accounts else None,
    )


def begin_maintenance(server: ServerProcess) -> None:
    statement = 'INSERT INTO quotas_maintenance (id, "on", message, minutes, switched_at) VALUES (1, 1, ?, 10, ?)'
    query(server, statement, "A new disk.", time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()))


def open_all(server: ServerProcess) -> None:
    for table in ("quotas_blockedperson", "quotas_maintenance"):
        query(server, f"DELETE FROM {table}")


# --- Who comes, and with what ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Who:
    """How somebody comes: from which address, as another header says; with which cookies, token and page."""

    address: str = HERE
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: bool = True
    token: str = "own"
    origin: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"X-Forwarded-For": self.address}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.csrf and "csrftoken" in self.cookies:
            headers["X-CSRFToken"] = self.cookies["csrftoken"]
        if self.origin:
            headers["Origin"] = self.origin
        return headers

    def bearer(self, own: str, others: str) -> dict[str, str]:
        token = {"own": own, "wrong": "x" * 43, "others": others, "none": ""}[self.token]
        return {"Authorization": f"Bearer {token}"} if token else {}


async def sign_in(server: ServerProcess) -> Who:
    """The admin's browser, from another address than everybody's."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(server.url, cookie_jar=jar, headers={"X-Forwarded-For": THERE}) as http:
        async with http.get("/admin/login/"):
            pass
        cookies = {cookie.key: cookie.value for cookie in http.cookie_jar}
        form = {"username": NAME, "password": PASSWORD, "csrfmiddlewaretoken": cookies["csrftoken"]}
        async with http.post("/admin/login/", data=form, allow_redirects=False) as answer:
            assert answer.status == 302
        return Who(THERE, {cookie.key: cookie.value for cookie in http.cookie_jar})


async def seen(server: ServerProcess, status: int, who: Who) -> None:
    """Return when the program has seen what another process wrote: 2 s later, or more on a slow machine."""
    async with asyncio.timeout(15), aiohttp.ClientSession(server.url) as http:
        while True:
            async with http.get("/", headers=who.headers) as answer:
                if answer.status == status:
                    return
            await asyncio.sleep(0.1)
