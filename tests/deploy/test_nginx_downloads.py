"""Downloads that nginx sends in the program's place (`DOWNLOAD_ACCEL=nginx`): the same answers, by other hands."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest

from devtools.client import Client, PatternSource, Refused, Upload
from devtools.nginx import PrivateNginx
from devtools.server_process import ServerFailedError, ServerProcess, prepare
from tests.doors_rig import block, open_all

MIB = 1024 * 1024
SIZE = 3 * MIB + 5
SOURCE = PatternSource(SIZE, seed=9)
WHOLE = SOURCE.read(0, SIZE)
REFUSED_SECONDS = 30.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("handing-over") / "data"
    values = {"TRUSTED_PROXIES": "127.0.0.1", "DOWNLOAD_ACCEL": "nginx"}
    prepare({"DATA_DIR": str(data), **values})
    with ServerProcess(data, values) as server:
        yield server


@pytest.fixture(scope="module")
def nginx(program: ServerProcess) -> Iterator[PrivateNginx]:
    nginx = PrivateNginx([program.port], program.data_dir)
    yield nginx
    nginx.stop()


@pytest.fixture
async def client(nginx: PrivateNginx) -> AsyncIterator[Client]:
    async with Client(nginx.url, trusting=nginx.trusting()) as client:
        yield client


@pytest.fixture
async def itself(program: ServerProcess) -> AsyncIterator[Client]:
    """Whoever asks the program itself."""
    async with Client(program.url) as client:
        yield client


@pytest.fixture
async def upload(client: Client) -> Upload:
    upload = await client.initiate('नमस्ते "quoted".html', SIZE, content_type="video/mp4")
    await client.send(upload, SOURCE)
    return upload


async def ask(client: Client, upload: Upload, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.http.request(method, upload.answer["download_url"], headers=names) as answer:
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()


def read_by(program: ServerProcess) -> int:
    return int(psutil.Process(program.pid).io_counters().read_chars)


async def test_a_file_is_sent_by_nginx_with_all_that_the_program_says_of_it(
    program: ServerProcess, client: Client, itself: Client, upload: Upload
) -> None:
    before = read_by(program)
    status, headers, body = await ask(client, upload)
    assert (status, body) == (200, WHOLE)
    assert read_by(program) - before < MIB, "the program has read none of it"
    own_status, own_headers, own_body = await ask(itself, upload)
    assert (own_status, own_body) == (200, WHOLE), "who asks the program gets it from there"
    between = {"date", "server", "connection", "x-request-id", "strict-transport-security", "content-language"}
    shown, own = ({k: v for k, v in told.items() if k not in between} for told in (headers, own_headers))
    assert shown == own


@pytest.mark.parametrize(
    ("headers", "status", "start", "end"),
    [
        ({"Range": "bytes=0-0"}, 206, 0, 1),
        ({"Range": f"bytes={MIB - 1}-{MIB + 1}"}, 206, MIB - 1, MIB + 2),
        ({"Range": f"bytes={SIZE - 1}-"}, 206, SIZE - 1, SIZE),
        ({"Range": "bytes=-100"}, 206, SIZE - 100, SIZE),
        ({"Range": "bytes=5-1", "If_Range": "etag"}, 200, 0, SIZE),
        ({"Range": "bytes=0-1,5-6"}, 200, 0, SIZE),
        ({"Range": "bytes=1-2", "If_Range": "etag"}, 206, 1, 3),
        ({"Range": "bytes=1-2", "If_Range": "date"}, 206, 1, 3),
        ({"Range": "bytes=1-2", "If_Range": '"other"'}, 200, 0, SIZE),
        ({"Range": "bytes=1-2", "If_Match": "etag"}, 206, 1, 3),
        ({"Range": "bytes=1-2", "If_Unmodified_Since": "date"}, 206, 1, 3),
        ({"If_None_Match": '"other"', "If_Modified_Since": "date"}, 200, 0, SIZE),
        ({"If_Modified_Since": "Mon, 23 Nov 2020 10:00:00 GMT"}, 200, 0, SIZE),
        ({"If_None_Match": "etag"}, 304, 0, 0),
        ({"If_Modified_Since": "date"}, 304, 0, 0),
    ],
    ids=str,
)
async def test_ranges_and_conditions_are_answered_as_by_the_program(
    client: Client, itself: Client, upload: Upload, headers: dict[str, str], status: int, start: int, end: int
) -> None:
    _, known, _ = await ask(itself, upload, "HEAD")
    meant = {"etag": known["etag"], "date": known["last-modified"]}
    headers = {name: meant.get(value, value) for name, value in headers.items()}
    for who in (client, itself):
        answered, told, body = await ask(who, upload, **headers)
        assert (answered, body) == (status, WHOLE[start:end])
        assert told["etag"] == known["etag"]
        assert told.get("content-range") == (f"bytes {start}-{end - 1}/{SIZE}" if status == 206 else None)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Range": f"bytes={SIZE}-"}, "range_invalid"),
        ({"If_Match": '"other"'}, "precondition_failed"),
        ({"If_Unmodified_Since": "Mon, 23 Nov 2020 10:00:00 GMT"}, "precondition_failed"),
    ],
    ids=str,
)
async def test_a_refusal_is_the_programs(client: Client, upload: Upload, headers: dict[str, str], code: str) -> None:
    _status, told, body = await ask(client, upload, **headers)
    assert f'"code": "{code}"'.encode() in body
    assert code != "range_invalid" or told["content-range"] == f"bytes */{SIZE}"


def test_nginx_is_trusted_where_it_is_to_send(program: ServerProcess) -> None:
    with pytest.raises(ServerFailedError, match=r"directdrivex\.E007"):
        prepare({"DATA_DIR": str(program.data_dir), "DOWNLOAD_ACCEL": "nginx"})


async def test_nobody_gets_a_file_by_nginxs_own_name_for_it(client: Client, upload: Upload) -> None:
    path = f"/_stored/files/{upload.file_id[:2]}/{upload.file_id}"
    async with client.http.get(path, headers={"X-Accel-Offer": "nginx"}) as answer:
        assert answer.status == 404


async def test_a_file_that_is_not_what_it_was_is_not_handed_over(
    program: ServerProcess, client: Client, upload: Upload
) -> None:
    path = program.data_dir / "storage" / "files" / upload.file_id[:2] / upload.file_id
    path.write_bytes(WHOLE[:-1])
    with pytest.raises(Refused) as refused:
        await client.digest_of_download(upload)
    assert refused.value.code == "storage_unavailable"


async def downloads(client: Client, upload: Upload, **change: int) -> int:
    """How many were counted, once its sender has changed this."""
    answer = await client.call("PATCH", f"files/{upload.file_id}", token=upload.token, json=change)
    return int(answer["controls"]["downloads"])


async def test_what_nginx_sends_is_counted_and_its_ranges_are_one_download(client: Client, upload: Upload) -> None:
    await ask(client, upload, "HEAD")
    await ask(client, upload, Range=f"bytes={SIZE}-")
    assert await downloads(client, upload) == 0
    for start in (0, MIB, 2 * MIB):
        assert (await ask(client, upload, Range=f"bytes={start}-{start + 9}"))[0] == 206
    assert await downloads(client, upload) == 1
    for number in (2, 3):
        assert (await ask(client, upload))[2] == WHOLE
        assert await downloads(client, upload) == number


async def test_what_is_limited_is_sent_by_the_program_and_so_often_only(
    program: ServerProcess, client: Client, upload: Upload
) -> None:
    """nginx does not say how much of it it gave: what it has sent before the limit was set counts all the same."""
    assert (await ask(client, upload))[2] == WHOLE
    assert await downloads(client, upload, max_downloads=2) == 1
    before = read_by(program)
    half = SIZE // 2
    status, _headers, body = await ask(client, upload, Range=f"bytes={half}-")
    assert (status, body) == (206, WHOLE[half:])
    assert read_by(program) - before >= half, "the program has read it"
    assert await downloads(client, upload) == 1, "a further part of what nginx began to send"
    assert (await ask(client, upload))[2] == WHOLE
    assert (await ask(client, upload))[0] == 410
    assert await downloads(client, upload) == 2


async def test_the_doors_are_asked_first(program: ServerProcess, client: Client, upload: Upload) -> None:
    block(program, network="127.0.0.1")
    try:
        await until_refused(client, upload)
    finally:
        open_all(program)


async def until_refused(client: Client, upload: Upload) -> None:
    async with asyncio.timeout(REFUSED_SECONDS):
        while (answer := await ask(client, upload))[0] == 200:
            pass
    assert answer[0] == 403
