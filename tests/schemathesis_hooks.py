"""What Schemathesis is told of the contract that JSON Schema has no words for."""

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
