"""The `q` of files.list: a small language of terms, joined by `and`, `or` and `not`, read into a test for one file.

`and` and `or` are worked off from left to right, as Drive does it; parentheses say otherwise.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from devtools.emulator.errors import invalid

Test = Callable[[dict[str, Any]], bool]  # of a file as files.get shows it
TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z_]+)|(?P<number>\d+)|(?P<sign>!=|<=|>=|[=<>(){}]))", re.DOTALL
)
TIMES = ("createdTime", "modifiedTime", "viewedByMeTime", "sharedWithMeTime")
FLAGS = ("trashed", "starred", "sharedWithMe")
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def moment(text: str) -> datetime:
    """RFC 3339, in UTC where it says nothing. Raises `ValueError`."""
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _contains(kind: str, text: str) -> Test:
    wanted = text.lower()
    if kind == "mimeType":
        return lambda file: str(file.get("mimeType", "")).startswith(text)

    def begins_a_word(file: dict[str, Any]) -> bool:
        """`contains` on a name finds beginnings of words only."""
        name = file["name"].lower()
        return name.startswith(wanted) or any(
            name.startswith(wanted, found.start()) for found in re.finditer(r"(?<![^\W_])[^\W_]", name)
        )

    def anywhere(file: dict[str, Any]) -> bool:
        return wanted in f"{file['name']} {file.get('description', '')}".lower()

    return anywhere if kind == "fullText" else begins_a_word


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if not match:
                raise invalid("q")
            kind = str(match.lastgroup)
            value = match[kind]
            if kind == "text":
                value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
            self.tokens.append((kind, value))
            position = match.end()
        self.tokens.reverse()

    def peek(self) -> tuple[str, str]:
        return self.tokens[-1] if self.tokens else ("", "")

    def take(self, kind: str, *values: str) -> str:
        """The next token's value. Raises `DriveError` where it is none of these."""
        found, value = self.tokens.pop() if self.tokens else ("", "")
        if found != kind or (values and value not in values):
            raise invalid("q")
        return value

    def expression(self) -> Test:
        test = self.factor()
        while self.peek() in (("word", "and"), ("word", "or")):
            joint = self.take("word")
            test = _joined(joint, test, self.factor())
        return test

    def factor(self) -> Test:
        if self.peek() == ("word", "not"):
            self.take("word")
            inner = self.factor()
            return lambda file: not inner(file)
        if self.peek() == ("sign", "("):
            self.take("sign")
            test = self.expression()
            self.take("sign", ")")
            return test
        return self.term()

    def term(self) -> Test:
        if self.peek()[0] == "text":
            return self.membership(self.take("text"))
        name = self.take("word")
        if name in ("properties", "appProperties"):
            return self.property(name)
        if name in FLAGS:
            sign = self.take("sign", "=", "!=")
            wanted = (self.take("word", "true", "false") == "true") == (sign == "=")
            return lambda file: bool(file.get(name)) == wanted
        if name in TIMES:
            compare = COMPARE[self.take("sign", *COMPARE)]
            try:
                when = moment(self.take("text"))
            except ValueError:
                raise invalid("q") from None
            return lambda file: name in file and compare(moment(file[name]), when)
        if name in ("name", "title", "mimeType", "fullText"):
            return self.text("name" if name == "title" else name)
        raise invalid("q")

    def text(self, name: str) -> Test:
        if self.peek() == ("word", "contains"):
            self.take("word")
            return _contains(name, self.take("text"))
        if name == "fullText":
            raise invalid("q")
        compare = COMPARE[self.take("sign", "=", "!=")]
        wanted = self.take("text")
        return lambda file: compare(file.get(name), wanted)

    def membership(self, value: str) -> Test:
        self.take("word", "in")
        place = self.take("word", "parents", "owners", "writers", "readers")
        if place == "parents":
            return lambda file: value in file.get("parents", ())
        return lambda file: any(owner["emailAddress"] == value for owner in file.get("owners", ()))

    def property(self, name: str) -> Test:
        self.take("word", "has")
        self.take("sign", "{")
        self.take("word", "key")
        self.take("sign", "=")
        key = self.take("text")
        self.take("word", "and")
        self.take("word", "value")
        self.take("sign", "=")
        value = self.take("text")
        self.take("sign", "}")
        return lambda file: file.get(name, {}).get(key) == value


def _joined(joint: str, left: Test, right: Test) -> Test:
    if joint == "and":
        return lambda file: left(file) and right(file)
    return lambda file: left(file) or right(file)


def parse(text: str) -> Test:
    """A test that says of each file whether `q` finds it. Raises `DriveError` (400) where it cannot be read."""
    if not text.strip():
        return lambda file: True
    parser = _Parser(text)
    test = parser.expression()
    if parser.tokens:
        raise invalid("q")
    return test
