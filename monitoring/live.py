"""The live page's message: the whole program in one JSON object, with names and persons, so for staff alone.

Texts are in the language that is active when it is made.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import Error as DatabaseError
from django.utils.translation import gettext_lazy as _

from monitoring.beside import beside
from monitoring.state import AccountState, MemoryState, ProgramState
from uploads.drive_accounts import WORDS
from uploads.models import StoredFile
from uploads.shown import REASONS, percent
from uploads.slots.manager import LeaseView, TicketView
from uploads.states import Status
from uploads.steering import possible
from uploads.storage.breaker import State
from uploads.storage.gdrive.conditions import USABLE

# A person reads the head of the line; the rest is a number.
MOST_QUEUED = 100
DRIVE_WORDS = {
    State.OPEN: _("Drive as a whole fails and is left alone for a while"),
    State.HALF_OPEN: _("Drive as a whole is being tried again"),
}
MEMORY_STEP = 16 * 1024 * 1024

Facts = Mapping[str, Mapping[str, Any]]


class Names:
    """File names, sizes and senders by upload id; asked of the database once for each upload that is on the page."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    async def of(self, upload_ids: list[str]) -> Facts:
        """What is known of these uploads; everything else is forgotten."""
        missing = [upload_id for upload_id in upload_ids if upload_id not in self._known]
        found: dict[str, dict[str, Any]] = {}
        if missing:
            # Where it fails it is asked again the next time; the snapshot has its own word on the database.
            with suppress(DatabaseError):
                found = {key: {} for key in missing} | await _read_names_beside(missing)
        known = self._known | found
        self._known = {key: known[key] for key in upload_ids if key in known}
        return self._known


def read_names(upload_ids: list[str]) -> dict[str, dict[str, Any]]:
    rows = StoredFile.objects.filter(pk__in=[UUID(key) for key in upload_ids]).values_list(
        "pk", "filename", "size", "owner__username", "stored_bytes"
    )
    return {
        str(pk): {"name": name, "size": size, "account": account, "stored": stored}
        for pk, name, size, account, stored in rows
    }


_read_names_beside = beside(read_names)


def shown_uploads(state: ProgramState) -> list[str]:
    """The ids of the uploads that the page shows: every lease, the head of the line, and what is being verified."""
    if state.slots is None:
        return []
    leases = [lease.upload_id for lease in state.slots.leases]
    queued = [ticket.upload_id for ticket in state.slots.tickets[:MOST_QUEUED]]
    return leases + queued


def message(state: ProgramState, names: Facts) -> dict[str, Any]:
    """The message for one state. Sizes in bytes, times in seconds."""
    slots = state.slots
    return {
        "type": "snapshot",
        "environment": state.environment,
        "alerts": [{"code": alert.code, "sentence": alert.sentence} for alert in state.alerts],
        "violations": list(state.violations),
        "slots": {
            "known": slots is not None,
            "backend": slots.backend if slots else "",
            "total": slots.total if slots else 0,
            "used": len(slots.leases) if slots else 0,
            "per_person": slots.per_person if slots else 0,
        },
        "running": _running(state, names),
        "queued": [_queued(ticket, names) for ticket in (slots.tickets[:MOST_QUEUED] if slots else ())],
        "queued_in_all": len(slots.tickets) if slots else 0,
        "memory": _memory(state.memory),
        "buffers": asdict(state.buffers),
        "today": asdict(state.today) | {"failure_rate_percent": state.today.failure_rate_percent},
        "storage": {"name": state.storage.name, "ok": state.storage.ok, "detail": state.storage.detail},
        "accounts": [_account(account) for account in state.drive.accounts],
        "drive": _drive(state.drive.circuit),
        "workers": len(state.workers),
        "machines": len({worker.node for worker in state.workers}),
    }


def _drive(circuit: State | None) -> dict[str, str] | None:
    """How Drive as a whole stands; the page says it while it is not as it should be."""
    if circuit is None:
        return None
    return {"circuit": circuit.value, "words": "" if circuit is State.CLOSED else str(DRIVE_WORDS[circuit])}


def _account(account: AccountState) -> dict[str, Any]:
    return {
        "name": account.name,
        "works": account.condition in USABLE,
        "words": str(WORDS[account.condition]),
        "condition": account.condition.value,
        "circuit": account.circuit.value,
        "until": account.until.isoformat() if account.until else None,
    }


def _memory(memory: MemoryState) -> dict[str, Any]:
    reading = memory.reading
    return {
        "total": reading.total,
        # Coarse, since the last digits never rest: an idle program sends heartbeats only.
        "available": reading.available // MEMORY_STEP * MEMORY_STEP,
        "used": reading.used // MEMORY_STEP * MEMORY_STEP,
        "percent": round(reading.percent),
        "source": reading.source,
        "ceiling_percent": memory.ceiling_percent,
        "reserved_bytes": memory.reserved_bytes,
        "admitting": memory.admitting,
    }


def _who(upload_id: str, person: str, names: Facts) -> dict[str, Any]:
    facts = names.get(upload_id) or {}
    return {
        "id": upload_id,
        "name": facts.get("name") or upload_id,
        "size": facts.get("size"),
        "account": facts.get("account"),
        "person": person.removeprefix("address:"),
    }


def _running(state: ProgramState, names: Facts) -> list[dict[str, Any]]:
    if state.slots is None:
        return []
    transfers = {view.upload_id: view for view in state.transfers}
    return [_lease(lease, transfers.get(lease.upload_id), names) for lease in state.slots.leases]


def _lease(lease: LeaseView, transfer: Any, names: Facts) -> dict[str, Any]:
    row = _who(lease.upload_id, lease.person, names)
    if transfer is not None:
        stage, stored, size = transfer.stage, transfer.stored, transfer.size
    else:
        # A lease without a transfer: its connection was lost, or has only just come.
        stage = "starting" if lease.connected else "lost"
        stored, size = (names.get(lease.upload_id) or {}).get("stored") or 0, row["size"]
    status = Status.VERIFYING if stage == "verifying" else Status.PENDING
    return row | {
        "size": size,
        "stage": stage,
        "stored": stored,
        "received": transfer.received if transfer else stored,
        "buffered": transfer.buffered_bytes if transfer else 0,
        "rate": transfer.rate if transfer else 0,
        "percent": percent(stored, size) if size is not None else 0,
        "held_seconds": round(lease.held_seconds),
        "acts": [act.value for act in possible(status, lease)],
    }


def _queued(ticket: TicketView, names: Facts) -> dict[str, Any]:
    return _who(ticket.upload_id, ticket.person, names) | {
        "position": ticket.position,
        "reason": str(REASONS[ticket.waiting_for.value]),
        "waiting_for": ticket.waiting_for.value,
        "waited_seconds": round(ticket.waited_seconds),
        "eta_seconds": ticket.eta_seconds,
        "connected": ticket.connected,
        "acts": [act.value for act in possible(Status.PENDING, ticket)],
    }
