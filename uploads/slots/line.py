"""The line: who waits, in which order, and who is next (slots.md 5). Pure rules, no clock and no loop.

Every change costs O(log n) comparisons, however long the line is: persons are kept in buckets by the number of
slots that they hold, so that those at the cap need not be looked at, and a changed cap moves nobody.
"""

from bisect import bisect_left, insort
from collections import Counter
from typing import Any

from uploads.slots.entry import Place


class Line:
    """All places in order, and the number of slots that each person holds."""

    def __init__(self) -> None:
        self.granted: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self._by_ticket: dict[int, Place] = {}
        self._order: list[tuple[bool, int, int]] = []
        self._fronts: list[tuple[int, int]] = []
        self._tickets: dict[str, list[int]] = {}  # of one person, those that can run and are not at the front
        self._heads: dict[int, list[int]] = {}  # slots held -> the oldest such ticket of each person who holds so many

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, place: Place) -> bool:
        return self._by_ticket.get(place.ticket) is place

    def in_order(self) -> list[Place]:
        return [self._by_ticket[ticket] for _, _, ticket in self._order]

    def add(self, place: Place) -> None:
        insort(self._order, place.key)
        self._by_ticket[place.ticket] = place
        self.places[place.person] += 1
        if not place.can_run:
            return
        if place.front:
            insort(self._fronts, (place.front, place.ticket))
            return
        self._take_head(place.person)
        insort(self._tickets.setdefault(place.person, []), place.ticket)
        self._put_head(place.person)

    def remove(self, place: Place) -> None:
        """Take `place` out; its fields must be as they were when it was added."""
        _delete(self._order, place.key)
        del self._by_ticket[place.ticket]
        self._count(self.places, place.person, -1)
        if not place.can_run:
            return
        if place.front:
            _delete(self._fronts, (place.front, place.ticket))
            return
        self._take_head(place.person)
        tickets = self._tickets[place.person]
        _delete(tickets, place.ticket)
        if not tickets:
            del self._tickets[place.person]
        self._put_head(place.person)

    def count_granted(self, person: str, change: int) -> None:
        """`person` holds one slot more (+1) or less (-1)."""
        self._take_head(person)
        self._count(self.granted, person, change)
        self._put_head(person)

    def next(self, per_person: int) -> Place | None:
        """Who goes next, with at most `per_person` slots each; those at this cap are skipped and keep their place."""
        for _, ticket in self._fronts:
            if self.granted[(place := self._by_ticket[ticket]).person] < per_person:
                return place
        fewest = min(self._heads, default=per_person)
        return self._by_ticket[self._heads[fewest][0]] if fewest < per_person else None

    def position(self, place: Place) -> int:
        """The place's number in the line of all people, from 1."""
        return bisect_left(self._order, place.key) + 1

    def position_among_own(self, place: Place) -> int:
        """The place's number among those of the same person that can run, from 1."""
        return 1 if place.front else bisect_left(self._tickets.get(place.person, []), place.ticket) + 1

    def _take_head(self, person: str) -> None:
        if tickets := self._tickets.get(person):
            heads = self._heads[count := self.granted[person]]
            _delete(heads, tickets[0])
            if not heads:
                del self._heads[count]

    def _put_head(self, person: str) -> None:
        if tickets := self._tickets.get(person):
            insort(self._heads.setdefault(self.granted[person], []), tickets[0])

    @staticmethod
    def _count(counter: Counter[str], person: str, change: int) -> None:
        counter[person] += change
        if not counter[person]:
            del counter[person]  # people come and go; the counters must not grow with them


def _delete(values: list, value: Any) -> None:
    index = bisect_left(values, value)
    if index == len(values) or values[index] != value:
        raise LookupError(f"{value} is not in the line")
    del values[index]
