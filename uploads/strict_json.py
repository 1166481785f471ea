"""JSON as RFC 8259 has it, and nothing that Python reads besides. Needs no Django."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def read(text: bytes | str) -> Any:
    """What a JSON text says; bytes are UTF-8, without a byte order mark.

    Raises `ValueError` for anything else: NaN, other encodings (which `json.loads` guesses), and nesting beyond
    what can be read.
    """
    try:
        with _no_collection():
            return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("this is nested too deeply") from None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which would walk over half a million lists again and again while they are made.

    The event loop stands still meanwhile: for one to two seconds at 2 MiB of `[],[],[]`, and a twentieth of that so.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
