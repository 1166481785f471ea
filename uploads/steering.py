"""What an admin does to a running upload or a stored file: one call, whichever page it comes from.

Each act that changes no state leaves an event beside the file; those that do leave the state's own.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from uuid import UUID

from channels.db import database_sync_to_async
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from uploads import batches, services
from uploads.errors import WrongState
from uploads.intake.faults import translate
from uploads.lifecycle import PAUSED, UNPAUSED, is_paused
from uploads.models import Batch, FileEvent, StoredFile
from uploads.slots.keeper import get_keeper
from uploads.slots.manager import LeaseView, SlotError, TicketView, WaitingFor
from uploads.states import ACTIVE, Status
from uploads.storage.base import StorageError


class Act(StrEnum):
    CANCEL = "cancel"
    DELETE = "delete"
    RELEASE = "release"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    TO_FRONT = "to_front"


# Acts that cannot be taken back: a page asks first.
FINAL = frozenset({Act.CANCEL, Act.DELETE})

LABELS = {
    Act.CANCEL: _("Cancel the upload"),
    Act.DELETE: _("Delete the file"),
    Act.RELEASE: _("Release its slot"),
    Act.PAUSE: _("Pause"),
    Act.UNPAUSE: _("Resume"),
    Act.TO_FRONT: _("Move to the front"),
}

DONE = {
    Act.CANCEL: _("The upload was cancelled."),
    Act.DELETE: _("The file was deleted."),
    Act.RELEASE: _("Its slot or place in the line was released."),
    Act.PAUSE: _("The upload is paused."),
    Act.UNPAUSE: _("The upload goes on as soon as a slot is free."),
    Act.TO_FRONT: _("The upload is now the first in the line."),
}

# Why a slot act can find nothing to do.
NOTHING_TO_DO = {
    Act.RELEASE: _("This upload holds neither a slot nor a place in the line."),
    Act.PAUSE: _("This upload holds neither a slot nor a place in the line, so that there is nothing to pause."),
    Act.UNPAUSE: _("This upload is not paused."),
    Act.TO_FRONT: _("This upload does not wait in the line."),
}

# How each slot act is named in the file's history.
EVENT_CODES = {
    Act.RELEASE: "slot_released",
    Act.PAUSE: PAUSED,
    Act.UNPAUSE: UNPAUSED,
    Act.TO_FRONT: "moved_to_front",
}


def possible(status: str, place: LeaseView | TicketView | None, *, paused: bool = False) -> list[Act]:
    """What can be done to a file in this stored state, with this slot or place in the line.

    `paused` is what the history says; it counts where the sender is away, and so has no place.
    """
    acts = []
    if isinstance(place, TicketView) and status in ACTIVE:
        paused = place.waiting_for == WaitingFor.PAUSED
        acts += [Act.UNPAUSE] if paused else [Act.TO_FRONT, Act.PAUSE]
    elif isinstance(place, LeaseView) and status == Status.PENDING:
        acts.append(Act.PAUSE)
    elif paused and status in ACTIVE:
        acts.append(Act.UNPAUSE)
    if place is not None:
        acts.append(Act.RELEASE)
    if status in ACTIVE:
        acts.append(Act.CANCEL)
    if status == Status.COMPLETED:
        acts.append(Act.DELETE)
    return acts


def _slot_acts() -> dict[Act, Callable[[str], Awaitable[bool]]]:
    keeper = get_keeper()
    return {
        Act.RELEASE: keeper.take_away,
        Act.PAUSE: keeper.pause,
        Act.UNPAUSE: keeper.unpause,
        Act.TO_FRONT: keeper.to_front,
    }


async def steer(act: Act, file_id: UUID, actor: str) -> None:
    """Do `act` to the file, in the name of `actor`. Raises `UploadError`s, whose sentence says why it was not done."""
    with _in_our_words():
        if act == Act.CANCEL:
            await services.cancel(file_id, actor)
        elif act == Act.DELETE:
            await services.delete(file_id, actor)
        else:
            await _steer_slot(act, file_id, actor)


async def cancel_batch(batch: Batch, actor: str) -> int:
    """Cancel what is unfinished of the batch; returns how many uploads ended. Raises as `steer` does."""
    with _in_our_words():
        return await batches.cancel(batch, actor)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except (StorageError, SlotError) as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


async def _steer_slot(act: Act, file_id: UUID, actor: str) -> None:
    file = await database_sync_to_async(services.find)(file_id)
    note = database_sync_to_async(_note)
    # A sender who is away has no place, but a pause that waits for them. It is lifted before the place is, or a
    # connection that begins in between would find it still in force.
    lifted = act == Act.UNPAUSE and file.status in ACTIVE and await database_sync_to_async(is_paused)(file.pk)
    if lifted:
        await note(file, EVENT_CODES[act], actor)
    if not await _slot_acts()[act](str(file_id)) and not lifted:
        raise WrongState(NOTHING_TO_DO[act])
    if not lifted:
        await note(file, EVENT_CODES[act], actor)


def _note(file: StoredFile, code: str, actor: str) -> None:
    FileEvent.objects.create(
        file=file, at=timezone.now(), old_status=file.status, new_status=file.status, code=code, actor=actor
    )
