"""Names that could do harm on their way: stored, told and downloaded without any."""

import asyncio
import shutil
import unicodedata
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote

import pytest

from devtools.client import Client, PatternSource
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import Treasure
from tests.bad_input.http import Request, ask
from tests.bad_input.matrix import TALLY
from uploads.delivery.zip_names import safe_part

NAMES = {
    "a way up": "../../etc/passwd",
    "a way up on Windows": "..\\..\\windows\\system32\\cmd.exe",
    "an absolute path": "/etc/passwd",
    "a drive": "C:\\autoexec.bat",
    "a stream of NTFS": "file.txt::$DATA",
    "a dot": ".",
    "two dots": "..",
    "three dots": "...",
    "a hidden file": ".htaccess",
    "a line break": "a\r\nSet-Cookie: evil=1\r\n\r\n<script>",
    "NUL": "picture.png\x00.exe",
    "controls": "\x01\x1b[31m\x7f\x85",
    "right to left": "photo\u202egpj.exe",
    "isolates": "\u2066evil\u2069\u200f.txt",
    "zero width": "a\u200bb\ufeffc\u00ad.txt",
    "300 bytes of emoji": "😀" * 75,
    "255 emoji": "😀" * 255,
    "a combining storm": "Z" + "\u0301\u0316\u0489" * 80 + "algo",
    "CON": "CON",
    "aux.txt": "aux.txt",
    "COM1 in superscript": "COM¹",
    "NUL as a device": "NUL.tar.gz",
    "dots at the end": "file.txt...",
    "spaces at the end": "file.txt   ",
    "only spaces": "   ",
    "a script": "<script>alert(1)</script>.html",
    "an image that fails": '"><img src=x onerror=alert(1)>.png',
    "double quotes": 'a "quoted" name.txt',
    "single quotes": "it's.txt",
    "a backslash and a quote": 'a\\"; filename="evil.exe',
    "a semicolon": 'a; filename*=UTF-8\'\'evil.exe',
    "percent signs": "100%20%41%zz.txt",
    "a leading dash": "-rf",
    "a leading tilde": "~root",
    "a pipe": "| rm -rf ~; `id` $(id)",
    "wildcards": "*?[a-z].txt",
    "Hindi": "हिन्दी फ़ाइल.pdf",
    "NFD": "e\u0301te\u0301.txt",
    "NFC": "été.txt",
    "Hangul in parts": "\u1112\u1161\u11ab.txt",
    "a template": "{{ 7*7 }}{% debug %}.txt",
    "a format": "%s%n%d{0}",
    "a formula": "=cmd|' /C calc'!A0.csv",
    "a noncharacter": "\uffff\U0010ffff",
    "an encoded word": "=?utf-8?B?ZXZpbC5leGU=?=",
    "a private character": "\ue000.txt",
}  # fmt: skip
HARMFUL = set("/\\\0\r\n\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def as_stored(name: str) -> str:
    """What wire.md makes of a name: NFC, with control characters and both slashes turned into `_`."""
    composed = unicodedata.normalize("NFC", name)
    return "".join("_" if c in "/\\" or unicodedata.category(c) == "Cc" else c for c in composed)


def names_in(header: str) -> tuple[str, str]:
    """For programs that know ASCII only, and the true one: RFC 6266 has both, which the library's parser does not."""
    plain, _, extended = header.partition("; filename*=utf-8''")
    message = EmailMessage()
    message["Content-Disposition"] = plain
    assert message.get_content_disposition() == "attachment"
    name = message.get_filename() or ""
    return name, unquote(extended) or name


@pytest.mark.parametrize("kind", NAMES)
async def test_a_name_is_stored_told_and_downloaded_as_data(
    server: ServerProcess, client: Client, treasure: Treasure, tmp_path: Path, kind: str
) -> None:
    name, stored = NAMES[kind], as_stored(NAMES[kind])
    before = set(Path(server.data_dir).rglob("*"))
    upload = await client.initiate(name, 3)
    assert upload.answer["filename"] == stored
    await client.send(upload, PatternSource(3))
    assert (await client.call("GET", f"files/{upload.file_id}/meta"))["filename"] == stored
    new = [path for path in set(Path(server.data_dir).rglob("*")) - before if path.is_file()]
    ours = [path for path in new if not path.name.startswith("directdrivex.sqlite3")]
    assert [path.name for path in ours] == [upload.file_id], "on disk it is known by its id"
    answer = await ask(server.port, Request("GET", upload.answer["download_url"]))
    assert answer is not None
    assert set(answer.headers) & {"set-cookie", "x-evil"} == set()
    plain, told = names_in(answer.headers["content-disposition"])
    assert not HARMFUL & set(plain + told)
    assert told == safe_part(stored), "as inside a ZIP"
    assert await by_curl(server, upload.answer["download_url"], tmp_path) == plain
    TALLY.count("names", 1)


async def by_curl(server: ServerProcess, path: str, folder: Path) -> str:
    """`curl -OJ` into an empty folder, as people do: one file there, nothing beside it; returns its name."""
    inner = folder / "deep" / "er"
    inner.mkdir(parents=True)
    curl = shutil.which("curl")
    assert curl is not None
    done = await asyncio.create_subprocess_exec(
        curl, "-sSOJ", "--noproxy", "*", f"{server.url}{path}", cwd=inner, stderr=asyncio.subprocess.PIPE
    )
    _out, complaint = await done.communicate()
    there = [item for item in folder.rglob("*") if item.is_file()]
    assert [item.parent for item in there] == [inner], complaint
    assert there[0].stat().st_size == 3
    return there[0].name


async def test_after_all_of_it_the_half_upload_goes_on_and_ends_equal(laid_down: Treasure, client: Client) -> None:
    await laid_down.ends_equal(client)
