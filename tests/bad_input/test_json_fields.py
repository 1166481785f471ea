"""Every field of every JSON call, with everything in its place that does not belong there."""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from devtools.client import Client
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import Treasure
from tests.bad_input.http import Answer, Request, ask
from tests.bad_input.matrix import all_cells, faults_of
from tests.bad_input.values import AS_JSON, COLUMNS, NO_JSON, STRINGS, body_with

JSON = (("Content-Type", "application/json"),)
WHOLE_NUMBERS = {"zero", "minus zero", "one", "2^31", "the largest size"}
NAMES = {name for name, text in STRINGS.items() if len(text) <= 255} | {"a string", "digits in a string"}
NAMES |= {"true in a string", "a raw path"}
INITIATE = "/api/v1/upload/initiate"
FILE = {"filename": '"a.bin"', "size": "1"}


BATCH = "/api/v1/batch/initiate"


@dataclass(frozen=True)
class Field:
    """A field of a call: `welcome` are the columns that it takes; `others` the members beside it.

    A field of a file in a batch stands in an object of the list `files`.
    """

    path: str
    name: str
    others: dict[str, str]
    welcome: set[str]
    in_files: bool = False

    def __str__(self) -> str:
        return f"{self.path.removeprefix('/api/v1/')} {'files.0.' * self.in_files}{self.name}"

    def body(self, value: str | None) -> bytes:
        inner = body_with(self.others, self.name, value)
        return b'{"files": [%b]}' % inner if self.in_files else inner


TEXTS = {"the empty string", "a string", "digits in a string", "true in a string"} | set(STRINGS)
ABSENT = {"missing", "null"}
PASSWORDS = {name for name in TEXTS if name in ("a string", "digits in a string", "true in a string")}
PASSWORDS |= {name for name, text in STRINGS.items() if text.strip() and len(text) <= 256}
# Each that is taken costs the time of a slow hash.
HASHED = {"a string", "256 characters", "NUL", "an emoji", "a combining storm"}
OF_A_FILE: dict[str, set[str]] = {
    "filename": NAMES,
    "size": WHOLE_NUMBERS,
    "content_type": ABSENT | {"the empty string", "a media type", "a media type with parameters"},
    "sha256": ABSENT | {"64 lower-case digits"},
    "password": ABSENT | PASSWORDS,
    "max_downloads": ABSENT | {"one"},
    "expires_in": ABSENT,  # no column is between a minute and ten years
    "unknown": {"missing", *AS_JSON},
}
# A name of more than 255 characters, a part that is none, or a way up.
NO_PATHS = {
    "a space",
    "256 characters",
    "1,024 characters",
    "1,025 characters",
    "a MiB",
    "256 emoji",
    "a path",
    "half a media type",
}
PATHS = ABSENT | (TEXTS - NO_PATHS)
TITLES = ABSENT | {name for name in TEXTS if len(STRINGS.get(name, "")) <= 255}
FIELDS = [
    *(Field(INITIATE, name, FILE, welcome) for name, welcome in OF_A_FILE.items()),
    *(Field(BATCH, name, FILE, welcome, in_files=True) for name, welcome in OF_A_FILE.items()),
    Field(BATCH, "path", FILE, PATHS, in_files=True),
    Field(BATCH, "files", {}, set()),
    Field(BATCH, "title", {"files": "[" + json.dumps({"filename": "a.bin", "size": 1}) + "]"}, TITLES),
    *(
        Field(BATCH, name, {"files": "[" + json.dumps({"filename": "a.bin", "size": 1}) + "]"}, OF_A_FILE[name])
        for name in ("password", "max_downloads", "expires_in", "unknown")
    ),
]


# The disk that the test runs on has no room for it, which is said only after all else was found right.
NO_ROOM = {"the largest size"}


async def try_field(server: ServerProcess, field: Field) -> None:
    async def fault_of(column: str) -> str | None:
        answer = await ask(server.port, Request("POST", field.path, JSON, field.body(COLUMNS[column])))
        if column in field.welcome:
            return faults_of(answer, "storage_full" if field.name == "size" and column in NO_ROOM else 200)
        if fault := faults_of(answer, "invalid_request"):
            return fault
        assert answer is not None
        named = {problem["field"] for problem in answer.problem["errors"]}
        at_fault = "body" if column in NO_JSON else "files.0." * field.in_files + field.name
        right = named == {at_fault} or (field.name == "files" and all(name.startswith("files.") for name in named))
        return None if right else f"blames {named}, not {at_fault}"

    skipped = PASSWORDS - HASHED if field.name == "password" else set()
    await all_cells("JSON fields", ((column, column) for column in COLUMNS if column not in skipped), fault_of)


