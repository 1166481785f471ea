"""How a file looks right now: its row, with what its slot lease and its connection say. For people who look on."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from uploads.errors import every_error
from uploads.fleet.fleet import get_fleet
from uploads.intake import registry
from uploads.intake.registry import TransferView
from uploads.models import STATUS_CHOICES, StoredFile
from uploads.slots.keeper import get_keeper
from uploads.slots.manager import LeaseView, SlotsUnavailableError, TicketView, WaitingFor
from uploads.states import ACTIVE, TERMINAL, BatchStatus, Shown, Status
from uploads.storage import for_each, store_of

STATE_WORDS: dict[str, Any] = {str(value): word for value, word in STATUS_CHOICES} | {
    Shown.QUEUED.value: _("in the line"),
    Shown.UPLOADING.value: _("uploading"),
}

BATCH_WORDS: dict[str, Any] = {
    BatchStatus.UPLOADING.value: _("still coming"),
    BatchStatus.COMPLETED.value: _("completed"),
    BatchStatus.PARTIAL.value: _("only some files"),
    BatchStatus.FAILED.value: _("failed"),
    BatchStatus.CANCELLED.value: _("cancelled"),
    BatchStatus.EXPIRED.value: _("expired"),
}

REASONS: dict[str, Any] = {
    WaitingFor.USER_SLOTS.value: _("for one of this person's other uploads to end"),
    WaitingFor.GLOBAL_SLOTS.value: _("for a free slot"),
    WaitingFor.MEMORY.value: _("for free memory"),
    WaitingFor.STORAGE.value: _("for the storage"),
    WaitingFor.PAUSED.value: _("paused by an admin"),
    WaitingFor.RECOVERY.value: _("for the slots to recover"),
}


# What an admin or the sender did, as the history names it.
ACT_WORDS: dict[str, Any] = {
    "slot_released": _("An admin released its slot or place in the line."),
    "paused": _("An admin paused the upload."),
    "unpaused": _("An admin let the upload go on."),
    "moved_to_front": _("An admin moved the upload to the front of the line."),
    "revoked": _("The link was withdrawn."),
    "restored": _("The link was given back."),
    "controls_changed": _("Password, limit of downloads or expiry were changed."),
}


def code_words(code: str) -> str:
    """The sentence for the code of an event or of a file's last error; the code itself where it is not known."""
    if code in ACT_WORDS:
        return str(ACT_WORDS[code])
    error = every_error().get(code)
    return str(error.sentence) if error else code


@dataclass(frozen=True)
class Look:
    """One moment: leases, tickets and running transfers, by upload id. `slots_known` is False where they are not.

    Of those `transfers` that are `elsewhere`, on other workers, this one was told up to a second ago.
    """

    leases: Mapping[str, LeaseView]
    tickets: Mapping[str, TicketView]
    transfers: Mapping[str, TransferView]
    elsewhere: Collection[str] = ()
    slots_known: bool = True
    at: datetime = field(default_factory=timezone.now)

    def state(self, file: StoredFile) -> str:
        """What the file counts as: `row_state`, or `expired` where its time is over and the cleanup has not come."""
        state = self.row_state(file)
        return file.status_at(self.at).value if state == file.status else state

    def row_state(self, file: StoredFile) -> str:
        """The stored state, or for a pending file `queued` or `uploading`, as its lease says."""
        key = str(file.pk)
        if file.status == Status.PENDING and key in self.leases:
            return Shown.UPLOADING.value
        if file.status == Status.PENDING and key in self.tickets:
            return Shown.QUEUED.value
        return file.status

    def place(self, file: StoredFile) -> LeaseView | TicketView | None:
        key = str(file.pk)
        return self.leases.get(key) or self.tickets.get(key)

    def stored(self, file: StoredFile) -> int:
        """The bytes stored: the connection's own count where there is one, else the row's last checkpoint.

        Of what failed, was cancelled or deleted, or expired, nothing is stored any more.
        """
        if file.status in TERMINAL:
            return 0
        transfer = self.transfers.get(str(file.pk)) if file.status in ACTIVE else None
        return transfer.stored if transfer else file.stored_bytes

    def facts(self, file: StoredFile) -> "Facts":
        state = self.state(file)
        return Facts(file, state, 0 if state in TERMINAL else self.stored(file))


@dataclass(frozen=True)
class Facts:
    """A file as anybody with its link may see it: its row, its state as shown, and the bytes stored.

    One that is locked has a row that tells nothing (`sharing/listing.py`).
    """

    file: StoredFile
    state: str
    offset: int
    is_locked: bool = False


async def true_facts(files: Sequence[StoredFile], now: Look) -> list[Facts]:
    """The facts of these files, in their order, with offsets that are true even after a kill.

    The storage is asked, but only about unfinished files that were seen before and have no connection here now. Raises
    `StorageError`.
    """
    facts = [now.facts(file) for file in files]
    unsure = [at for at, known in enumerate(facts) if _may_be_behind(known, now)]
    stored = await for_each((files[at] for at in unsure), lambda file: store_of(file).stored_bytes(str(file.pk)))
    for at, offset in zip(unsure, stored, strict=True):
        facts[at] = replace(facts[at], offset=offset)
    return facts


def _may_be_behind(known: Facts, now: Look) -> bool:
    key = str(known.file.pk)
    seen = known.file.last_seen_at is not None and (key not in now.transfers or key in now.elsewhere)
    return seen and known.file.status in ACTIVE and known.state not in TERMINAL


def percent(stored: int, size: int) -> int:
    """Whole percent, 100 only when all is stored; an empty file is whole from the start."""
    return 100 * stored // size if size else 100


async def look(files: Iterable[StoredFile]) -> Look:
    """Look at the slots and transfers of these files; a slot store that cannot be reached shows none.

    Only an unfinished file is looked for. However long the line is, the others in it cost nothing.
    """
    transfers, elsewhere = await _transfers()
    keys = [str(file.pk) for file in files if file.status in ACTIVE]
    try:
        found = await get_keeper().find_all(keys) if keys else {}
    except SlotsUnavailableError:
        return Look({}, {}, transfers, elsewhere, slots_known=False)
    return Look(
        {key: view for key, view in found.items() if isinstance(view, LeaseView)},
        {key: view for key, view in found.items() if isinstance(view, TicketView)},
        transfers,
        elsewhere,
    )


async def look_at_all() -> Look:
    """Look at all slots, the whole line and the transfers of all workers, as `look` does."""
    transfers, elsewhere = await _transfers()
    try:
        slots = await get_keeper().snapshot()
    except SlotsUnavailableError:
        return Look({}, {}, transfers, elsewhere, slots_known=False)
    return Look(
        {lease.upload_id: lease for lease in slots.leases},
        {ticket.upload_id: ticket for ticket in slots.tickets},
        transfers,
        elsewhere,
    )


async def _transfers() -> tuple[Mapping[str, TransferView], Collection[str]]:
    """Those of all workers, and which of them are not here."""
    transfers = await get_fleet().transfers()
    return transfers, transfers.keys() - {view.upload_id for view in registry.views()}
