"""What a browser is told of a file: nothing that could run, whatever the sender says."""

import pytest

from uploads.delivery.kinds import OPAQUE, TEXT, expected_family, media_type, passive_type, readable


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a=1;alert(1)", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\0\0\0\x20ftypheic", None),
        (b"OggS" + bytes(24) + b"OpusHead", "audio/ogg"),
        (b"OggS" + bytes(24) + b"\x80theora", "video/ogg"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"ID3\x04", "audio/mpeg"),
        (b"%PDF-1.7", "application/pdf"),
        (b" %PDF-1.7", TEXT),
        (b"<!doctype html><script>", TEXT),
        (b"<svg xmlns=", TEXT),
        ("<script>".encode("utf-16"), TEXT),
        (b"MZ\x90\0", None),
        (b"PK\x03\x04\x14\0", None),
        (b"", None),
    ],
)
def test_the_type_is_told_by_the_first_bytes(head: bytes, expected: str | None) -> None:
    assert media_type(head) == expected


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("हिन्दी".encode(), "हिन्दी"),
        (b"\xef\xbb\xbfabc", "abc"),
        (b"\xff\xfea\0b\0", "ab"),
        (b"\xfe\xff\0a", "a"),
        (b"caf\xe9", "café"),
        (b"a\x1b[31mred\tb\r\n\x0c", "a\x1b[31mred\tb\r\n\x0c"),
        (b"a\0b", None),
        (b"\x01\x02", None),
        (b"\xff\xfe\0\xd8a\0", None),  # half of a surrogate pair
    ],
)
def test_text_is_read_in_the_encoding_that_it_has_and_anything_else_is_none(data: bytes, text: str | None) -> None:
    assert readable(data, is_cut=False) == text


def test_a_text_may_be_cut_in_the_middle_of_a_character() -> None:
    for encoding in ("utf-8", "utf-16"):
        assert readable("हिन्दी".encode(encoding)[:-1], is_cut=True) == "हिन्द"


@pytest.mark.parametrize(
    ("content_type", "filename", "family"),
    [
        ("image/png", "a", "image"),
        ("IMAGE/PNG; x=y", "a.txt", "image"),
        ("image/svg+xml", "a.svg", "text"),
        ("text/html", "a.html", "text"),
        ("application/pdf", "a", "pdf"),
        ("", "README.md", "text"),
        ("application/octet-stream", "film.MKV", "video"),
        ("application/zip", "a.zip", ""),
        ("", "txt", ""),
        ("", "", ""),
    ],
)
def test_name_and_type_let_expect_what_can_be_shown(content_type: str, filename: str, family: str) -> None:
    assert expected_family(content_type, filename) == family


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "text/javascript",
        "Application/JavaScript; charset=utf-8",
        "text/ecmascript",
        "text/css",
        "text/xml",
        "image/svg+xml",
        "application/xhtml+xml",
        "application/vnd.mozilla.xul+xml",
        "application/json",
        "application/wasm",
        "message/rfc822",
        "nonsense",
        "",
    ],
)
def test_no_download_is_called_what_a_page_could_load_and_run(content_type: str) -> None:
    assert passive_type(content_type) == OPAQUE


def test_other_downloads_keep_the_type_that_the_sender_gave() -> None:
    for content_type in (
        "image/png",
        "video/mp4",
        "text/plain; charset=koi8-r",
        "application/pdf",
        "application/vnd.rar",
    ):
        assert passive_type(content_type) == content_type


def test_nothing_behind_a_type_can_make_another_of_it() -> None:
    assert passive_type("image/png;,text/javascript") == "image/png"
    assert passive_type("image/png; charset=utf-8,text/javascript") == "image/png"
    assert passive_type("image/png,text/javascript") == OPAQUE