@pytest.mark.parametrize("field", FIELDS, ids=str)
async def test_a_field_takes_what_it_is_for_and_names_itself_where_it_is_wrong(
    server: ServerProcess, treasure: Treasure, field: Field
) -> None:
    await try_field(server, field)


CHANGES = {name: OF_A_FILE[name] for name in ("password", "max_downloads", "expires_in", "unknown")}
CHANGES["revoked"] = {"missing", "true", "false"}


@pytest.mark.parametrize("what", ["files", "batch"])
async def test_a_change_takes_what_it_is_for_and_names_itself_where_it_is_wrong(
    server: ServerProcess, treasure: Treasure, client: Client, what: str
) -> None:
    batch = await client.initiate_batch([{"filename": "mine", "size": 1}])
    id, token = batch.uploads[0].file_id if what == "files" else batch.batch_id, batch.uploads[0].token

    async def fault_of(cell: tuple[str, str]) -> str | None:
        name, column = cell
        headers = (*JSON, ("Authorization", f"Bearer {token}"))
        body = body_with({}, name, COLUMNS[column])
        answer = await ask(server.port, Request("PATCH", f"/api/v1/{what}/{id}", headers, body))
        return _faults(answer, 200 if column in CHANGES[name] else "invalid_request", column, name)

    skipped = PASSWORDS - HASHED
    cells = [(name, column) for name in CHANGES for column in COLUMNS if name != "password" or column not in skipped]
    await all_cells("JSON fields", ((f"{name} {column}", (name, column)) for name, column in cells), fault_of)


@pytest.mark.parametrize("what", ["files", "batch"])
async def test_a_guess_is_a_text_that_could_be_a_password(server: ServerProcess, treasure: Treasure, what: str) -> None:
    id = (treasure.finished if what == "files" else treasure.batch).file_id

    async def fault_of(column: str) -> str | None:
        request = Request("POST", f"/api/v1/{what}/{id}/unlock", JSON, body_with({}, "password", COLUMNS[column]))
        expected = "wrong_state" if column in PASSWORDS else "invalid_request"  # it has none
        return _faults(await ask(server.port, request), expected, column, "password")

    await all_cells("JSON fields", ((column, column) for column in COLUMNS), fault_of)


def _faults(answer: Answer | None, expected: int | str, column: str, field: str) -> str | None:
    if (fault := faults_of(answer, expected)) or expected != "invalid_request" or answer is None:
        return fault
    named = {problem["field"] for problem in answer.problem["errors"]}
    return None if named == {"body" if column in NO_JSON else field} else f"blames {named}"


