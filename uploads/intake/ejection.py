"""Ends running connections when a door closes: a person is blocked, or maintenance begins.

What was sent stays stored, and the files stay as they are; once the door is open again, uploads go on from there.
"""

import asyncio

import structlog
from django.db import DatabaseError, InterfaceError

from uploads import doors
from uploads.intake import registry

LOOK_SECONDS = 1.0

log = structlog.get_logger(__name__)
_watching: asyncio.Task[None] | None = None


def keep_watch() -> None:
    """Watch, for as long as there are connections."""
    global _watching
    if _watching is None or _watching.done() or _watching.get_loop() is not asyncio.get_running_loop():
        _watching = asyncio.create_task(_watch())


async def _watch() -> None:
    while registry.connections():
        await asyncio.sleep(LOOK_SECONDS)
        try:
            now_closed = await doors.known.get()
        except (DatabaseError, InterfaceError) as error:
            log.warning("doors_unreadable", cause=str(error))
            continue
        for session in registry.connections():
            refusal = doors.refusal(now_closed, session.persons)
            if refusal is not None and not session.deaf:
                session.deaf = True
                session.fault(refusal)
