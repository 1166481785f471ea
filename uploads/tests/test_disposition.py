"""What a download is called: in letters that every program knows, and in its own."""

import string
import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uploads.delivery.disposition import disposition, plain_name
from uploads.delivery.zip_names import safe_part


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("report.pdf", "report.pdf"),
        ("été.txt", "ete.txt"),
        ("Übersicht 2026 (2).tar.gz", "Ubersicht 2026 (2).tar.gz"),
        ("फ़िल्म.mkv", "file.mkv"),
        ("फ़िल्म 2.mkv", "_ 2.mkv"),
        ("😀", "file"),
        ("a.हिन्दी", "a._"),
        ("100%20.txt", "100_20.txt"),
        ("ｃｏｎ.txt", "_con.txt"),
        ("a\u2044b\u2100.txt", "a_ba_c.txt"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("___.txt", "___.txt"),
    ],
)
def test_every_name_has_one_in_ascii_that_keeps_its_extension(name: str, plain: str) -> None:
    assert plain_name(safe_part(name)) == plain


def test_a_name_in_ascii_stands_alone_and_another_beside_it() -> None:
    assert disposition("a.txt") == 'attachment; filename="a.txt"'
    assert disposition("a.txt", is_attachment=False) == 'inline; filename="a.txt"'
    assert disposition("é.txt") == f"attachment; filename=\"e.txt\"; filename*=utf-8''{quote('é.txt')}"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255))
def test_no_name_breaks_out_of_the_header_or_turns_what_is_read(name: str) -> None:
    header = disposition(name)
    assert header.isascii()
    assert header.isprintable()
    start, _, extended = header.partition("; filename*=utf-8''")
    assert start.startswith('attachment; filename="')
    assert start.endswith('"')
    plain = start.removeprefix('attachment; filename="').removesuffix('"')
    assert not set(plain) & set('"\\/%:')
    if extended:
        assert set(extended) <= set(string.ascii_letters + string.digits + "-._~%")
    told = unquote(extended) or plain
    assert told == safe_part(name)
    assert not any(unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF") for c in told)
    assert not set(told) & set("\u200e\u200f\u061c\u2066\u2067\u2068\u2069")
