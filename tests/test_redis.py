"""The program on a real Redis."""

import aiohttp
import redis

from devtools.client import Client, PatternSource, sha256_of
from devtools.redis import PrivateRedis


async def test_a_program_on_redis_is_ready_and_takes_uploads(start_server, redis_url: str) -> None:
    server = start_server(REDIS_URL=redis_url)
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/readyz") as answer:
        assert (answer.status, (await answer.json())["checks"]["channel_layer"]["ok"]) == (200, True)
    source = PatternSource(3_000_000, seed=1)
    async with Client(server.url) as client:
        success = await client.send(await client.initiate("film.mkv", source.size), source)
    assert success["sha256"] == sha256_of(source)


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
