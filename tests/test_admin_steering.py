"""An admin watches and steers a real upload: the admin's pages run in threads, the uploads on the event loop."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets

from devtools.client import Client, Upload
from devtools.server_process import ServerProcess
from tests.doors_rig import NAME, PASSWORD

SIZE = 10_000_000


@pytest.fixture(scope="module")
def server(prepared_with_admin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One program with one slot and one admin, for all tests here."""
    data = tmp_path_factory.mktemp("steering") / "data"
    shutil.copytree(prepared_with_admin, data)
    with ServerProcess(data, {"MAX_CONCURRENT_UPLOADS": "1"}) as server:
        yield server


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        yield client


class Admin:
    """The browser of a staff member who is signed in."""

    def __init__(self, http: aiohttp.ClientSession, server: ServerProcess) -> None:
        self.http, self.server = http, server

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.http.cookie_jar}

    async def sign_in(self) -> None:
        await self.page("/admin/login/")
        form = {"username": NAME, "password": PASSWORD, "csrfmiddlewaretoken": self.cookies["csrftoken"]}
        async with self.http.post("/admin/login/", data=form, allow_redirects=False) as answer:
            assert answer.status == 302

    async def page(self, address: str) -> str:
        async with self.http.get(address) as answer:
            assert answer.status == 200
            return await answer.text()

    async def steer(self, upload: Upload, act: str) -> tuple[int, dict[str, Any]]:
        """Press a button of the live page: its status and its words."""
        headers = {"Accept": "application/json", "X-CSRFToken": self.cookies["csrftoken"]}
        address = f"/admin/uploads/storedfile/{upload.file_id}/steer/{act}"
        async with self.http.post(address, data={"confirmed": "yes"}, headers=headers) as answer:
            return answer.status, await answer.json()

    def live(self, origin: str | None = None, signed_in: bool = True) -> websockets.connect:
        headers = {"Cookie": f"sessionid={self.cookies['sessionid']}"} if signed_in else {}
        origin = origin or self.server.url
        return websockets.connect(
            f"{self.server.ws_url}/ws_api/admin/live", origin=origin, additional_headers=headers, proxy=None
        )


