"""A ZIP of a thousand files with all kinds of names, as the programs see it that people unpack with."""

import asyncio
import os
import random
import subprocess
import unicodedata
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools import machine
from uploads.delivery.zip_body import body_of
from uploads.delivery.zip_names import unique_names
from uploads.delivery.zip_plan import MANIFEST, Member, Plan
from uploads.names import clean_filename, clean_path
from uploads.tests.test_zip_plan import member

# As a sender may name them: each is cleaned as at its announcement.
NAMES = [
    "फ़ाइल का नाम.txt",
    "👩‍👩‍👧 family 😀.jpg",
    "한국어.pdf",
    "e\u0301te\u0301.txt",
    "<script>window.harmed = 1</script>.html",
    "\"><img src=x onerror='window.harmed = 1'>.png",
    "photo\u202egpj.exe",
    "Z" + "\u0301\u0316" * 120 + "algo.txt",
    "😀" * 255,
    "x" * 255,
    "a\u0000b\u001b[31m\r\nc.txt",
    "../../etc/passwd",
    "..",
    "C:\\Windows\\system.ini",
    "CON",
    "nul.txt",
    "end. . .",
    " ",
    "-rf",
    "--checkpoint-action=exec=sh",
    "$(touch harmed) `touch harmed`; touch harmed",
    "[a-z]*?.txt",
    "same.txt",
    "SAME.TXT",
    "same.txt",
    "same (2).txt",
    "SHA256SUMS.txt",
    "Straße",
    "STRASSE",
    "empty",
    "photos",
    "line\u2028separator",
    "joiner\u200d and mark\ufeff",
]
FOLDERS = [
    "",
    "photos/2026",
    "यात्रा/😀",
    "Photos/2026",
    "aux/com1.d",
    "a:b/c. ",
    "SHA256SUMS.txt",
    "😀" * 255 + "/" + "न" * 255,
]


@dataclass(frozen=True)
class Packed:
    path: Path
    files: dict[str, bytes]  # by the names that they have in the ZIP
    manifest: bytes


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    random_ = random.Random(6)
    wanted = [(clean_path(folder), clean_filename(name)) for folder in FOLDERS for name in NAMES]
    wanted += [(f"many/{number % 7}", f"{number}.bin") for number in range(1000 - len(wanted))]
    data = [random_.randbytes(random_.choice([0, 1, 100, 3000])) for _ in wanted]
    members = [
        member(content, name, folders, key=str(number))
        for number, ((folders, name), content) in enumerate(zip(wanted, data, strict=True))
    ]

    async def read(one: Member, start: int, length: int) -> AsyncIterator[bytes]:
        async def blocks() -> AsyncIterator[bytes]:
            yield data[int(one.key)][start : start + length]

        return blocks()

    plan = Plan(members)
    path = tmp_path_factory.mktemp("zip") / "all.zip"

    async def write() -> None:
        with path.open("wb") as file:
            async for block in await body_of(plan.slice(0, plan.size), read):
                file.write(block)

    asyncio.run(write())
    assert path.stat().st_size == plan.size
    names = unique_names(wanted, [MANIFEST])
    with zipfile.ZipFile(path) as archive:
        return Packed(path, dict(zip(names, data, strict=True)), archive.read(MANIFEST))


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout.decode()


def by_python(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        opened.extractall(folder)


def by_info_zip(archive: Path, folder: Path) -> None:
    assert "No errors detected" in run(machine.unzip(), "-tq", str(archive), cwd=folder)
    run(machine.unzip(), "-q", str(archive), cwd=folder)


def by_seven_zip(archive: Path, folder: Path) -> None:
    assert "Everything is Ok" in run(machine.seven_zip(), "t", str(archive), cwd=folder)
    run(machine.seven_zip(), "x", str(archive), cwd=folder)


def by_bsdtar(archive: Path, folder: Path) -> None:
    run(machine.bsdtar(), "-xf", str(archive), cwd=folder)


def by_bsdtar_from_a_pipe(archive: Path, folder: Path) -> None:
    """It cannot look at the directory at the end then, and takes each file by its own header."""
    with archive.open("rb") as stream:
        subprocess.run(
            [machine.bsdtar(), "-xf", "-"],
            cwd=folder,
            stdin=stream,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            check=True,
        )


@pytest.mark.parametrize("unpack", [by_python, by_info_zip, by_seven_zip, by_bsdtar, by_bsdtar_from_a_pipe])
def test_every_file_is_unpacked_under_its_name_and_sha256sum_finds_all_of_them_right(
    packed: Packed, unpack: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    unpack(packed.path, folder)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found.keys() ^ packed.files.keys() == {MANIFEST}
    assert found == {**packed.files, MANIFEST: packed.manifest}
    assert os.listdir(tmp_path) == ["here"], "nothing got out of the folder"
    assert run("sha256sum", "--strict", "-c", MANIFEST, cwd=folder).count(": OK\n") == 1000
    assert all(unicodedata.is_normalized("NFC", name) for name in found)
