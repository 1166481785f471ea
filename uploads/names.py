"""Names of files, folders and batches as they are stored: any name is welcome, none can do harm. Needs no Django.

A name is data, never a path: storage keys are made of ids. It is cleaned only of what could break a line, a header
or a folder on the way to a person's disk (wire.md, `filename`).
"""

import re
import unicodedata

NAME_CHARACTERS = 255
TITLE_CHARACTERS = 255
PATH_CHARACTERS = 1024
PATH_FOLDERS = 64

# Sorting combining marks takes time by the square of their number. A text that only composing could make short enough
# has at most four characters for each that it leaves, and no longer runs of marks than Unicode's stream-safe format.
MOST_BEFORE_COMPOSING = 4
MARKS_IN_A_ROW = 30

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
CONTROLS_AND_SLASHES = re.compile("[\x00-\x1f\x7f-\x9f/\\\\]")
SURROGATES = re.compile("[\ud800-\udfff]")


class BadNameError(ValueError):
    """The name cannot be stored; the message says why."""


def clean_filename(name: str) -> str:
    """`name` in NFC, with control characters and slashes of both kinds turned into `_`.

    Raises `BadNameError` unless that leaves 1 to 255 characters that UTF-8 can write.
    """
    composed = _composed(name, NAME_CHARACTERS)
    if not composed:
        raise BadNameError("A file name has at least one character.")
    return CONTROLS_AND_SLASHES.sub("_", composed)


def clean_path(path: str) -> str:
    """The relative folders `path`, as in `photos/2026`, with each part cleaned as a file name is; empty for none.

    Raises `BadNameError` for a part that is empty, longer than a name, `.` or `..` (spaces around them are no
    disguise: Windows drops them), and for more than 1,024 characters or 64 folders in all.
    """
    if not path:
        return ""
    if len(path) > MOST_BEFORE_COMPOSING * PATH_CHARACTERS:
        raise BadNameError(f"A path has at most {PATH_CHARACTERS} characters; this one has far more.")
    if path.count("/") >= PATH_FOLDERS:
        raise BadNameError(f"A path has at most {PATH_FOLDERS} folders; this one has more.")
    parts = [clean_filename(part) for part in path.split("/")]
    if any(part.strip() in ("", ".", "..") for part in parts):
        raise BadNameError("A path is made of names with `/` between them, and leads no way but down.")
    cleaned = "/".join(parts)
    if len(cleaned) > PATH_CHARACTERS:
        raise BadNameError(f"A path has at most {PATH_CHARACTERS} characters; this one has {len(cleaned)}.")
    return cleaned


def clean_title(title: str) -> str:
    """`title` in NFC and on one line, without spaces around it. Raises `BadNameError` above 255 characters."""
    return CONTROLS.sub(" ", _composed(title, TITLE_CHARACTERS)).strip()


def _composed(text: str, most: int) -> str:
    """`text` in NFC. Raises `BadNameError` for more than `most` characters, and for what UTF-8 cannot write."""
    if len(text) > most and (len(text) > MOST_BEFORE_COMPOSING * most or _has_a_heap_of_marks(text)):
        raise BadNameError(f"At most {most} characters are allowed; these are far more.")
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    if len(composed) > most:
        raise BadNameError(f"At most {most} characters are allowed; these are {len(composed)}.")
    if SURROGATES.search(composed):
        raise BadNameError("There is half of a surrogate pair, which is no character.")
    return composed


def _has_a_heap_of_marks(text: str) -> bool:
    if text.isascii():
        return False
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run > MARKS_IN_A_ROW:
            return True
    return False
