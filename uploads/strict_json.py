"""JSON as RFC 8259 has it, and nothing that Python reads besides. Needs no Django."""

import json
from typing import Any, NoReturn


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def read(text: bytes | str) -> Any:
    """What a JSON text says; bytes are UTF-8, without a byte order mark.

    Raises `ValueError` for anything else: NaN, other encodings (which `json.loads` guesses), and nesting beyond
    what can be read.
    """
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("this is nested too deeply") from None