GOOD = b'{"filename": "a.bin", "size": 1}'
BODIES: dict[str, tuple[bytes, int | str]] = {
    "as it should be": (GOOD, 200),
    "with white space around": (b" \r\n\t" + GOOD + b"\n ", 200),
    "a key twice, the last counts": (b'{"filename": 5, "filename": "a", "size": 1}', 200),
    "a key twice, the last is bad": (b'{"filename": "a", "size": 1, "size": "1"}', "invalid_request"),
    "a key of half a surrogate pair": (b'{"\\ud800": 1, "filename": "a", "size": 1}', 200),
    "an empty key": (b'{"": 1, "filename": "a", "size": 1}', 200),
    "a prototype": (b'{"__proto__": {"size": 5}, "__class__": "x", "filename": "a", "size": 1}', 200),
    "10,000 unknown keys": (
        json.dumps({f"k{n}": n for n in range(10_000)} | {"filename": "a", "size": 1}).encode(),
        200,
    ),
    "nothing": (b"", "invalid_request"),
    "only white space": (b"  \n", "invalid_request"),
    "an empty object": (b"{}", "invalid_request"),
    "a list": (b"[]", "invalid_request"),
    "a list of the right object": (b"[" + GOOD + b"]", "invalid_request"),
    "null": (b"null", "invalid_request"),
    "true": (b"true", "invalid_request"),
    "a number": (b"5", "invalid_request"),
    "a string": (b'"x"', "invalid_request"),
    "the right object as a string": (json.dumps(GOOD.decode()).encode(), "invalid_request"),
    "cut off": (GOOD[:-1], "invalid_request"),
    "two objects": (GOOD + GOOD, "invalid_request"),
    "JSON lines": (GOOD + b"\n" + GOOD, "invalid_request"),
    "something after it": (GOOD + b"x", "invalid_request"),
    "a NUL after it": (GOOD + b"\x00", "invalid_request"),
    "a byte order mark": (codecs.BOM_UTF8 + GOOD, "invalid_request"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "invalid_request"),
    "UTF-16, little end first": (GOOD.decode().encode("utf-16-le"), "invalid_request"),
    "UTF-32": (GOOD.decode().encode("utf-32"), "invalid_request"),
    "Latin-1": ('{"filename": "é", "size": 1}'.encode("latin-1"), "invalid_request"),
    "a stray continuation byte": (b'{"filename": "\x80", "size": 1}', "invalid_request"),
    "an overlong slash": (b'{"filename": "\xc0\xaf", "size": 1}', "invalid_request"),
    "a surrogate in UTF-8": (b'{"filename": "\xed\xa0\x80", "size": 1}', "invalid_request"),
    "above Unicode": (b'{"filename": "\xf5\x80\x80\x80", "size": 1}', "invalid_request"),
    "a form": (b"filename=a.bin&size=1", "invalid_request"),
    "XML": (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "invalid_request"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "invalid_request"),
    "brackets without end": (b"[" * 1_000_000, "invalid_request"),
    "braces without end": (b'{"a":' * 300_000, "invalid_request"),
    "just below 2 MiB": (GOOD[:-1] + b', "p": "' + b"x" * (2 * 2**20 - 60) + b'"}', 200),
    "just above 2 MiB": (b" " * (2 * 2**20 + 1), "body_too_large"),
    "3 MiB": (b" " * (3 * 2**20), "body_too_large"),
}


async def test_a_body_is_one_JSON_object_in_UTF_8(server: ServerProcess, treasure: Treasure) -> None:
    async def fault_of(cell: tuple[bytes, int | str]) -> str | None:
        body, expected = cell
        return faults_of(await ask(server.port, Request("POST", INITIATE, JSON, body)), expected)

    await all_cells("bodies", BODIES.items(), fault_of)


def kinds() -> Iterator[tuple[str, int | str]]:
    yield from dict.fromkeys(
        [
            "application/json",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "Application/JSON",
            " application/json ",
            "application/json;",
            "application/json; charset=utf-16",  # what is said of the bytes does not change them
            "application/json; charset=rot13",
            'application/json; charset="\\"',
        ],
        200,
    ).items()
    yield from dict.fromkeys(
        [
            "",
            "application",
            "application/",
            "application/jsonx",
            "application/ld+json",
            "application/problem+json",
            "text/json",
            "text/plain",
            "text/plain; application/json",
            "text/plain, application/json",
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=hex",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "multipart/form-data; boundary=" + "x" * 300,
            "multipart/form-data; boundary=é",
            "multipart/mixed; boundary=x",
            "application/octet-stream",
            "*/*",
            "null",
            "é",
            ";",
            "x" * 8000,
        ],
        "invalid_request",
    ).items()


async def test_a_body_is_application_json_and_nothing_else(
    server: ServerProcess, treasure: Treasure, client: Client
) -> None:
    """On a call that takes a body, and on one that takes none."""
    cancel = f"/api/v1/upload/cancel/{treasure.finished.file_id}"
    token = ("Authorization", f"Bearer {treasure.finished.token}")

    async def fault_of(cell: tuple[str, str, int | str]) -> str | None:
        path, kind, expected = cell
        if path == cancel and expected == 200:
            expected = "wrong_state"  # the finished file cannot be cancelled: this far it came
        request = Request("POST", path, (("Content-Type", kind), token), GOOD)
        return faults_of(await ask(server.port, request), expected)

    cells = [
        (f"{path} {kind[:60]!r}", (path, kind, expected)) for path in (INITIATE, cancel) for kind, expected in kinds()
    ]
    await all_cells("content types", cells, fault_of)


async def test_after_all_of_it_the_half_upload_goes_on_and_ends_equal(laid_down: Treasure, client: Client) -> None:
    await laid_down.ends_equal(client)
