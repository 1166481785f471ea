"""One honest upload beside each kind of hostile client: it ends equal, and the server is as it was before."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.client import Client, PatternSource
from devtools.raw_socket import HANGS_SECONDS
from devtools.rude import HONEST_ADDRESS, RUDE, company
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import slots_are_free, started

MIB = 1024 * 1024
SIZE = 16 * MIB + 7
GROWTH = 200 * MIB  # the windows of five uploads, and what stays of them in the allocator's hands


@pytest.fixture(scope="module")
def server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    sane = {"MAX_CONCURRENT_UPLOADS": "20", "MAX_CONCURRENT_UPLOADS_PER_USER": "5", "UPLOAD_IDLE_SECONDS": "5"}
    with started(prepared_data_dir, tmp_path_factory, **sane, UPLOAD_WINDOW_BYTES=str(8 * MIB)) as server:
        yield server


async def test_the_honest_upload_comes_from_another_address(server: ServerProcess) -> None:
    """Or all that follows would be held against itself."""
    async with Client(server.url, address=HONEST_ADDRESS) as honest, Client(server.url) as rude:
        before = (await rude.call("GET", "upload/quota-info"))["reserved_bytes"]
        await honest.initiate("a", 1000)
        assert (await rude.call("GET", "upload/quota-info"))["reserved_bytes"] == before


@pytest.mark.parametrize("kind", RUDE)
async def test_nobody_is_harmed_by_one_who(server: ServerProcess, kind: str) -> None:
    source = PatternSource(SIZE, seed=5)
    whole = hashlib.sha256(source.read(0, SIZE)).hexdigest()
    async with Client(server.url, address=HONEST_ADDRESS) as honest:
        before = server.memory()
        upload = await honest.initiate("honest.bin", SIZE)
        with company(kind, server.url, upload.file_id) as rude:
            await asyncio.sleep(2)
            success = await honest.send(upload, source, sha256=whole, patience=HANGS_SECONDS)
            assert success["sha256"] == whole == await honest.digest_of_download(upload)
            assert upload.connections == 1, "nobody broke the honest connection"
            assert rude.poll() is None, "it is as rude as ever"
            assert server.memory() - before < GROWTH


async def test_after_all_of_them_no_slot_is_held(server: ServerProcess) -> None:
    async with Client(server.url) as client:
        await slots_are_free(client)
