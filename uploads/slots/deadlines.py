"""Who may lapse, and when: a heap in which a renewal costs nothing."""

import heapq
from collections.abc import Iterator


class Deadlines:
    """One moment for each name at which to look at it again. A later moment than the one known changes nothing:
    the name is due at the known one, and whoever looks then names the next."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._known: dict[str, float] = {}  # other moments of the same name in the heap are stale

    def watch(self, name: str, moment: float) -> None:
        if moment < self._known.get(name, float("inf")):
            self._known[name] = moment
            heapq.heappush(self._heap, (moment, name))
        if len(self._heap) > 2 * len(self._known) + 1000:
            self._heap = [(moment, name) for name, moment in self._known.items()]
            heapq.heapify(self._heap)

    def forget(self, name: str) -> None:
        self._known.pop(name, None)

    def due(self, now: float) -> Iterator[str]:
        """The names whose moment has come, each once and no longer watched."""
        while self._heap and self._heap[0][0] <= now:
            moment, name = heapq.heappop(self._heap)
            if self._known.get(name) == moment:
                del self._known[name]
                yield name
