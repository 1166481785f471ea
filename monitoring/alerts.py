"""When the staff should look: rules over what is known, each with a code and a sentence. They read no store.

The limits are those of product.md, point 7.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from uploads.slots.manager import SlotSnapshot, WaitingFor
from uploads.storage.gdrive.conditions import Condition

MEMORY_PERCENT = 80
MEMORY_AVAILABLE_BYTES = 500 * 1024 * 1024
FAILURE_PERCENT = 20
# Below this many ended uploads a single bad file would ring the bell.
FAILURE_LEAST_ENDED = 10
# The line is polled every second or so; whoever can run runs within two polls.
STUCK_SECONDS = 5.0


@dataclass(frozen=True)
class Alert:
    """`code` is for programs, `sentence` for a person, in the language active when it is read."""

    code: str
    text: Any
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def sentence(self) -> str:
        return str(self.text % self.values)


def memory_alerts(percent: float, available: int, machine: str = "") -> list[Alert]:
    """`percent` of the memory in use, and `available` bytes of it; of `machine`, where there are several."""
    alerts = []
    if percent > MEMORY_PERCENT:
        text = _("%(percent)d %% of the memory is in use.")
        if machine:
            text = _("%(percent)d %% of the memory of %(machine)s is in use.")
        alerts.append(Alert("memory_high", text, {"percent": round(percent), "machine": machine}))
    if available < MEMORY_AVAILABLE_BYTES:
        text = _("Only %(mib)d MiB of memory are available.")
        if machine:
            text = _("Only %(mib)d MiB of memory are available on %(machine)s.")
        alerts.append(Alert("memory_low", text, {"mib": available // 1024**2, "machine": machine}))
    return alerts


def failure_alerts(completed: int, failed: int) -> list[Alert]:
    """The uploads that ended within the last hour."""
    ended = completed + failed
    if ended < FAILURE_LEAST_ENDED or failed * 100 <= ended * FAILURE_PERCENT:
        return []
    text = _("%(failed)d of the %(ended)d uploads that ended within the last hour failed.")
    return [Alert("failure_rate", text, {"failed": failed, "ended": ended})]


def database_alerts(error: str) -> list[Alert]:
    """`error` says why it does not answer."""
    if not error:
        return []
    return [Alert("database_failing", _("The database is failing: %(error)s"), {"error": error})]


def storage_alerts(ok: bool, detail: str) -> list[Alert]:
    if ok:
        return []
    return [Alert("storage_failing", _("The storage is failing: %(detail)s"), {"detail": detail})]


ACCOUNT_ALERTS: dict[Condition, tuple[str, Any]] = {
    Condition.FAILING: (
        "drive_account_failing",
        ngettext_lazy("A Drive account fails: %(list)s", "%(count)d Drive accounts fail: %(list)s", "count"),
    ),
    Condition.FULL: (
        "drive_account_full",
        ngettext_lazy("A Drive account is full: %(list)s", "%(count)d Drive accounts are full: %(list)s", "count"),
    ),
    Condition.SPENT: (
        "drive_account_spent",
        ngettext_lazy(
            "A Drive account has spent its day: %(list)s",
            "%(count)d Drive accounts have spent their day: %(list)s",
            "count",
        ),
    ),
}


def account_alerts(conditions: Mapping[str, Condition]) -> list[Alert]:
    """`conditions`: of each account that is switched on, by its name. One that is being tried again still fails."""
    seen = {
        name: Condition.FAILING if condition is Condition.TRYING else condition
        for name, condition in conditions.items()
    }
    found = []
    for condition, (code, text) in ACCOUNT_ALERTS.items():
        if names := [name for name, its in seen.items() if its is condition]:
            found.append(Alert(code, text, {"count": len(names), "list": ", ".join(names)}))
    return found


def slot_alerts(error: str, violations: Iterable[str]) -> list[Alert]:
    """`error` says why the slot store cannot be reached; `violations` are those of slots.md's invariants."""
    alerts = []
    if error:
        alerts.append(Alert("slots_unavailable", _("The slot store cannot be reached: %(error)s"), {"error": error}))
    if found := list(violations):
        text = ngettext_lazy("The slots break a rule: %(list)s", "The slots break %(count)d rules: %(list)s", "count")
        alerts.append(Alert("slot_violations", text, {"count": len(found), "list": "; ".join(found)}))
    return alerts


def stuck_alerts(seconds: float, waiting: int) -> list[Alert]:
    """`waiting` uploads could have run for `seconds` and did not."""
    if not waiting or seconds < STUCK_SECONDS:
        return []
    text = _("Uploads have waited for %(seconds)d s although slots are free: %(waiting)d in all.")
    return [Alert("queue_stuck", text, {"seconds": int(seconds), "waiting": waiting})]


def idle_while_waiting(slots: SlotSnapshot) -> frozenset[str]:
    """The uploads that wait for a slot although one is free for them now.

    Whoever waits for memory, for the storage, or because an admin paused it, waits for a reason.
    """
    if slots.available == 0:
        return frozenset()
    held: dict[str, int] = {}
    for lease in slots.leases:
        held[lease.person] = held.get(lease.person, 0) + 1
    return frozenset(
        ticket.upload_id
        for ticket in slots.tickets
        if ticket.connected
        and ticket.waiting_for in (WaitingFor.USER_SLOTS, WaitingFor.GLOBAL_SLOTS)
        and held.get(ticket.person, 0) < slots.per_person
    )


class StuckWatch:
    """Remembers since when uploads wait beside a free slot; one look alone cannot tell."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def look(self, slots: SlotSnapshot, now: float) -> tuple[float, int]:
        """How long the longest has waited beside a free slot, in seconds, and how many do; `now` is monotonic."""
        idle = idle_while_waiting(slots)
        self._since = {upload_id: self._since.get(upload_id, now) for upload_id in idle}
        return (now - min(self._since.values()), len(idle)) if idle else (0.0, 0)
