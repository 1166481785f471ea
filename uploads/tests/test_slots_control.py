"""The control socket and `manage.py slots`: asking one process from another."""

import asyncio
import contextlib
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from devtools.client import Client, PatternSource, Upload
from devtools.server_process import ROOT, ServerProcess, program_environment
from uploads.slots.asking import alive_uploads
from uploads.slots.control import (
    LOCK_NAME,
    PATH_BYTES,
    SOCKET_NAME,
    ControlServer,
    InUseError,
    NoAnswerError,
    NoServerError,
    ask,
)
from uploads.slots.manager import (
    LeaseView,
    SlotSnapshot,
    SlotsUnavailableError,
    TicketView,
    WaitingFor,
)

SNAPSHOT = SlotSnapshot(
    "memory",
    True,
    1,
    5,
    (LeaseView("held", "account:1", 1024, 7, 61.0, 20.0, False),),
    (TicketView("waiting", "address:192.0.2.1", 1, WaitingFor.GLOBAL_SLOTS, 3.0, None, True),),
)


class Slots:
    """What a keeper would say."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.taken: list[str] = []
        self.away = False

    async def snapshot(self) -> SlotSnapshot:
        if self.away:
            raise SlotsUnavailableError("the store is away")
        return SNAPSHOT

    async def check(self) -> list[str]:
        return self.violations

    async def repair(self) -> list[str]:
        return [f"Found: {violation}" for violation in self.violations]

    async def take_away(self, upload_id: str) -> bool:
        self.taken.append(upload_id)
        return upload_id == "held"


@pytest.fixture(autouse=True)
def data_folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def slots() -> Slots:
    return Slots()


@pytest.fixture
async def opened(slots: Slots, tmp_path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(slots, tmp_path)
    await server.open()
    yield server
    server.close()


async def say(folder: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(folder / SOCKET_NAME)
    async with asyncio.timeout(5):
        writer.write(line + b"\n")
        answer = await reader.readline()
    writer.close()
    return answer


# --- the socket ---


@pytest.mark.usefixtures("opened")
async def test_every_verb_is_answered(slots: Slots, tmp_path: Path) -> None:
    slots.violations = ["one"]
    state = await ask(tmp_path, "snapshot")
    assert [lease["upload_id"] for lease in state["leases"]] == ["held"]
    assert state["tickets"][0]["waiting_for"] == "global_slots"
    assert await ask(tmp_path, "check") == ["one"]
    assert await ask(tmp_path, "repair") == ["Found: one"]
    assert await ask(tmp_path, "release", upload_id="held") is True
    assert await ask(tmp_path, "release", upload_id="other") is False
    assert slots.taken == ["held", "other"]
    assert await alive_uploads() == {"held", "waiting"}


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "line", [b"", b"{", b"7", b"[]", b'{"verb": "shutdown"}', b'{"verb": "release"}', b"\xff", b"[" * 4000]
)
async def test_nonsense_is_answered_with_an_error_and_changes_nothing(
    slots: Slots, tmp_path: Path, line: bytes
) -> None:
    assert "error" in json.loads(await say(tmp_path, line))
    assert slots.taken == []
    assert await ask(tmp_path, "check") == []


@pytest.mark.usefixtures("opened")
async def test_an_endless_request_is_cut_off(tmp_path: Path) -> None:
    with contextlib.suppress(ConnectionError):
        assert await say(tmp_path, b"x" * 1_000_000) == b""
    assert await ask(tmp_path, "check") == []


@pytest.mark.usefixtures("opened")
async def test_nobody_but_its_user_may_connect(tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600


@pytest.mark.usefixtures("opened")
async def test_a_store_that_is_away_is_told_as_such(slots: Slots, tmp_path: Path) -> None:
    slots.away = True
    with pytest.raises(NoAnswerError, match="the store is away"):
        await alive_uploads()


async def test_nothing_is_left_behind(opened: ControlServer, tmp_path: Path) -> None:
    opened.close()
    assert not (tmp_path / SOCKET_NAME).exists()
    with pytest.raises(NoServerError):
        await ask(tmp_path, "check")
    assert await alive_uploads() == frozenset()


async def test_a_socket_left_by_a_killed_server_is_replaced(slots: Slots, tmp_path: Path) -> None:
    (tmp_path / SOCKET_NAME).write_text("left behind")
    (tmp_path / LOCK_NAME).write_text("")
    server = ControlServer(slots, tmp_path)
    await server.open()
    assert await ask(tmp_path, "check") == []
    server.close()


@pytest.mark.usefixtures("opened")
async def test_a_second_server_leaves_the_first_ones_socket_alone(tmp_path: Path) -> None:
    second = ControlServer(Slots(), tmp_path)
    with pytest.raises(InUseError):
        await second.open()
    second.close()
    assert await alive_uploads() == {"held", "waiting"}


async def test_a_second_server_may_follow_the_first(opened: ControlServer, tmp_path: Path) -> None:
    second = ControlServer(Slots(), tmp_path)
    opening = asyncio.create_task(second.open())
    await asyncio.sleep(0)
    opened.close()
    await opening
    assert await ask(tmp_path, "check") == []
    second.close()


async def test_a_data_folder_may_have_a_long_path(slots: Slots, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / "data"
    assert len(str(folder)) > PATH_BYTES
    server = ControlServer(slots, folder)
    await server.open()
    assert await ask(folder, "check") == []
    server.close()
    assert not (folder / SOCKET_NAME).exists()


async def test_a_server_that_cannot_be_asked_is_not_taken_for_none(opened: ControlServer, tmp_path: Path) -> None:
    (tmp_path / SOCKET_NAME).unlink()
    with pytest.raises(NoAnswerError, match="no socket"):
        await alive_uploads()


async def test_a_folder_that_does_not_exist_has_no_server(tmp_path: Path) -> None:
    with pytest.raises(NoServerError):
        await ask(tmp_path / "nowhere", "check")


# --- the command, beside the real program ---


@pytest.fixture
def command(settings: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(folder: Path, *words: str) -> str:
        settings.DATA_DIR = folder
        call_command("slots", *words)
        return capsys.readouterr().out

    return run


async def running(client: Client) -> tuple[Upload, Any]:
    """An upload that has its slot, and its socket."""
    upload = await client.initiate("film.mkv", 1000)
    socket = await client.connect(upload)
    await socket.send(json.dumps({"type": "start", "token": upload.token}))
    async with asyncio.timeout(10):
        assert json.loads(await socket.recv())["type"] == "ready"
    return upload, socket


@pytest.mark.parametrize("words", [(), ("--check",), ("--repair",)])
def test_without_a_server_nothing_holds_a_slot(command: Callable[..., str], tmp_path: Path, words: Any) -> None:
    assert command(tmp_path, *words) == "No upload is running or waiting: nothing holds a slot.\n"


def test_without_a_server_there_is_nothing_to_release(command: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="some-id has neither a slot nor a place"):
        command(tmp_path, "--release", "some-id")


async def test_the_command_shows_checks_and_releases_what_a_server_holds(
    start_server: Callable[..., ServerProcess], command: Callable[..., str]
) -> None:
    server = start_server(MAX_CONCURRENT_UPLOADS="1")
    folder = server.data_dir

    async def run(*words: str) -> str:
        return await asyncio.to_thread(command, folder, *words)

    async with Client(server.url) as client:
        upload, socket = await running(client)
        second = await client.initiate("next.mkv", 1000)
        waiting = await client.connect(second)
        await waiting.send(json.dumps({"type": "start", "token": second.token}))
        assert json.loads(await waiting.recv())["type"] == "queued"

        table = (await run()).splitlines()
        assert table[0] == "1 of 1 slots in use, 5 a person; 1 in line."
        assert upload.file_id in table[1]
        assert second.file_id in table[2]
        assert "global_slots" in table[2]
        assert await run("--check") == "All invariants hold.\n"
        assert await run("--repair") == "Nothing was wrong.\n"
        with pytest.raises(CommandError, match="unknown-id has neither a slot nor a place"):
            await run("--release", "unknown-id")
        assert await run("--release", upload.file_id) == f"{upload.file_id} has no slot or place any longer.\n"
        async with asyncio.timeout(10):
            while json.loads(await waiting.recv())["type"] != "ready":
                pass
        await socket.close()
        await waiting.close()


async def test_a_killed_server_leaves_nothing_that_looks_alive_and_its_successor_answers(
    server: ServerProcess, command: Callable[..., str]
) -> None:
    async with Client(server.url) as client:
        await running(client)
        assert (server.data_dir / SOCKET_NAME).exists()
        server.kill()
        said = await asyncio.to_thread(command, server.data_dir)
        assert said == "No upload is running or waiting: nothing holds a slot.\n"
        server.restart()
        _, socket = await running(client)
        assert "1 of 20 slots in use" in await asyncio.to_thread(command, server.data_dir)
        await socket.close()


async def test_violations_are_printed_with_exit_code_one(tmp_path: Path, command: Callable[..., str]) -> None:
    slots = Slots()
    slots.violations = ["The first.", "The second."]
    server = ControlServer(slots, tmp_path)
    await server.open()
    with pytest.raises(CommandError) as told:
        await asyncio.to_thread(command, tmp_path, "--check")
    server.close()
    assert str(told.value).splitlines() == ["The first.", "The second."]
    assert told.value.returncode == 1


async def test_a_server_without_uploads_has_nothing_to_tell(server: ServerProcess, command: Callable[..., str]) -> None:
    folder = server.data_dir
    nothing = "No upload is running or waiting: nothing holds a slot.\n"
    assert await asyncio.to_thread(command, folder) == nothing
    assert await asyncio.to_thread(command, folder, "--check") == nothing
    with pytest.raises(CommandError, match="no upload is running"):
        await asyncio.to_thread(command, folder, "--release", "some-id")
    async with Client(server.url) as client:
        upload, socket = await running(client)
        assert upload.file_id in await asyncio.to_thread(command, folder)
        assert stat.S_IMODE((folder / SOCKET_NAME).stat().st_mode) == 0o600
        await socket.close()
        await gone(folder / SOCKET_NAME)
    assert await asyncio.to_thread(command, folder) == nothing


async def gone(path: Path) -> None:
    async with asyncio.timeout(20):
        while path.exists():
            await asyncio.sleep(0.02)


async def test_a_server_in_a_folder_with_a_long_path_can_be_asked(
    start_server: Callable[..., ServerProcess], prepared_data_dir: Path, tmp_path: Path, command: Callable[..., str]
) -> None:
    folder = tmp_path / ("a-long-name-" * 10) / "data"
    shutil.copytree(prepared_data_dir, folder)
    assert len(str(folder / SOCKET_NAME)) > 107
    server = start_server(DATA_DIR=str(folder))
    async with Client(server.url) as client:
        upload, socket = await running(client)
        assert upload.file_id in await asyncio.to_thread(command, folder)
        assert await asyncio.to_thread(command, folder, "--check") == "All invariants hold.\n"
        await socket.close()


async def test_a_second_server_on_the_same_data_refuses_uploads_and_disturbs_none(
    start_server: Callable[..., ServerProcess], command: Callable[..., str]
) -> None:
    """Two servers that know nothing of each other's slots would exceed every cap."""
    first = start_server()
    second = start_server(DATA_DIR=str(first.data_dir))
    async with Client(first.url) as client, Client(second.url) as other:
        upload, socket = await running(client)
        refused = await other.initiate("film.mkv", 1000)
        late = await other.connect(refused)
        await late.send(json.dumps({"type": "start", "token": refused.token}))
        async with asyncio.timeout(20):
            error = json.loads(await late.recv())
            await late.wait_closed()
        assert (error["type"], error["code"], error["retryable"]) == ("error", "slots_unavailable", True)
        assert late.close_code == 1013
        said = await asyncio.to_thread(command, first.data_dir)
        assert upload.file_id in said
        assert refused.file_id not in said
        await socket.send(b"x" * 1000)
        await socket.send(json.dumps({"type": "finish"}))
        async with asyncio.timeout(20):
            while json.loads(await socket.recv())["type"] != "success":
                pass
        # The first one has nothing any longer, so that the second may hand out slots now.
        await gone(first.data_dir / SOCKET_NAME)
        await other.send(refused, PatternSource(1000))


async def test_a_guest_who_connects_and_says_nothing_holds_up_neither_others_nor_the_end(
    server: ServerProcess, command: Callable[..., str]
) -> None:
    async with Client(server.url) as client:
        _, socket = await running(client)
        path = server.data_dir / SOCKET_NAME
        silent = [await asyncio.open_unix_connection(path) for _ in range(50)]
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"\x00\xff garbage" * 10_000 + b"\n")
        assert "1 of 20 slots in use" in await asyncio.to_thread(command, server.data_dir)
        # The server's own patience with uploads ends after some seconds; nothing may come on top of it.
        assert await asyncio.to_thread(server.stop, grace=20) == 0
        assert not path.exists()
        for guest in (*silent, (reader, writer)):
            guest[1].close()
        await socket.close()


def test_the_exit_codes_are_for_scripts(server: ServerProcess) -> None:
    environment = program_environment({"DATA_DIR": str(server.data_dir)})

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "manage.py", "slots", *words]
        return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run("--check").returncode == 0
    refused = run("--release", "some-id")
    assert refused.returncode == 1
    assert "some-id has neither a slot nor a place" in refused.stderr
    assert "Traceback" not in refused.stderr
