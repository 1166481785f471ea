"""Partial answers: the `fields` parameter, such as `id,name`, `files(id,owners/emailAddress)` or `*`."""

import re
from typing import Any

from devtools.emulator.errors import DriveError

Selection = dict[str, "Selection | None"]  # None: all that is below
TOKEN = re.compile(r"\s*([A-Za-z0-9_*]+|[(),/])")


def invalid_field(name: str) -> DriveError:
    return DriveError(400, "invalidParameter", f"Invalid field selection {name}", location="fields")


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens, position = [], 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if not match:
                raise invalid_field(text)
            self.tokens.append(match[1])
            position = match.end()
        self.text = text
        self.tokens.reverse()

    def _next(self) -> str:
        return self.tokens.pop() if self.tokens else ""

    def _peek(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def selection(self) -> Selection:
        found: Selection = {}
        while True:
            _merge(found, *self.entry())
            if self._peek() != ",":
                return found
            self._next()

    def entry(self) -> tuple[str, Selection | None]:
        """One name with what is wanted below it: `a`, `a/b` or `a(b,c)`."""
        name = self._next()
        if not name or name in "(),/":
            raise invalid_field(self.text)
        if self._peek() == "/":
            self._next()
            return name, dict([self.entry()])
        if self._peek() != "(":
            return name, None
        self._next()
        below = self.selection()
        if self._next() != ")":
            raise invalid_field(self.text)
        return name, below


def _merge(into: Selection, name: str, below: Selection | None) -> None:
    before = into.get(name, {})
    if below is None or before is None:
        into[name] = None
    else:
        for key, value in below.items():
            _merge(before, key, value)
        into[name] = before


def parse(text: str) -> Selection:
    """The selection that `fields` asks for. Raises `DriveError` (400) where it cannot be read."""
    parser = _Parser(text)
    selection = parser.selection()
    if parser.tokens:
        raise invalid_field(text)
    return selection


def wants(selection: Selection, name: str) -> bool:
    return name in selection or "*" in selection


def check(selection: Selection, known: frozenset[str]) -> None:
    """Raises `DriveError` (400) for a field that there is not."""
    for name in selection:
        if name != "*" and name not in known:
            raise invalid_field(name)


def project(value: Any, selection: Selection | None) -> Any:
    """What the selection leaves of a JSON value; lists are projected item by item."""
    if selection is None or ("*" in selection and selection["*"] is None):
        return value
    if isinstance(value, list):
        return [project(item, selection) for item in value]
    if not isinstance(value, dict):
        return value
    every = selection.get("*")
    return {
        name: project(item, selection.get(name, every))
        for name, item in value.items()
        if name in selection or every is not None
    }
