"""Faults on request: which of them fires on which request, and the interface by which they are put in and taken out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from devtools.emulator.errors import DriveError

KINDS = ("short", "gone", "lost", "reset", "stall", "flip", "slow", "status")
PLACES = ("chunk", "start", "download", "about", "any")
ON_DOWNLOADS = ("reset", "stall", "slow", "short", "status")
NEEDED = {"stall": "seconds", "slow": "rate", "status": "status"}
NUMBERS: dict[str, tuple[Any, float]] = {  # of which type, and at least how much
    "times": (int, -1),
    "at": (int, 0),
    "seconds": ((int, float), 0),
    "rate": ((int, float), 1),
    "status": (int, 400),
    "retry_after": ((int, float), 0),
}
SLICE_SECONDS = 0.05  # a slow link delivers in portions of this length


@dataclass
class Fault:
    """One fault as it was asked for; `fired` counts how often it happened."""

    id: int
    fault: str
    times: int = 1
    fired: int = 0
    at: int = 0
    on: str = "chunk"
    seconds: float | None = None
    rate: float | None = None
    status: int | None = None
    reason: str | None = None
    retry_after: float | None = None
    removed: bool = False

    @property
    def spent(self) -> bool:
        return self.removed or 0 <= self.times <= self.fired

    @property
    def condition(self) -> bool:
        """A slow link without an end: it lies under everything, and keeps no other fault from firing."""
        return self.fault == "slow" and self.times == -1

    def shown(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None and name != "removed"}

    def error(self) -> DriveError:
        assert self.status
        return DriveError(self.status, self.reason or "", retry_after=self.retry_after)

    async def slowed(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same bytes at `rate` bytes a second, until the fault is removed."""
        assert self.rate
        portion = max(1, int(self.rate * SLICE_SECONDS))
        async for block in blocks:
            begin = 0
            while begin < len(block) and not self.removed:
                part = block[begin : begin + portion]
                await asyncio.sleep(len(part) / self.rate)
                yield part
                begin += len(part)
            if begin < len(block):
                yield block[begin:]


def parsed(body: Any, number: int) -> Fault:
    """The fault that a request body asks for. Raises `DriveError` (400) for an unknown kind, field or value."""
    if not isinstance(body, dict):
        raise DriveError(400, message="A fault is a JSON object.")
    known = {"fault", "on", "reason", *NUMBERS}
    if unknown := set(body) - known:
        raise DriveError(400, message=f"Unknown field: {', '.join(sorted(unknown))}.")
    if body.get("fault") not in KINDS:
        raise DriveError(400, message=f"Unknown fault: {body.get('fault')!r}; there are {', '.join(KINDS)}.")
    if body.get("on", "chunk") not in PLACES:
        raise DriveError(400, message=f"Unknown place: {body['on']!r}; there are {', '.join(PLACES)}.")
    for name, (types, least) in NUMBERS.items():
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, types) or value < least):
            raise DriveError(400, message=f"{name} is {value!r}; it must be a number of at least {least}.")
    if body.get("times") == 0 or (body.get("status") is not None and body["status"] > 599):
        raise DriveError(400, message="times must be -1 or at least 1, and status from 400 to 599.")
    if not isinstance(body.get("reason", ""), str | None):
        raise DriveError(400, message="reason must be a text.")
    if body.get("on") == "download" and body["fault"] not in ON_DOWNLOADS:
        raise DriveError(400, message=f"No fault of a download: {body['fault']}; there are {', '.join(ON_DOWNLOADS)}.")
    needed = NEEDED.get(body["fault"])
    if needed and body.get(needed) is None:
        raise DriveError(400, message=f"The fault {body['fault']} needs {needed}.")
    return Fault(id=number, **{name: value for name, value in body.items() if value is not None})


class Faults:
    """All faults that were asked for since they were last cleared, the oldest first."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._last_id = 0

    def add(self, body: Any) -> int:
        fault = parsed(body, self._last_id + 1)
        self._last_id = fault.id
        self._faults.append(fault)
        return fault.id

    def clear(self) -> None:
        for fault in self._faults:
            fault.removed = True
        self._faults.clear()

    def shown(self) -> list[dict[str, Any]]:
        return [fault.shown() for fault in self._faults]

    def on_chunk(self, last: int, *, final: bool) -> Fault | None:
        """The fault that fires on a chunk whose last byte is `last`; it counts as fired."""
        for fault in self._faults:
            fits = last >= fault.at and not fault.spent and not fault.condition and fault.on != "download"
            if fault.fault == "status":
                fits = fits and fault.on in ("chunk", "any")
            elif fault.fault in ("short", "lost"):
                fits = fits and final == (fault.fault == "lost")
            if fits:
                fault.fired += 1
                return fault
        return None

    def slow_link(self, last: int) -> Fault | None:
        """The slowness that lies under this chunk, whatever else happens to it."""
        for fault in self._faults:
            if fault.condition and last >= fault.at and fault.on != "download":
                fault.fired += 1
                return fault
        return None

    def on_download(self, begin: int, end: int) -> Fault | None:
        """The fault, no `status`, of a download of the bytes `begin` to `end`, its `at` among them; it has fired."""
        for fault in self._faults:
            here = fault.on == "download" and fault.fault != "status" and not fault.spent
            if here and begin <= fault.at < end:
                fault.fired += 1
                return fault
        return None

    def refuse(self, place: str) -> Fault | None:
        """The `status` fault that answers this `start`, `download` or `about`; it counts as fired."""
        places = (place, "any") if place == "start" else (place,)
        for fault in self._faults:
            if fault.fault == "status" and fault.on in places and not fault.spent:
                fault.fired += 1
                return fault
        return None


def routes(faults: Faults) -> list[web.RouteDef]:
    """The interface, on the emulator's own port and without a token."""

    async def add(request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            raise DriveError(400, message="A fault is a JSON object.") from None
        return web.json_response({"id": faults.add(body)})

    async def show(request: web.Request) -> web.Response:
        return web.json_response({"faults": faults.shown()})

    async def clear(request: web.Request) -> web.Response:
        faults.clear()
        return web.Response(status=204)

    return [web.post("/_faults", add), web.get("/_faults", show), web.delete("/_faults", clear)]
