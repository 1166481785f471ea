"""Real traffic through a real nginx with the configuration of `deploy/nginx`."""

import asyncio
from collections.abc import Iterator

import aiohttp
import psutil
import pytest

from devtools.client import Client, PatternSource, Refused, sha256_of
from devtools.nginx import PrivateNginx
from devtools.server_process import ServerProcess, prepare

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("behind-nginx")
    values = {"TRUSTED_PROXIES": "127.0.0.1"}
    prepare({"DATA_DIR": str(data), **values})
    with ServerProcess(data, values) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(program: ServerProcess) -> Iterator[PrivateNginx]:
    nginx = PrivateNginx([program.port])
    yield nginx
    nginx.stop()


def through(nginx: PrivateNginx, **arguments) -> Client:
    return Client(nginx.url, trusting=nginx.trusting(), **arguments)


def test_nginx_understands_every_line(nginx: PrivateNginx) -> None:
    assert "successful" in nginx.check()


async def test_an_upload_and_its_download_go_over_tls_and_end_equal(nginx: PrivateNginx) -> None:
    source = PatternSource(20 * MIB + 1, seed=1)
    async with through(nginx) as client:
        upload = await client.initiate("film.mkv", source.size)
        success = await client.send(upload, source)
        assert success["sha256"] == sha256_of(source) == await client.digest_of_download(upload)
        assert upload.connections == 1
        assert success["share_url"].startswith(f"{nginx.url}/")


async def test_plain_http_is_sent_to_the_name_of_the_site_over_tls(nginx: PrivateNginx) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{nginx.plain_url}/f/1", headers={"Host": "evil.example"}, allow_redirects=False) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (301, "https://files.example.org/f/1")


async def test_what_a_client_forwards_of_itself_is_not_believed(nginx: PrivateNginx) -> None:
    lies = {
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "203.0.113.7",
        "Forwarded": "for=203.0.113.7;host=evil.example;proto=http",
    }
    async with through(nginx, headers=lies, address="127.0.0.5") as liar:
        before = await reserved(nginx, "127.0.0.5")
        upload = await liar.initiate("film.mkv", MIB)
        assert upload.answer["share_url"].startswith(f"{nginx.url}/")
        assert await reserved(nginx, "127.0.0.5") == before + MIB, "counted by the address that nginx saw"
        assert await reserved(nginx, "127.0.0.6") == 0, "and by no other's"
        await liar.cancel(upload)


async def reserved(nginx: PrivateNginx, address: str) -> int:
    async with through(nginx, address=address) as client:
        return (await client.call("GET", "upload/quota-info"))["reserved_bytes"]


async def test_a_body_that_the_program_takes_is_not_refused_on_the_way(nginx: PrivateNginx) -> None:
    async with through(nginx) as client:
        upload = await client.initiate("film.mkv", MIB, note="x" * (2 * MIB - 1000))
        await client.cancel(upload)


async def test_a_browser_with_many_cookies_is_not_refused_on_the_way(nginx: PrivateNginx) -> None:
    cookies = "; ".join(f"another_program_{number}={'x' * 200}" for number in range(100))
    async with through(nginx, headers={"Cookie": cookies}) as client:
        await client.call("GET", "upload/quota-info")


@pytest.mark.parametrize("size", [3 * MIB, 40 * MIB])
async def test_a_body_that_is_too_large_is_told_by_its_code(nginx: PrivateNginx, size: int) -> None:
    async with through(nginx) as client:
        with pytest.raises(Refused) as refused:
            await client.call("POST", "upload/initiate", data=b" " * size, headers={"Content-Type": "application/json"})
    assert (refused.value.code, refused.value.extra["status"]) == ("body_too_large", 413)


async def test_a_download_that_nobody_reads_waits_in_the_program_and_not_on_the_way(
    nginx: PrivateNginx, program: ServerProcess
) -> None:
    source = PatternSource(128 * MIB)
    async with through(nginx) as client:
        upload = await client.initiate("film.mkv", source.size)
        await client.send(upload, source)
        before = bytes_read_by(program)
        async with client.http.get(upload.answer["download_url"]) as response:
            assert await response.content.readexactly(MIB) == source.read(0, MIB)
            while (seen := bytes_read_by(program)) != await later(program):
                pass
            assert MIB <= seen - before < source.size / 2
            assert not [path for path in nginx.temp.rglob("*") if path.is_file()]
        await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)


def bytes_read_by(program: ServerProcess) -> int:
    """From files and sockets, by its whole process."""
    return psutil.Process(program.pid).io_counters().read_chars


async def later(program: ServerProcess) -> int:
    await asyncio.sleep(0.2)
    return bytes_read_by(program)


async def test_a_reload_of_nginx_cuts_no_upload(nginx: PrivateNginx) -> None:
    source = PatternSource(64 * MIB, seed=2)
    async with through(nginx) as client:
        upload = await client.initiate("film.mkv", source.size)
        reloaded = False

        def reload(message: dict) -> None:
            nonlocal reloaded
            if not reloaded and message["type"] == "progress" and message["stored"] > 8 * MIB:
                reloaded = True
                nginx.reload()

        success = await client.send(upload, source, on_message=reload)
    assert success["sha256"] == sha256_of(source)
    assert (reloaded, upload.connections) == (True, 1)
