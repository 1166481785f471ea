"""The slot port: who may upload now, and who waits in line (slots.md). The docstrings are the contract.

A slot is a lease, held by one owner token and renewed while it is used; the line is the tickets not yet granted.
`tests/test_slots_contract.py` runs over every backend. Nothing here needs Django, Redis or Channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

PLACES_PER_PERSON = 50  # wire.md: a person holds at most this many places in the line
CLAIM_SECONDS = 5.0  # slots.md 3: a grant that nobody claims in this time goes to the next
POLL_SECONDS = 0.5  # slots.md 4 and 6: each worker looks this often at what no message told


class WaitingFor(StrEnum):
    USER_SLOTS = "user_slots"
    GLOBAL_SLOTS = "global_slots"
    MEMORY = "memory"
    STORAGE = "storage"
    PAUSED = "paused"
    RECOVERY = "recovery"


class SlotError(Exception):
    """Something about slots went wrong."""


class QueueFullError(SlotError):
    """The line has no place left; `scope` is `all` or `person`."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the line is full for {scope}")
        self.scope = scope


class SlotsUnavailableError(SlotError):
    """The slot store cannot be reached: nothing is granted."""


@dataclass(frozen=True)
class Claim:
    """Who asks for a slot: `owner` is a secret of one connection, `person` whom it counts for, `window` in bytes."""

    upload_id: str
    owner: str
    person: str
    window: int


@dataclass(frozen=True)
class Granted:
    """The upload holds a slot until it is released or, unrenewed, `lease_seconds` have passed. Fences only grow."""

    fence: int
    lease_seconds: float


@dataclass(frozen=True)
class Waiting:
    """The upload has a place: `position` counts from 1 in the line of all people."""

    position: int
    waiting_for: WaitingFor
    eta_seconds: int | None


@dataclass(frozen=True)
class Absent:
    """The upload has neither slot nor place under this owner token: it lapsed, was taken over, or was taken away."""


Standing = Granted | Waiting | Absent


@dataclass(frozen=True)
class LeaseView:
    """One lease as dashboards see it; never its owner token."""

    upload_id: str
    person: str
    window: int
    fence: int
    held_seconds: float
    expires_in_seconds: float
    connected: bool
    node: str = ""  # whose memory it uses, where there are several


@dataclass(frozen=True)
class TicketView:
    """One place in the line as dashboards see it."""

    upload_id: str
    person: str
    position: int
    waiting_for: WaitingFor
    waited_seconds: float
    eta_seconds: int | None
    connected: bool


@dataclass(frozen=True)
class SlotSnapshot:
    """The whole state at one moment. `backend` names it; `leases` and `tickets` are in order."""

    backend: str
    healthy: bool
    total: int
    per_person: int
    leases: tuple[LeaseView, ...]
    tickets: tuple[TicketView, ...]
    recovery_seconds: float = 0.0  # nothing is granted for so long after the store has restarted (slots.md 9)

    @property
    def available(self) -> int:
        return max(0, self.total - len(self.leases))


class SlotManager(ABC):
    """Every verb is one atomic step, and raises `SlotsUnavailableError` where the store cannot be reached."""

    @abstractmethod
    async def acquire(self, claim: Claim) -> Granted | Waiting:
        """Take a slot, or a place in the line; or take over what the same upload has under an older owner token.

        A take-over keeps the slot or the place as it is and makes the older token worthless. Asking again with the
        same token changes nothing. Raises `QueueFullError` when there is neither.
        """

    @abstractmethod
    async def standing(self, upload_id: str, owner: str) -> Standing:
        """Where the upload stands now. This claims a grant that was made to a waiter."""

    @abstractmethod
    async def standings(self, holders: Sequence[tuple[str, str]]) -> list[Standing]:
        """`standing` of each of these (upload id, owner), in their order, by one call for all."""

    @abstractmethod
    async def changed(self, upload_id: str, owner: str, timeout: float) -> bool:
        """True as soon as the standing may have changed, False after `timeout` seconds. A hint: ask `standing` then.

        A change of nothing but the position or the estimate wakes nobody, or each release would wake the whole line.
        """

    @abstractmethod
    async def renew(self, holders: Iterable[tuple[str, str]]) -> set[str]:
        """Renew the leases and places of all these (upload id, owner) at once; returns the ids that have lapsed."""

    @abstractmethod
    async def release(self, upload_id: str, owner: str) -> bool:
        """Give back the slot or the place at once; False, and no change, where this owner has none."""

    @abstractmethod
    async def detach(self, upload_id: str, owner: str, seconds: float) -> None:
        """The connection was lost: keep its slot or place for `seconds`, for its own return by `acquire`."""

    @abstractmethod
    async def postpone(self, upload_id: str, owner: str, seconds: float) -> bool:
        """The storage takes this upload not before `seconds`: its slot goes back, and it waits with its ticket.

        It is passed over, and told the time (`storage`), until its owner postpones it by 0 or a new one takes it over.
        False, and no change, where this owner has none.
        """

    @abstractmethod
    async def take_away(self, upload_id: str) -> bool:
        """An admin releases a slot or place, whoever owns it; its owner finds itself `Absent`."""

    @abstractmethod
    async def pause(self, upload_id: str) -> bool:
        """An admin stops an upload: its slot goes back, and it waits (`paused`) until `unpause`. False if absent."""

    @abstractmethod
    async def unpause(self, upload_id: str) -> bool:
        """A paused upload waits for a slot again, with the ticket it had."""

    @abstractmethod
    async def to_front(self, upload_id: str) -> bool:
        """An admin puts a waiting upload before all others."""

    @abstractmethod
    async def tick(self) -> None:
        """One slow poll: drop what has lapsed, apply limits and memory as they are now, grant what can run."""

    @abstractmethod
    async def find_all(self, upload_ids: Sequence[str]) -> dict[str, LeaseView | TicketView]:
        """What those of these uploads have that have anything, by their ids; for those who only look."""

    async def find(self, upload_id: str) -> LeaseView | TicketView | None:
        """What this upload has, if anything, for those who only look."""
        return (await self.find_all([upload_id])).get(upload_id)

    @abstractmethod
    async def snapshot(self) -> SlotSnapshot:
        """The whole state, frozen."""

    @abstractmethod
    async def check(self) -> list[str]:
        """The violations of invariants 1 to 4 of slots.md, in words; empty when all holds."""

    @abstractmethod
    async def repair(self) -> list[str]:
        """Mend what `check` finds, and say what was done."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the store; what is held there stays until it lapses."""
