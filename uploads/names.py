"""File names as they are stored: any name is welcome, none can do harm. Needs no Django.

A name is data, never a path: storage keys are made of ids. It is cleaned only of what could break a line, a header
or a folder on the way to a person's disk (wire.md, `filename`).
"""

import unicodedata

NAME_CHARACTERS = 255
# Sorting combining marks takes time by the square of their number. No character is composed of more than four.
MOST_BEFORE_COMPOSING = 4 * NAME_CHARACTERS


class BadNameError(ValueError):
    """The name cannot be stored; the message says why."""


def clean_filename(name: str) -> str:
    """`name` in NFC, with control characters and slashes of both kinds turned into `_`.

    Raises `BadNameError` unless that leaves 1 to 255 characters that UTF-8 can write.
    """
    if len(name) > MOST_BEFORE_COMPOSING:
        raise BadNameError(f"A file name has 1 to {NAME_CHARACTERS} characters; this one has far more.")
    composed = unicodedata.normalize("NFC", name)
    if not 1 <= len(composed) <= NAME_CHARACTERS:
        raise BadNameError(f"A file name has 1 to {NAME_CHARACTERS} characters; this one has {len(composed)}.")
    if any(unicodedata.category(character) == "Cs" for character in composed):
        raise BadNameError("The file name has half of a surrogate pair, which is no character.")
    return "".join(
        "_" if character in "/\\" or unicodedata.category(character) == "Cc" else character for character in composed
    )
