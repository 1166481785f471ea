"""What a browser may be shown of a file: told by its first bytes, never by what the sender calls it. Needs no Django.

Each type here is decoded by the browser as picture, sound, film or PDF, and runs nothing. What is markup or a script
(HTML, SVG, XML) is in no table, and so is text or nothing.
"""

import codecs
import re

HEAD_BYTES = 4096  # enough for every signature, and to tell text from what is none
TEXT = "text/plain; charset=utf-8"

_AT_START = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf2", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
]
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
# The "brand" of an ISO media file. What has another one is a film that some browsers play.
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4"}
_NO_PREVIEW = {b"heic", b"heix", b"mif1", b"msf1", b"jp2 ", b"jpx ", b"crx "}
_BYTE_ORDER_MARKS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
# Control characters that no text has: neither tab, line feed, form feed, carriage return nor escape.
_BINARY = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff]")

# What the page makes room for, before it has seen a byte. No more than a guess: `media_type` has the last word.
_ESSENCES = {
    "application/pdf": "pdf",
    "application/json": "text",
    "application/xml": "text",
    "application/javascript": "text",
    "application/x-sh": "text",
    "application/yaml": "text",
    "application/toml": "text",
    "image/svg+xml": "text",
    "image/tiff": "",
    "image/heic": "",
    "image/bmp": "",
}
_ENDINGS = {
    "image": "png jpg jpeg jfif gif webp avif",
    "audio": "mp3 m4a m4b aac flac wav ogg oga opus",
    "video": "mp4 m4v mov webm mkv ogv",
    "pdf": "pdf",
    "text": "txt text md markdown rst log csv tsv json jsonl xml svg html htm xhtml css js mjs ts py rb go rs c h cpp "
    "hpp java kt sh bash ps1 bat sql ini cfg conf toml yaml yml diff patch tex bib srt vtt nfo",
}
_BY_ENDING = {ending: family for family, endings in _ENDINGS.items() for ending in endings.split()}


def expected_family(content_type: str, filename: str) -> str:
    """`image`, `audio`, `video`, `pdf` or `text`, as name and type let expect; empty where nothing can be shown."""
    essence = content_type.partition(";")[0].strip().lower()
    if essence in _ESSENCES:
        return _ESSENCES[essence]
    family = essence.partition("/")[0]
    if family in _ENDINGS:
        return family
    _name, dot, ending = filename.rpartition(".")
    return _BY_ENDING.get(ending.lower(), "") if dot else ""


OPAQUE = "application/octet-stream"
# Types that a browser may be told with a download. With any other (a script, a style sheet, markup) one of our own
# pages could be made to load the file as its own: the policy of the pages trusts what comes from here.
_PASSIVE_FAMILIES = {"image", "audio", "video", "font"}
_PASSIVE = {"text/plain", "text/csv", "application/pdf", "application/zip", "application/gzip", "application/rtf"}
_PASSIVE_MAKERS = ("application/vnd.", "application/x-7z", "application/x-tar", "application/msword")


_CHARSET = re.compile(r"charset=[\w.:-]{1,40}", re.ASCII | re.IGNORECASE)


def passive_type(content_type: str) -> str:
    """What a download is called: the sender's word for it, or `OPAQUE` where that names something that could run.

    Of what stands behind the type only a charset is passed on: some browsers take what comes behind a comma for another
    type, and the last for the true one.
    """
    essence, _semicolon, more = content_type.partition(";")
    essence = essence.strip().lower()
    is_passive = (
        essence.partition("/")[0] in _PASSIVE_FAMILIES or essence in _PASSIVE or essence.startswith(_PASSIVE_MAKERS)
    )
    if not is_passive or essence.endswith(("+xml", "+json")) or "," in essence:
        return OPAQUE
    return f"{essence}; {more.strip()}" if _CHARSET.fullmatch(more.strip()) else essence


def media_type(head: bytes) -> str | None:
    """What the file may be served as, by its first bytes; `TEXT` where they are text, None where nothing is safe."""
    for signature, found in _AT_START:
        if head.startswith(signature):
            return found
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head[:64] else "audio/ogg"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return None if brand in _NO_PREVIEW else _BRANDS.get(brand, "video/mp4")
    return TEXT if head and readable(head, is_cut=len(head) >= HEAD_BYTES) is not None else None


def readable(beginning: bytes, *, is_cut: bool) -> str | None:
    """The beginning of a text, which may be cut in the middle of a character; None where it is no text."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if beginning.startswith(mark):
            text = _decoded(beginning[len(mark) :], encoding, is_cut=is_cut)
            break
    else:
        text = _decoded(beginning, "utf-8", is_cut=is_cut)
        if text is None:
            text = beginning.decode("cp1252", errors="replace")  # as older programs write it
    return None if text is None or _BINARY.search(text) else text


def _decoded(data: bytes, encoding: str, *, is_cut: bool) -> str | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return decoder.decode(data, final=not is_cut)
    except UnicodeDecodeError:
        return None
