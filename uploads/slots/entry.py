"""What one upload has in the memory of one process: a place in the line, or a lease."""

from dataclasses import dataclass


@dataclass(eq=False)
class Place:
    """One upload's place. `front` is 0, or negative once an admin sent it to the front: the latest goes first."""

    upload_id: str
    person: str
    ticket: int
    front: int = 0
    paused: bool = False
    # A grant went unclaimed: the place stays, and is passed over until its owner is heard of.
    absent: bool = False
    # The storage takes it not before this moment; it is passed over until its owner comes again.
    stored_from: float = 0.0

    @property
    def key(self) -> tuple[bool, int, int]:
        """The order of the line; paused uploads stand behind it, since nobody waits for them."""
        return (self.paused, self.front, self.ticket)

    @property
    def can_run(self) -> bool:
        return not (self.paused or self.absent or self.stored_from)


@dataclass(eq=False)
class Entry(Place):
    """What one upload has: a lease once `fence` is above 0, a place in the line otherwise. Moments are of the clock."""

    owner: str = ""
    window: int = 0
    since: float = 0.0  # when the place was taken, or the lease granted
    expires_at: float = 0.0
    connected: bool = True
    fence: int = 0
    claim_by: float | None = None  # set from a grant until its owner is heard of
    node: str = ""  # whose memory it uses, where there are several

    @property
    def holds(self) -> bool:
        return self.fence > 0

    def deadline(self) -> float:
        return self.expires_at if self.claim_by is None else min(self.expires_at, self.claim_by)
