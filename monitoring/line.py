"""The slots and the line, read once for all who look on; strangers may be among them.

Where the line is long, looking at all of it takes long, of Redis too, which serves all workers: a tenth of the time
goes to it, or little more.
"""

from monitoring.once import Shared
from uploads.slots.keeper import get_keeper
from uploads.slots.manager import SlotSnapshot

RESTS = 9.0


async def _check() -> tuple[str, ...]:
    return tuple(await get_keeper().check())


async def _look() -> SlotSnapshot:
    return await get_keeper().snapshot()


# Both raise `SlotsUnavailableError`.
violations = Shared(_check, 0.0, rests=RESTS)
snapshot = Shared(_look, 0.0, rests=RESTS)