@pytest.fixture
async def admin(server: ServerProcess) -> AsyncIterator[Admin]:
    async with aiohttp.ClientSession(server.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        admin = Admin(http, server)
        await admin.sign_in()
        yield admin


async def hear(socket: Any, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first message for which `holds` is true."""
    async with asyncio.timeout(30):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if holds(message):
                return message


def of_type(kind: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] == kind


async def begin(client: Client, socket: Any, upload: Upload) -> None:
    await socket.send(json.dumps({"type": "start", "token": upload.token}))
    await hear(socket, of_type("ready"))
    await socket.send(b"x" * 1_000_000)
    await hear(socket, lambda message: message.get("stored") == 1_000_000)


async def test_an_admin_cancels_a_running_upload_and_its_client_is_told(client: Client, admin: Admin) -> None:
    upload = await client.initiate("film.mkv", SIZE)
    async with client.connect(upload) as socket:
        await begin(client, socket, upload)
        assert await admin.steer(upload, "cancel") == (200, {"ok": True, "detail": "The upload was cancelled."})
        told = await hear(socket, of_type("error"))
        assert (told["code"], told["retryable"]) == ("cancelled", False)
        async with asyncio.timeout(30):
            with pytest.raises(websockets.ConnectionClosedOK):
                await socket.recv()
        assert socket.close_code == 1000
    page = await admin.page(f"/admin/uploads/storedfile/{upload.file_id}/change/")
    assert f"admin {NAME}" in page
    assert (await client.call("GET", "system/upload-status"))["concurrency_manager"]["active_uploads"] == 0


async def test_an_admin_pauses_an_upload_and_lets_it_go_on(client: Client, admin: Admin) -> None:
    upload = await client.initiate("film.mkv", SIZE)
    async with client.connect(upload) as socket:
        await begin(client, socket, upload)
        assert (await admin.steer(upload, "pause"))[0] == 200
        queued = await hear(socket, of_type("queued"))
        assert queued["waiting_for"] == "paused"
        assert (await admin.steer(upload, "unpause"))[0] == 200
        ready = await hear(socket, of_type("ready"))
        assert ready["offset"] == 1_000_000
        await socket.send(json.dumps({"type": "resume", "offset": 1_000_000}))
        await socket.send(b"y" * 1_000_000)
        await hear(socket, lambda message: message.get("stored") == 2_000_000)
        assert (await admin.steer(upload, "unpause"))[0] == 409


async def test_an_admins_pause_outlives_the_senders_place_in_the_line(client: Client, admin: Admin) -> None:
    upload = await client.initiate("film.mkv", SIZE)
    async with client.connect(upload) as socket:
        await begin(client, socket, upload)
        assert (await admin.steer(upload, "pause"))[0] == 200
        await hear(socket, of_type("queued"))
    # A close by the client gives the place up at once.
    async with client.connect(upload) as socket:
        await socket.send(json.dumps({"type": "start", "token": upload.token}))
        first = await hear(socket, lambda message: True)
        assert (first["type"], first["waiting_for"]) == ("queued", "paused")
        assert (await admin.steer(upload, "unpause"))[0] == 200
        await hear(socket, of_type("ready"))
        assert (await admin.steer(upload, "pause"))[0] == 200
        await hear(socket, of_type("queued"))
    page = f"/admin/uploads/storedfile/{upload.file_id}/change/"
    async with asyncio.timeout(30):
        while "steer/release" in await admin.page(page):  # until the place is gone
            await asyncio.sleep(0.05)
    assert "steer/unpause" in await admin.page(page)
    assert (await admin.steer(upload, "unpause"))[0] == 200
    assert "steer/unpause" not in await admin.page(page)
    async with client.connect(upload) as socket:
        await socket.send(json.dumps({"type": "start", "token": upload.token}))
        assert (await hear(socket, lambda message: True))["type"] == "ready"
        await socket.send(json.dumps({"type": "cancel"}))
        await hear(socket, of_type("cancelled"))


async def test_the_one_sent_to_the_front_gets_the_slot_that_is_released(client: Client, admin: Admin) -> None:
    first, second, third = [await client.initiate(f"{number}.bin", SIZE) for number in range(3)]
    async with client.connect(first) as running, client.connect(second) as patient, client.connect(third) as favoured:
        await begin(client, running, first)
        for socket, upload, position in ((patient, second, 1), (favoured, third, 2)):
            await socket.send(json.dumps({"type": "start", "token": upload.token}))
            assert (await hear(socket, of_type("queued")))["position"] == position
        assert (await admin.steer(third, "to_front"))[0] == 200
        assert (await admin.steer(first, "release"))[0] == 200
        await hear(favoured, of_type("ready"))
        assert (await hear(running, of_type("queued")))["waiting_for"] in ("global_slots", "user_slots")


async def test_the_live_socket_shows_a_running_upload_to_staff(client: Client, admin: Admin) -> None:
    upload = await client.initiate("film.mkv", SIZE)
    async with client.connect(upload) as socket, admin.live() as live:
        await begin(client, socket, upload)
        # The first snapshots may still show the upload of another test.
        snapshot = await hear(
            live,
            lambda message: [(row["id"], row["stored"]) for row in message["running"]] == [(upload.file_id, 1_000_000)],
        )
        (row,) = snapshot["running"]
        assert (row["name"], row["stage"], row["percent"]) == ("film.mkv", "receiving", 10)
        assert (snapshot["slots"]["used"], snapshot["slots"]["total"]) == (1, 1)
        assert upload.token not in json.dumps(snapshot)
    async with admin.live() as live:
        await hear(live, lambda message: not message["running"] or message["running"][0]["stage"] == "lost")


@pytest.mark.parametrize(
    ("origin", "signed_in"), [("http://evil.example", True), ("null", True), (None, False)], ids=str
)
async def test_the_live_socket_refuses_strangers_with_403(admin: Admin, origin: str | None, signed_in: bool) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with admin.live(origin, signed_in):
            pass
    assert refused.value.response.status_code == 403


async def test_the_list_shows_who_uploads_now(client: Client, admin: Admin) -> None:
    upload = await client.initiate("film.mkv", SIZE)
    await client.initiate("later.mkv", SIZE)
    async with client.connect(upload) as socket:
        await begin(client, socket, upload)
        page = await admin.page("/admin/uploads/storedfile/?state=uploading")
        assert "film.mkv" in page
        assert "later.mkv" not in page
        assert "10 % stored" in page
