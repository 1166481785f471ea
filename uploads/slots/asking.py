"""How commands in other processes ask about the slots: the server whose memory has them, or Redis."""

import dataclasses
from typing import Any

from django.conf import settings

from quotas import rules
from quotas.seeds import SEEDS
from uploads.slots import control
from uploads.slots.backing import redis_host
from uploads.slots.control import NoAnswerError, NoServerError
from uploads.slots.keeper import SlotKeeper
from uploads.slots.manager import SlotsUnavailableError


async def ask(verb: str, **arguments: str) -> Any:
    """The answer to a verb of `control.py`, whoever gives it.

    Raises `NoServerError` where no server has anything in its slots, `NoAnswerError` where nobody tells.
    """
    if redis_host() is None:
        return await control.ask(settings.DATA_DIR, verb, **arguments)
    seeded = rules.slot_limits(SEEDS[settings.ENVIRONMENT], settings.LIMIT_OVERRIDES)
    keeper = SlotKeeper(seeded, looks_on=True)
    try:
        await keeper.limits_changed()
        match verb:
            case "snapshot":
                return dataclasses.asdict(await keeper.snapshot())
            case "check":
                return await keeper.check()
            case "repair":
                return await keeper.repair()
            case "release":
                return await keeper.take_away(arguments["upload_id"])
    except SlotsUnavailableError as error:
        raise NoAnswerError(f"The slots in Redis cannot be asked: {error}.") from error
    finally:
        await keeper.stop()
    raise NoAnswerError(f"There is no verb {verb}.")


async def alive_uploads() -> frozenset[str]:
    """The uploads that hold a slot or a place now, wherever. Raises `NoAnswerError`."""
    try:
        state = await ask("snapshot")
    except NoServerError:
        return frozenset()
    if state["recovery_seconds"] > 0:
        raise NoAnswerError(
            f"Redis was restarted, and uploads may run that it does not know yet; "
            f"it will know them all in {state['recovery_seconds']:.0f} s."
        )
    return frozenset(entry["upload_id"] for entry in (*state["leases"], *state["tickets"]))
