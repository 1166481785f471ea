"""Names of files, folders and batches as they are stored: any name is welcome, none can do harm. Needs no Django.

A name is data, never a path: storage keys are made of ids. It is cleaned only of what could break a line, a header
or a folder on the way to a person's disk (wire.md, `filename`).
"""

import unicodedata

NAME_CHARACTERS = 255
TITLE_CHARACTERS = 255
PATH_CHARACTERS = 1024
# Sorting combining marks takes time by the square of their number. No character is composed of more than four.
MOST_BEFORE_COMPOSING = 4


class BadNameError(ValueError):
    """The name cannot be stored; the message says why."""


def clean_filename(name: str) -> str:
    """`name` in NFC, with control characters and slashes of both kinds turned into `_`.

    Raises `BadNameError` unless that leaves 1 to 255 characters that UTF-8 can write.
    """
    composed = _composed(name, NAME_CHARACTERS)
    if not composed:
        raise BadNameError("A file name has at least one character.")
    return _harmless(composed)


def clean_path(path: str) -> str:
    """The relative folders `path`, as in `photos/2026`, with each part cleaned as a file name is; empty for none.

    Raises `BadNameError` for a part that is empty, longer than a name, `.` or `..` (spaces around them are no
    disguise: Windows drops them), and for more than 1,024 characters in all.
    """
    composed = _composed(path, PATH_CHARACTERS)
    if not composed:
        return ""
    parts = composed.split("/")
    if any(part.strip() in ("", ".", "..") or len(part) > NAME_CHARACTERS for part in parts):
        raise BadNameError("A path is made of names with `/` between them, and leads no way but down.")
    return "/".join(map(_harmless, parts))


def clean_title(title: str) -> str:
    """`title` in NFC and on one line, without spaces around it. Raises `BadNameError` above 255 characters."""
    composed = _composed(title, TITLE_CHARACTERS)
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in composed).strip()


def _composed(text: str, most: int) -> str:
    """`text` in NFC. Raises `BadNameError` for more than `most` characters, and for what UTF-8 cannot write."""
    if len(text) > MOST_BEFORE_COMPOSING * most:
        raise BadNameError(f"At most {most} characters are allowed; these are far more.")
    composed = unicodedata.normalize("NFC", text)
    if len(composed) > most:
        raise BadNameError(f"At most {most} characters are allowed; these are {len(composed)}.")
    if any(unicodedata.category(character) == "Cs" for character in composed):
        raise BadNameError("There is half of a surrogate pair, which is no character.")
    return composed


def _harmless(name: str) -> str:
    return "".join(
        "_" if character in "/\\" or unicodedata.category(character) == "Cc" else character for character in name
    )
