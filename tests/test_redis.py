"""The program on a real Redis."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import redis
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from conftest import ROOT
from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.redis import PrivateRedis
from devtools.server_process import ServerProcess, program_environment
from directdrivex.env import redis_layer
from uploads.slots.scripts import KEYS
from uploads.slots.store import Store

StartServer = Callable[..., ServerProcess]


async def read(server: ServerProcess, path: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}{path}") as answer:
        return answer.status, await answer.json()


async def slots_seen(server: ServerProcess) -> dict[str, Any]:
    _, status = await read(server, "/api/v1/system/upload-status")
    return dict(status["concurrency_manager"])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.1)


def manage(server: ServerProcess, *words: str) -> subprocess.CompletedProcess[str]:
    environment = program_environment({"DATA_DIR": str(server.data_dir), **server.overrides})
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


async def ready(client: Client) -> tuple[Upload, Any]:
    """An upload that has its slot, and its socket."""
    upload = await client.initiate("film.mkv", 1000)
    socket = await client.connect(upload)
    await socket.send(json.dumps({"type": "start", "token": upload.token}))
    async with asyncio.timeout(10):
        assert json.loads(await socket.recv())["type"] == "ready"
    return upload, socket


async def refused(socket: Any) -> tuple[str, int]:
    """The code of the error that comes, and of the close after it."""
    async with asyncio.timeout(30):
        while (message := json.loads(await socket.recv()))["type"] != "error":
            pass
        await socket.wait_closed()
    return message["code"], socket.close_code


async def test_a_program_on_redis_is_ready_and_takes_uploads(start_server: StartServer, redis_url: str) -> None:
    server = start_server(REDIS_URL=redis_url)
    status, answer = await read(server, "/readyz")
    assert (status, answer["status"]) == (200, "ok")
    source = PatternSource(3_000_000, seed=1)
    async with Client(server.url) as client:
        success = await client.send(await client.initiate("film.mkv", source.size), source)
    assert success["sha256"] == sha256_of(source)
    seen = await slots_seen(server)
    assert (seen["backend"], seen["healthy"], seen["violations"], seen["active_uploads"]) == ("redis", True, 0, 0)


async def test_commands_ask_redis_from_any_process(start_server: StartServer, redis_url: str) -> None:
    server = start_server(REDIS_URL=redis_url, MAX_CONCURRENT_UPLOADS="1", UPLOAD_IDLE_SECONDS="600")
    async with Client(server.url) as client:
        upload, socket = await ready(client)

        async def run(*words: str) -> subprocess.CompletedProcess[str]:
            return await asyncio.to_thread(manage, server, *words)

        assert "1 of 1 slots in use, 5 a person; 0 in line." in (await run("slots")).stdout
        assert "completed: 0" in (await run("cleanup_uploads")).stdout
        with redis.Redis.from_url(redis_url) as beside:
            beside.zrem(KEYS[1], upload.file_id)
        found = await run("slots", "--check")
        assert (found.returncode, "order of the leases" in found.stderr) == (1, True)
        assert "Counted the slots and the places again." in (await run("slots", "--repair")).stdout
        released = await run("slots", "--release", upload.file_id)
        assert released.stdout == f"{upload.file_id} has no slot or place any longer.\n"
        assert (await run("slots", "--check")).stdout == "All invariants hold.\n"
        await socket.close()


async def test_without_redis_uploads_stop_in_time_and_go_on_after_it(start_server: StartServer) -> None:
    private = PrivateRedis()
    try:
        server = start_server(REDIS_URL=private.url, SLOT_LEASE_SECONDS="6")
        source = PatternSource(2_000_000, seed=2)
        async with Client(server.url) as client:
            _, socket = await ready(client)
            later = await client.initiate("later.mkv", source.size)
            private.kill()
            # A holder goes on for as long as its lease cannot be another's, and stops by itself then.
            assert await refused(socket) == ("slots_unavailable", 1013)
            fresh = await client.connect(later)
            await fresh.send(json.dumps({"type": "start", "token": later.token}))
            assert await refused(fresh) == ("slots_unavailable", 1013)
            status, answer = await read(server, "/readyz")
            assert (status, answer["checks"]["slot_store"]["reason"]) == (503, "unavailable")
            assert not (await slots_seen(server))["healthy"]
            asked = await asyncio.to_thread(manage, server, "slots", "--check")
            assert (asked.returncode, "cannot be asked" in asked.stderr) == (1, True)

            private.revive()
            success = await client.send(later, source)
            assert success["sha256"] == sha256_of(source)
            reasons = {message["waiting_for"] for message in later.of_type("queued")}
            assert reasons == {"recovery"}
            await until(lambda: is_ready(server))
        assert "Traceback" not in server.text()
    finally:
        private.stop()


async def is_ready(server: ServerProcess) -> bool:
    return (await read(server, "/readyz"))[0] == 200


def test_a_private_redis_comes_back_with_what_it_kept_or_without() -> None:
    private = PrivateRedis()
    try:
        with redis.Redis.from_url(private.url) as client:
            first = client.info("server")["run_id"]
            client.set("kept", "1")
            private.kill()
            private.revive()
            assert client.get("kept") == b"1"
            assert client.info("server")["run_id"] != first
            private.kill()
            private.forget()
            private.revive()
            assert client.get("kept") is None
    finally:
        private.stop()


@pytest.fixture
def layer(settings: Any) -> Iterator[tuple[PrivateRedis, Any]]:
    """The channel layer of the program, on a Redis that the test may freeze or kill."""
    private = PrivateRedis()
    settings.CHANNEL_LAYERS = {"default": redis_layer(private.url)}
    yield private, get_channel_layer()
    private.thaw()
    private.stop()


async def test_a_channel_layer_that_does_not_answer_is_given_up_on(layer: tuple[PrivateRedis, Any]) -> None:
    private, channels = layer
    channel = await channels.new_channel()
    await channels.group_add("group", channel)
    private.freeze()
    async with asyncio.timeout(20):  # it would be for ever
        for call in (channels.send(channel, {}), channels.group_send("group", {})):
            with pytest.raises((TimeoutError, RedisError)):
                await call
    private.thaw()


async def test_a_channel_that_is_waited_on_survives_a_restart(layer: tuple[PrivateRedis, Any]) -> None:
    private, channels = layer
    channel = await channels.new_channel()
    await channels.group_add("group", channel)
    message = asyncio.create_task(channels.receive(channel))
    await asyncio.sleep(0)
    private.kill()
    with pytest.raises(RedisError):
        await channels.group_send("group", {"type": "lost"})
    private.revive()
    async with asyncio.timeout(20):
        while not message.done():
            await channels.group_send("group", {"type": "heard"})
            await asyncio.wait({message}, timeout=0.1)
    assert await message == {"type": "heard"}


async def test_redis_may_be_reached_by_a_unix_socket(settings: Any, tmp_path: Path) -> None:
    private = PrivateRedis(unixsocket=str(tmp_path / "redis.sock"))
    try:
        url = f"unix://:{urlsplit(private.url).password}@{tmp_path / 'redis.sock'}?db=0"
        settings.CHANNEL_LAYERS = {"default": redis_layer(url)}
        channels: Any = get_channel_layer()
        channel = await channels.new_channel()
        await channels.send(channel, {"type": "heard"})
        assert await channels.receive(channel) == {"type": "heard"}
        store = Store(redis_layer(url)["CONFIG"]["hosts"][0], seconds=10)
        assert (await store.settings())["aof_enabled"] == 1
        await store.close()
    finally:
        private.stop()


async def test_waiting_on_a_channel_can_be_cancelled_at_any_time(layer: tuple[PrivateRedis, Any]) -> None:
    _, channels = layer

    async def listen() -> None:
        channel = await channels.new_channel()
        await channels.group_add("group", channel)
        await channels.receive(channel)

    for turns in range(40):
        listening = asyncio.create_task(listen())
        for _ in range(turns):
            await asyncio.sleep(0)
        listening.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait({listening})
        assert listening.cancelled()
