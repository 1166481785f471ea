"""What an answer holds until its last byte has gone, or its client has: given back however it ends. Needs no Django.

A view can only begin an answer. Whoever runs it keeps the stack in the request's scope and unwinds it when the answer
is over, whether it was sent, broke off, or never came about.
"""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

HELD = "directdrivex.held"
TURN = "directdrivex.turn"  # ends the request's turn (`directdrivex/turns.py`) early, with a rest; may be called again
UNREAD = "directdrivex.unread"  # tells how many bytes the client has not taken yet; not every server knows
UNSENT = "directdrivex.unsent"  # and of those, how many would never leave if its connection was cut now
READER = "directdrivex.reader"  # the `Reader` of an answer that may have to give way to others


def scope_of(request: Any) -> dict[str, Any]:
    """The scope of a Django request; an empty one where no server made it, as in a test of a view."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    return scope


def held_by(scope: Mapping[str, Any]) -> AsyncExitStack | None:
    """Where to put what is to be given back; None where nobody runs the answer to its end, as in a test of a view."""
    return scope.get(HELD)


def end_turn(scope: Mapping[str, Any], rest: float = 0.0) -> None:
    """The request has been worked on, but for waiting. For `rest` seconds more its sender may have one less at once."""
    give_back: Callable[[float], None] | None = scope.get(TURN)
    if give_back is not None:
        give_back(rest)
