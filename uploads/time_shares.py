"""How much of this process's time each person may have while others need it. Needs no Django."""

import time
from collections import OrderedDict
from collections.abc import Callable

PART = 0.25
AHEAD_SECONDS = 0.2
MOST_AT_ONCE_SECONDS = 0.1  # so that nothing alone makes its person wait
FORGOTTEN_AT_ONCE = 2


class Share:
    """Each person may have `part` of every second, and `ahead` seconds of it in advance.

    Who keeps to that never waits, and what somebody had while nobody else needed it does not count.
    """

    def __init__(
        self,
        others_need_it: Callable[[str], bool],
        part: float = PART,
        ahead: float = AHEAD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._others_need_it, self._part, self._ahead, self._clock = others_need_it, part, ahead, clock
        # When each will have waited for all that they had; who had some last is last.
        self._even: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._even)

    def take(self, person: str, seconds: float) -> None:
        """This person had so many seconds."""
        now = self._clock()
        self._forget(now)
        if self._others_need_it(person):
            # What is more was waiting: for Drive, or a database that is locked.
            had = min(seconds, MOST_AT_ONCE_SECONDS)
            self._even[person] = max(now, self._even.get(person, 0.0)) + had / self._part
            self._even.move_to_end(person)

    def wait(self, person: str) -> float:
        """Seconds until this person may have more: none where nobody else needs it any longer."""
        wait = self._even.get(person, 0.0) - self._ahead / self._part - self._clock()
        return wait if wait > 0 and self._others_need_it(person) else 0.0

    def _forget(self, now: float) -> None:
        """Forget some who are even again: more of them than one call can add."""
        for _ in range(FORGOTTEN_AT_ONCE):
            person = next(iter(self._even), None)
            if person is None or self._even[person] > now:
                return
            del self._even[person]
