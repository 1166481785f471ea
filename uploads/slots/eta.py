"""How long a place in the line may still take, from the slots that became free of late."""

from collections import deque
from collections.abc import Iterable
from math import ceil

REMEMBERED = 16  # releases, of everybody and of each person
FORGOTTEN_AFTER = 3600.0  # seconds: older releases say nothing about now


class Turnover:
    """When slots became free, of everybody together and of each person."""

    def __init__(self) -> None:
        self._all: deque[float] = deque(maxlen=REMEMBERED)
        self._own: dict[str, deque[float]] = {}

    def released(self, person: str, now: float) -> None:
        self._all.append(now)
        self._own.setdefault(person, deque(maxlen=REMEMBERED)).append(now)

    def forget(self, person: str) -> None:
        """`person` neither holds a slot nor waits for one."""
        self._own.pop(person, None)

    def seconds(self, places: int, now: float, person: str | None = None) -> int | None:
        """Seconds until `places` slots of `person` (None: of anybody) are free; None before there were two releases.

        The mean runs to this moment, so that the answer grows while nothing is released.
        """
        return seconds_for(places, self._all if person is None else self._own.get(person, ()), now)


def seconds_for(places: int, times: Iterable[float], now: float) -> int | None:
    """Seconds until `places` slots are free where they became free at `times` before; None before there were two."""
    recent = [moment for moment in times if now - moment < FORGOTTEN_AFTER]
    if len(recent) < 2:
        return None
    return ceil(places * (now - recent[0]) / (len(recent) - 1))
