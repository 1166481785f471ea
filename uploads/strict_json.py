"""JSON as RFC 8259 has it, and nothing that Python reads besides. Needs no Django."""

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

# A batch of a thousand files has a thousand and two of them. What stands in memory by the million the garbage
# collector walks over as well: a few such bodies stopped the event loop for seconds, and took half a GiB.
MOST_LISTS_AND_OBJECTS = 50_000
STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')


class TooManyError(ValueError):
    """More lists and objects than anybody needs."""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def read(text: bytes | str) -> Any:
    """What a JSON text says; bytes are UTF-8, without a byte order mark.

    Raises `ValueError` for anything else: NaN, other encodings (which `json.loads` guesses), and nesting beyond what
    can be read; and `TooManyError`.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    if _brackets(text) > MOST_LISTS_AND_OBJECTS and _brackets(STRING.sub("", text)) > MOST_LISTS_AND_OBJECTS:
        raise TooManyError("there are too many lists and objects")
    try:
        with _no_collection():
            return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("this is nested too deeply") from None


def _brackets(text: str) -> int:
    return text.count("[") + text.count("{")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which would walk over all lists again and again while they are made."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
