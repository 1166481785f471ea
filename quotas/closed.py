"""Who is kept out at one moment, as the database has it: blocked persons, or everybody during maintenance."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from quotas.models import BlockedPerson, Maintenance
from quotas.networks import ByPerson


@dataclass(frozen=True)
class Notice:
    """What people are told during maintenance: a message, or empty; and when it will be over, if that is known."""

    message: str = ""
    ends: datetime | None = None

    def seconds_left(self, now: datetime) -> int | None:
        """How long to wait, for somebody who asks now: at least a minute, since it may take longer than was thought."""
        return None if self.ends is None else max(60, int((self.ends - now).total_seconds()))


@dataclass(frozen=True)
class Closed:
    """A snapshot; the end of a block counts when it comes, however old the snapshot is."""

    blocked: ByPerson[bool]
    maintenance: Notice | None = None


def read() -> Closed:
    """As it stands now; two queries."""
    rows = BlockedPerson.objects.only("account_id", "network", "until").order_by()
    blocked = ByPerson((row.key, row.until, True) for row in rows if row.in_force(timezone.now()))
    switch = Maintenance.objects.filter(on=True).first()
    if switch is None:
        return Closed(blocked)
    ends = switch.switched_at + timedelta(minutes=switch.minutes) if switch.minutes and switch.switched_at else None
    return Closed(blocked, Notice(switch.message, ends))
