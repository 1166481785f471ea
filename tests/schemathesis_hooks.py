"""What Schemathesis is told of the contract that JSON Schema has no words for."""

import itertools
from typing import Any

import schemathesis


def _has_a_whole_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_a_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_a_whole_float, value))
    return isinstance(value, float) and value.is_integer()


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """JSON Schema takes 1.0 for an integer; the contract asks for "a JSON integer (no boolean, no float)"."""
    return not _has_a_whole_float(body)


# A password that is set costs the server a slow hash, and a rest: hundreds of them take minutes, and try nothing new.
EACH = 25
_passwords = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Of the bodies that set a good password, most set none."""
    if case.operation.path.endswith("/unlock") or not isinstance(case.body, dict):
        return
    files = case.body.get("files")
    for part in (case.body, *(files if isinstance(files, list) else ())):
        if isinstance(part, dict) and _is_good(part.get("password")) and next(_passwords) % EACH:
            part["password"] = None


def _is_good(password: Any) -> bool:
    return isinstance(password, str) and bool(password.strip()) and len(password) <= 256
