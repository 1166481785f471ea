"""The columns of JSON fields: what a careless or a hostile program puts in a field's place. As text, as it is sent."""

import json

MISSING = None

SCALARS = {
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "minus zero": "-0",
    "one": "1",
    "minus one": "-1",
    "a float": "1.5",
    "a whole float": "1.0",
    "an exponent": "1e3",
    "2^31": "2147483648",
    "2^53 + 1": "9007199254740993",
    "2^63": "9223372036854775808",
    "2^64": "18446744073709551616",
    "the largest size": "5497558138880",
    "above the largest size": "5497558138881",
    "10^400": "1" + "0" * 400,
    "-10^400": "-1" + "0" * 400,
    "a float beyond floats": "1e999",
    "the empty string": '""',
    "a string": '"x"',
    "digits in a string": '"1"',
    "true in a string": '"true"',
    "an empty list": "[]",
    "a list": "[1]",
    "a list of strings": '["x"]',
    "an empty object": "{}",
    "an object": '{"a": 1}',
    "a list 50 deep": "[" * 50 + "]" * 50,
}
STRINGS = {
    "a space": " ",
    "255 characters": "x" * 255,
    "256 characters": "x" * 256,
    "1,024 characters": "x" * 1024,
    "1,025 characters": "x" * 1025,
    "a MiB": "x" * 2**20,
    "NUL": "a\x00b",
    "a line break": "a\r\nX-Evil: 1",
    "a tab": "a\tb",
    "DEL and C1": "a\x7f\x85",
    "a byte order mark": "\ufeffa",
    "a noncharacter": "\uffff",
    "private use": "\U0010fffd",
    "right to left": "\u202egpj.exe",
    "an emoji": "😀",
    "255 emoji": "😀" * 255,
    "256 emoji": "😀" * 256,
    "Hindi": "फ़ाइल",
    "a combining storm": "a" + "\u0301" * 100,
    "a path": "../../etc/passwd",
    "a markup": "<script>alert(1)</script>",
    "a template": "{{ 7*7 }} ${7*7} %s %(x)s {0}",
    "a statement of SQL": "'; DROP TABLE uploads_storedfile; --",
    "64 lower-case digits": "0123456789abcdef" * 4,
    "64 upper-case digits": "0123456789ABCDEF" * 4,
    "63 digits": "a" * 63,
    "65 digits": "a" * 65,
    "64 digits and a line break": "a" * 64 + "\n",
    "64 digits of another script": "१" * 64,
    "a media type": "image/png",
    "a media type with parameters": "text/plain; charset=utf-8",
    "a media type with a line break": "image/png\r\nX-Evil: 1",
    "half a media type": "image/",
    "a media type of 256": "image/" + "x" * 250,
    "an id": "00000000-0000-4000-8000-000000000000",
}
# What is no JSON at all, wherever it stands: the whole body or message is at fault.
NO_JSON = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "10^5000": "1" + "0" * 5000,
    "a leading zero": "01",
    "a leading plus": "+1",
    "hexadecimal": "0x10",
    "single quotes": "'x'",
    "nothing": "",
    "an open string": '"x',
    "a raw line break in a string": '"a\nb"',
    "a raw NUL in a string": '"a\x00b"',
    "a wrong escape": '"\\x41"',
    "half an escape": '"\\u00"',
    "a list 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "an object 100,000 deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a comment": "1 // one",
    "a trailing comma": "[1,]",
    "undefined": "undefined",
}
SURROGATES = {
    "half a surrogate pair": '"\\ud800"',
    "the other half": '"a\\udfff"',
    "halves in the wrong order": '"\\udc00\\ud800"',
}

AS_JSON = {**SCALARS, **{name: json.dumps(text) for name, text in STRINGS.items()}, **SURROGATES}
COLUMNS = {"missing": MISSING, **AS_JSON, **NO_JSON}


def body_with(others: dict[str, str], field: str, value: str | None) -> bytes:
    """A JSON object of `others` with `value` (JSON text) in `field`'s place; without it where there is no value."""
    members = {**others, field: value}
    written = ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items() if text is not None)
    return f"{{{written}}}".encode()
