"""The program on PostgreSQL does what it does on SQLite."""

import asyncio
import hashlib
from collections.abc import Callable

from devtools.client import Client, PatternSource
from devtools.server_process import ServerProcess

MIB = 1024 * 1024


async def test_uploads_survive_a_kill_and_end_equal_with_their_quota(
    start_server: Callable[..., ServerProcess], postgresql_url: str
) -> None:
    server = start_server(DATABASE_URL=postgresql_url)
    async with Client(server.url) as client:
        sources = [PatternSource(40 * MIB, seed=number) for number in range(7)]
        before = await client.call("GET", "upload/quota-info")
        uploads = [await client.initiate(f"{number}", source.size) for number, source in enumerate(sources)]
        sending = [
            asyncio.create_task(client.send(upload, source)) for upload, source in zip(uploads, sources, strict=True)
        ]
        async with asyncio.timeout(60):
            while sum(upload.stored for upload in uploads) < 60 * MIB:
                await asyncio.sleep(0.01)
        server.kill()
        server.restart()
        for upload, source, success in zip(uploads, sources, await asyncio.gather(*sending), strict=True):
            whole = hashlib.sha256(source.read(0, source.size)).hexdigest()
            assert success["sha256"] == whole == await client.digest_of_download(upload)
        after = await client.call("GET", "upload/quota-info")
        assert after["used_bytes"] - before["used_bytes"] == 7 * 40 * MIB
        assert after["reserved_bytes"] == before["reserved_bytes"]


async def test_a_batch_of_a_thousand_is_announced_sent_in_part_and_cancelled_once(
    start_server: Callable[..., ServerProcess], postgresql_url: str
) -> None:
    server = start_server(DATABASE_URL=postgresql_url)
    async with Client(server.url) as client:
        before = await client.call("GET", "upload/quota-info")
        batch = await client.initiate_batch([{"filename": f"{number}", "size": 10} for number in range(1000)])
        for upload in batch.uploads[:3]:
            await client.send(upload, PatternSource(10))
        counted = await asyncio.gather(*(client.cancel_batch(batch) for _ in range(4)))
        assert sum(counted) == 997
        facts = await client.batch(batch.batch_id)
        assert [file["status"] for file in facts["files"]] == ["completed"] * 3 + ["cancelled"] * 997
        after = await client.call("GET", "upload/quota-info")
        assert after["used_bytes"] - before["used_bytes"] == 30
        assert (after["reserved_bytes"], after["files"]) == (before["reserved_bytes"], before["files"] + 3)
