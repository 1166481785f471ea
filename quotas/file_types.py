"""Which files an operator does not want, by their names and content types. Needs no Django.

A name is judged as the recipient's system might read it, so that nobody slips through by letters that look alike, by
marks that nobody sees, or by an end that Windows drops.
"""

import re
import unicodedata
from collections.abc import Container

LONGEST_PATTERN = 127
_EXTENSION = re.compile(r"[^\s./\\:*?\"<>|;,]+")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/(\*|[\w!#$&^.+-]+)", re.ASCII)


def canonical_pattern(text: str) -> str:
    """The one way to write an extension (`scr`) or a media type (`application/hta`, `image/*`) that is not wanted.

    Raises ValueError for what is neither.
    """
    pattern = _as_read(text).strip()
    if "/" not in pattern:
        pattern = pattern.removeprefix("*").removeprefix(".")
    if len(pattern) > LONGEST_PATTERN or not (_MEDIA_TYPE if "/" in pattern else _EXTENSION).fullmatch(pattern):
        raise ValueError(f"{text[:40]!r} is neither an extension nor a media type")
    return pattern


def blocked_by(patterns: Container[str], filename: str, content_type: str) -> tuple[str, str] | None:
    """What speaks against this file: `filename` or `content_type`, and the pattern; None where nothing does."""
    for extension in extensions_of(filename):
        if extension in patterns:
            return "filename", extension
    essence = _as_read(content_type).partition(";")[0].strip()
    for media_type in (essence, f"{essence.partition('/')[0]}/*"):
        if media_type in patterns:
            return "content_type", media_type
    return None


def extensions_of(filename: str) -> list[str]:
    """What could count as the extension of this name, without the dot; none where it has none.

    NTFS takes what follows a colon for a stream of the file whose name stands before it, which a double click runs.
    """
    extensions = []
    for name in _as_read(filename).split(":"):
        while name and (name[-1] == "." or name[-1].isspace()):
            name = name[:-1]
        _stem, dot, extension = name.rpartition(".")
        if dot:
            extensions.append(extension)
    return extensions


def _as_read(text: str) -> str:
    """`text` in its compatibility form, without characters of format (direction marks among them), case folded."""
    if text.isascii():
        return text.lower()
    composed = unicodedata.normalize("NFKC", text)
    return "".join(character for character in composed if unicodedata.category(character) != "Cf").casefold()
