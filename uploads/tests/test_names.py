"""Names of files, folders and batches: any is welcome, none can do harm."""

import unicodedata
from types import SimpleNamespace

import pytest

from uploads import names
from uploads.names import BadNameError, clean_filename, clean_path, clean_title


def test_a_file_name_keeps_everything_but_what_could_break_a_line_or_a_folder() -> None:
    assert clean_filename("फ़ाइल 😀.txt") == unicodedata.normalize("NFC", "फ़ाइल 😀.txt")
    assert clean_filename("../a\\b\r\n\x00") == ".._a_b___"
    assert clean_filename("x" * 255) == "x" * 255


@pytest.mark.parametrize("name", ["", "x" * 256, "\ud800", "e\u0301" * 256])
def test_a_file_name_has_1_to_255_real_characters(name: str) -> None:
    with pytest.raises(BadNameError):
        clean_filename(name)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("", ""),
        ("photos", "photos"),
        ("photos/2026/e\u0301te\u0301", "photos/2026/\u00e9t\u00e9"),
        ("a\\b/c\x00d\n", "a_b/c_d_"),
        ("...", "..."),
        ("a/\t../b", "a/_../b"),
        ("C:/Windows", "C:/Windows"),
        ("...a/b..", "...a/b.."),
        ("/".join(["x" * 255] * 4), "/".join(["x" * 255] * 4)),
    ],
)
def test_a_path_is_folders_whose_parts_are_cleaned_as_names(given: str, stored: str) -> None:
    assert clean_path(given) == stored


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/",
        "//",
        "a//b",
        "a/",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        "a/..",
        "a/.. /b",
        "a/ ../b",
        "a/ /b",
        "a/\u3000..\u3000",
        "x" * 256,
        "a/" + "x" * 256,
        "/".join(["x" * 204] * 5 + ["y"]),
        "a/\udfff",
    ],
)
def test_a_path_that_leads_elsewhere_or_is_too_long_is_refused(path: str) -> None:
    with pytest.raises(BadNameError):
        clean_path(path)


@pytest.mark.parametrize("clean", [clean_filename, clean_path, clean_title])
def test_a_text_that_would_take_hours_to_compose_is_refused_before(clean) -> None:
    with pytest.raises(BadNameError):
        clean("a" + "\u0301" * 300_000 + "\u0316" * 300_000)


def test_a_name_may_be_long_before_it_is_composed_and_have_marks_in_plenty() -> None:
    assert clean_filename("e\u0301" * 255) == "\u00e9" * 255
    assert clean_filename("\u1e2f" * 255) == "\u1e2f" * 255
    assert clean_filename(unicodedata.normalize("NFD", "\u1ee3\u0303" * 127)) == "\u1ee3\u0303" * 127
    assert len(clean_filename("x" + "\u0316" * 254)) == 255


@pytest.mark.parametrize("clean", [clean_filename, clean_path, clean_title])
def test_marks_heaped_on_one_letter_are_refused_unsorted_where_there_are_too_many(
    clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "unicodedata", SimpleNamespace(combining=unicodedata.combining))
    with pytest.raises(BadNameError):
        clean("a" + "\u0301" * 300 + "\u0316" * 300)


def test_a_title_is_one_line() -> None:
    assert clean_title("  Trip\nto the/sea\x00 ") == "Trip to the/sea"
    assert clean_title(" \n ") == ""
    assert clean_title("x" * 255) == "x" * 255
    for title in ("x" * 256, "\ud800"):
        with pytest.raises(BadNameError):
            clean_title(title)


def test_a_path_has_at_most_64_folders():
    assert clean_path("/".join(["a"] * 64)).count("a") == 64
    with pytest.raises(BadNameError):
        clean_path("/".join(["a"] * 65))
