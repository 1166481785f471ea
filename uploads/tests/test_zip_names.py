"""Names inside a ZIP: each can be made on every common system, and no two are taken for one."""

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uploads.delivery.zip_names import FOLDERS_BYTES, PART_BYTES, safe_part, unique_names

MANIFEST = "SHA256SUMS.txt"
DEVICES = {
    "CON",
    "PRN",
    "AUX",
    "NUL",
    "CONIN$",
    "CONOUT$",
    *(f"{name}{n}" for name in ("COM", "LPT") for n in "0123¹²³"),
}

parts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300) | st.text(
    "aA.:/\\ \u202e\u0301é1()ßI", min_size=1, max_size=6
)
folders = st.just("") | st.lists(parts, min_size=1, max_size=4).map("/".join)


def is_safe(part: str) -> bool:
    return (
        part not in ("", ".", "..")
        and len(part.encode()) <= PART_BYTES
        and not set(part) & set('<>:"/\\|?*\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069')
        and not any(unicodedata.category(character) == "Cc" for character in part)
        and part[-1] not in ". "
        and part.split(".")[0].rstrip().upper() not in DEVICES
        and part == unicodedata.normalize("NFC", part)
    )


@pytest.mark.parametrize(
    "name",
    [
        "report.pdf",
        ".gitignore",
        "फ़ाइल का नाम.txt",
        "👩‍👩‍👧 family 😀.jpg",
        "a (2).tar.gz",
        "x" * 255,
        " leading space",
        "icon.txt",
        "com10",
        "-rf",
        "~",
        "50% & more; $HOME `x` 'y' [z] {w} #1 @2 !3",
    ],
)
def test_a_name_that_can_do_no_harm_stays_as_it_is(name: str) -> None:
    assert safe_part(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("..", "__"),
        (".", "_"),
        ("   ", "___"),
        ("end. .", "end___"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("C:\\Windows\\system.ini", "C__Windows_system.ini"),
        ('<a href="x">|?*', "_a href=_x_____"),
        ("line\r\nbreak\x00\x7f\x9b", "line__break___"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("e\u0301", "é"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("Aux .tar.gz", "_Aux .tar.gz"),
        ("lpt¹", "_lpt¹"),
        ("con.", "con_"),
        ("😀" * 255, "😀" * 63),
        ("न" * 255 + ".txt", "न" * 83 + ".txt"),
        ("x" * 300 + ".tar.gz", "x" * 252 + ".gz"),
        ("a." + "x" * 300, "a." + "x" * 253),
        ("x" * 254 + " y", "x" * 254 + "_"),
    ],
)
def test_what_some_system_cannot_make_is_replaced_and_what_is_too_long_is_cut(name: str, safe: str) -> None:
    assert safe_part(name) == safe
    assert is_safe(safe)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a.txt", "b.txt"], ["a.txt", "b.txt"]),
        (["a.txt", "a.txt", "a.txt"], ["a.txt", "a (2).txt", "a (3).txt"]),
        (["A.txt", "a.TXT"], ["A.txt", "a (2).TXT"]),
        (["a", "a"], ["a", "a (2)"]),
        (["a.tar.gz", "a.tar.gz"], ["a.tar.gz", "a.tar (2).gz"]),
        ([".gitignore", ".gitignore"], [".gitignore", ".gitignore (2)"]),
        (["Mr. Smith", "Mr. Smith"], ["Mr. Smith", "Mr. Smith (2)"]),
        (["a.txt", "a.txt", "a (2).txt"], ["a.txt", "a (3).txt", "a (2).txt"]),
        (["é", "e\u0301"], ["é", "é (2)"]),
        (["Straße", "STRASSE"], ["Straße", "STRASSE (2)"]),
        (["a:b", "a?b"], ["a_b", "a_b (2)"]),
        (["x" * 255, "x" * 255], ["x" * 255, "x" * 251 + " (2)"]),
        (["photos/a", "Photos/a", "photos/b"], ["photos/a", "Photos/a (2)", "photos/b"]),
        (["a", "a/b", "A"], ["a (2)", "a/b", "A (3)"]),
        (["a.b", "a.b/c/d"], ["a (2).b", "a.b/c/d"]),
        (["a/../b"], ["a/__/b"]),
        ([MANIFEST, "sub/" + MANIFEST], ["SHA256SUMS (2).txt", "sub/" + MANIFEST]),
        (["sha256sums.TXT/a"], ["sha256sums (2).TXT/a"]),
    ],
)
def test_of_several_that_are_alike_the_first_keeps_its_name(files: list[str], names: list[str]) -> None:
    split = [file.rpartition("/")[::2] for file in files]
    assert unique_names(split, [MANIFEST]) == names


def test_folders_that_are_too_long_for_some_system_are_cut_each_to_its_share() -> None:
    deep = "/".join(["ग" * 15] * 64)
    long = "/".join(["😀" * 255] * 4)
    first, second, third = unique_names([(deep, "a"), (deep, "b"), (long, "c" * 255)])
    assert PurePosixPath(first).parent == PurePosixPath(second).parent, "what lay together lies together"
    assert first.count("/") == 64
    for name in (first, second, third):
        assert len(name.encode()) <= FOLDERS_BYTES + 64 + PART_BYTES < 1024
        assert all(map(is_safe, name.split("/")))


@settings(deadline=None)
@given(st.lists(st.tuples(folders, parts), max_size=12))
@example([("a/b", "c"), ("", "a"), ("A", "b"), ("", "A (2)")])
@example([("conin$😀/" * 63 + "conin$😀", "nul")])
def test_no_two_names_are_alike_whatever_they_were(files: list[tuple[str, str]]) -> None:
    names = unique_names(files, [MANIFEST])
    assert unique_names(files, [MANIFEST]) == names
    assert len(names) == len(files)
    folded = [unicodedata.normalize("NFD", name.casefold()) for name in [*names, MANIFEST]]
    assert len(set(folded)) == len(folded)
    above = {"/".join(name.split("/")[:depth]) for name in folded for depth in range(1, name.count("/") + 1)}
    assert not above & set(folded), "a file where a folder has to be"
    for name in names:
        assert all(map(is_safe, name.split("/")))


@settings(deadline=None)
@given(st.lists(st.tuples(folders, parts), max_size=8, unique=True))
def test_names_that_are_safe_and_unlike_stay_in_their_places(files: list[tuple[str, str]]) -> None:
    names = [name.rpartition("/")[::2] for name in unique_names(files, [MANIFEST])]
    assert [tuple(name.rpartition("/")[::2]) for name in unique_names(names, [MANIFEST])] == names
