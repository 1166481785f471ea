"""The slot port on Redis: one state for all workers on all machines (slots.md).

Every verb is one Lua script (`lua/`), so that it is one atomic step. lua/shared/given.lua says what is kept and what
all scripts share, lua/shared/line.lua how the line is ordered; nothing costs more than O(log n) but looking at all.

- Time is that of the Redis machine. What has lapsed ends at the next call of anybody.
- Each call says what memory its caller's node has and which limits its caller knows; the scripts decide by these.
- Each answer names the uploads whose standing is another now, and their workers, who are told by `tell`. That is a hint
  which may be lost: the `tick` of each worker hears of every grant that nobody has claimed.
- What this process has is remembered here too, so that its renewals can restore what a restarted Redis has lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from quotas.rules import SlotLimits
from uploads.slots import redis_check
from uploads.slots.admission import NodeMemory
from uploads.slots.manager import (
    CLAIM_SECONDS,
    PLACES_PER_PERSON,
    Absent,
    Claim,
    Granted,
    LeaseView,
    QueueFullError,
    SlotError,
    SlotManager,
    SlotSnapshot,
    Standing,
    TicketView,
    Waiting,
    WaitingFor,
)
from uploads.slots.replies import Line, Reply, granted
from uploads.slots.store import Store

AT_ONCE = 500  # uploads in one call: a few milliseconds in which Redis does nothing else
UNKNOWN_RUN = "unknown"

T = TypeVar("T")
Tell = Callable[[Mapping[str, Sequence[str]]], None]


class Figures(Protocol):
    """What this process's node has of memory (`admission.Admission`)."""

    def figures(self) -> NodeMemory: ...


class Runs(Protocol):
    """Where the last run of Redis is kept, which outlives Redis (`runs.DatabaseRuns`)."""

    async def last(self) -> str | None:
        """The run kept last, "" where there never was one, None where that cannot be read now."""

    async def keep(self, run: str) -> bool:
        """Keep this one, within bounded time; False where that failed, and is to be tried again."""


@dataclass
class Mine:
    """What this process knows of an upload that it has: enough to restore it."""

    person: str
    window: int
    ticket: int = 0
    fence: int = 0
    turn: int = 0  # of the latest answer about it; one that was overtaken on its way says nothing any more
    standing: Standing = field(default_factory=Absent)
    heard_at: float = 0.0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    asking: asyncio.Future[Reply] | None = None  # the call by which it was asked for


@dataclass(frozen=True)
class Caller:
    """Who calls: `node` is the machine or container whose memory is used, `worker` the process that `tell` reaches.

    Both are empty for one that only looks on.
    """

    node: str = ""
    worker: str = ""


class RedisSlotManager(SlotManager):
    """Slots and line of all workers. `limits` gives those in force now as this process knows them."""

    def __init__(
        self,
        store: Store,
        limits: Callable[[], SlotLimits],
        admission: Figures,
        runs: Runs,
        *,
        caller: Caller,
        tell: Tell,
        lease_seconds: float = 30.0,
    ) -> None:
        self._store, self._limits, self._admission, self._runs = store, limits, admission, runs
        self._caller, self._tell, self._lease_seconds = caller, tell, lease_seconds
        self._run: str | None = None
        self._is_kept = True
        self._keeping: asyncio.Task[None] | None = None
        self._mine: defaultdict[str, dict[str, Mine]] = defaultdict(dict)  # upload -> owner -> what we have

    # --- the verbs of the port ---

    async def acquire(self, claim: Claim) -> Granted | Waiting:
        upload_id, owner = claim.upload_id, claim.owner
        mine = self._mine[upload_id].setdefault(owner, Mine(claim.person, claim.window))
        mine.asking = asyncio.ensure_future(
            self._call("acquire", upload_id, owner, claim.person, claim.window, about={upload_id: mine})
        )
        try:
            # Who is cancelled now releases, which must not overtake this on another connection.
            reply = await asyncio.shield(mine.asking)
            if isinstance(reply.answer, bytes):
                raise QueueFullError(reply.answer.decode())
        except SlotError:
            self._forget(upload_id, owner)
            raise
        standing = self._told(mine, reply, reply.answer)
        assert not isinstance(standing, Absent)
        return standing

    async def standing(self, upload_id: str, owner: str) -> Standing:
        (standing,) = await self.standings([(upload_id, owner)])
        return standing

    async def standings(self, holders: Sequence[tuple[str, str]]) -> list[Standing]:
        standings: list[Standing] = []
        for some in _in_parts(holders):
            known = [self._known(*holder) for holder in some]
            for mine in known:
                mine.news.clear()  # what is told from here on may be newer than the answer
            about = {upload_id: mine for (upload_id, _), mine in zip(some, known, strict=True)}
            reply = await self._call("standing", *_claimed(some, known), about=about)
            for (upload_id, owner), mine, answer in zip(some, known, reply.answer, strict=True):
                standings.append(self._told(mine, reply, answer))
                if not answer:
                    self._forget(upload_id, owner)
        return standings

    async def changed(self, upload_id: str, owner: str, timeout: float) -> bool:
        mine = self._mine.get(upload_id, {}).get(owner)
        if mine is None:
            await asyncio.sleep(0)  # a caller that asks again and again must not hold up the loop
            return True
        try:
            async with asyncio.timeout(timeout):
                return await mine.news.wait()
        except TimeoutError:
            return False

    async def renew(self, holders: Iterable[tuple[str, str]]) -> set[str]:
        gone: set[str] = set()
        now = asyncio.get_running_loop().time()
        for some in _in_parts(list(holders)):
            known = [self._known(*holder) for holder in some]
            reply = await self._call("renew", *_claimed(some, known))
            gone_here = {upload.decode() for upload in reply.answer}
            for (upload_id, owner), mine in zip(some, known, strict=True):
                mine.heard_at = now
                if upload_id in gone_here:
                    self._forget(upload_id, owner)
            gone |= gone_here
        self._forget_silent(now)
        return gone

    async def release(self, upload_id: str, owner: str) -> bool:
        mine = self._known(upload_id, owner)
        if mine.asking is not None:
            await asyncio.gather(mine.asking, return_exceptions=True)
        reply = await self._call("release", *_claimed([(upload_id, owner)], [mine]))
        self._forget(upload_id, owner)
        return bool(reply.answer)

    async def detach(self, upload_id: str, owner: str, seconds: float) -> None:
        mine = self._known(upload_id, owner)
        await self._call("detach", *_claimed([(upload_id, owner)], [mine]), round(1000 * seconds))
        self._forget(upload_id, owner)

    async def postpone(self, upload_id: str, owner: str, seconds: float) -> bool:
        claimed = _claimed([(upload_id, owner)], [self._known(upload_id, owner)])
        return bool((await self._call("postpone", *claimed, round(1000 * seconds))).answer)

    async def take_away(self, upload_id: str) -> bool:
        return bool((await self._call("take_away", upload_id)).answer)

    async def pause(self, upload_id: str) -> bool:
        return bool((await self._call("pause", upload_id)).answer)

    async def unpause(self, upload_id: str) -> bool:
        return bool((await self._call("unpause", upload_id)).answer)

    async def to_front(self, upload_id: str) -> bool:
        return bool((await self._call("front", upload_id)).answer)

    async def tick(self) -> None:
        reply = await self._call("tick")
        self.heard(upload.decode() for upload in reply.answer)
        if not self._is_kept and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._keep_run())  # a slow database must not hold up a poll

    async def find_all(self, upload_ids: Sequence[str]) -> dict[str, LeaseView | TicketView]:
        found: dict[str, LeaseView | TicketView] = {}
        for some in _in_parts(upload_ids):
            views = Line(await self._call("find", *some), self._limits()).found()
            found |= {view.upload_id: view for view in views}
        return found

    async def snapshot(self) -> SlotSnapshot:
        # A line of ten thousand takes a second to be read through: beside what the loop has to do.
        return await asyncio.to_thread(Line(await self._call("snapshot"), self._limits()).snapshot)

    async def check(self) -> list[str]:
        reply, limits = await self._call("books"), self._limits()
        return await asyncio.to_thread(lambda: list(redis_check.violations(reply, limits)))

    async def repair(self) -> list[str]:
        if not (found := await self.check()):
            return []
        reply = await self._call("repair")
        return [
            *(f"Found: {violation}" for violation in found),
            *redis_check.repaired(reply),
            *(f"Still so: {violation}" for violation in await self.check()),
        ]

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        await self._store.close()

    # --- for whoever hears the hints ---

    def heard(self, uploads: Iterable[str]) -> None:
        """Another worker says that the standing of these is another: whoever waits for that looks."""
        for upload_id in uploads:
            for mine in self._mine.get(upload_id, {}).values():
                mine.news.set()

    # --- the steps that they are made of ---

    async def _call(self, verb: str, *arguments: str | int, about: Mapping[str, Mine] | None = None) -> Reply:
        """The answer of a script; `about` are those whom it tells their own standing, so that no news of it is news."""
        if self._run is None:
            self._run = await self._runs.last()
        reply = Reply.read(await self._store.call(verb, [*self._given(), *arguments]))
        others = defaultdict(list)
        for worker, upload_id in reply.changes:
            if worker != self._caller.worker:
                others[worker].append(upload_id)
                continue
            for mine in self._mine.get(upload_id, {}).values():
                if about is None or about.get(upload_id) is not mine:
                    mine.news.set()
        if others:
            self._tell(others)
        if reply.run != self._run:
            self._run = reply.run
            await self._keep_run()  # before anybody relies on what this run has granted
        return reply

    async def _keep_run(self) -> None:
        assert self._run is not None
        self._is_kept = await self._runs.keep(self._run)

    def _given(self) -> list[str | int]:
        """What every script is given (shared/given.lua)."""
        limits, caller = self._limits(), self._caller
        memory = self._admission.figures() if caller.node else NodeMemory(0, 0, 0)
        return [
            caller.node,
            caller.worker,
            *(memory.free, memory.ceiling, memory.held),
            *(limits.all_uploads, limits.per_person, limits.queued),
            round(1000 * self._lease_seconds),
            UNKNOWN_RUN if self._run is None else self._run,
            round(1000 * CLAIM_SECONDS),
            PLACES_PER_PERSON,
        ]

    def _told(self, mine: Mine, reply: Reply, answer: Sequence[Any]) -> Standing:
        """What this answer says of an upload of ours, or what a later one has said."""
        if reply.turn < mine.turn:
            return mine.standing
        mine.turn, mine.heard_at = reply.turn, asyncio.get_running_loop().time()
        if not answer:
            mine.standing = Absent()
            return mine.standing
        mine.fence, mine.ticket = answer[0], answer[1]
        mine.standing = granted(answer, self._lease_seconds) or Line(reply, self._limits()).waiting(answer)
        return mine.standing

    def _known(self, upload_id: str, owner: str) -> Mine:
        return self._mine.get(upload_id, {}).get(owner) or Mine("", 0)

    def _forget(self, upload_id: str, owner: str) -> None:
        owners = self._mine.get(upload_id, {})
        if mine := owners.pop(owner, None):
            mine.news.set()
        if not owners:
            self._mine.pop(upload_id, None)

    def _forget_silent(self, now: float) -> None:
        """What nobody renews any longer was forgotten by its connection, and lapses."""
        silent = [
            (upload_id, owner)
            for upload_id, owners in self._mine.items()
            for owner, mine in owners.items()
            if now - mine.heard_at > 2 * self._lease_seconds
        ]
        for upload_id, owner in silent:
            self._forget(upload_id, owner)


def _in_parts(everything: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(everything), AT_ONCE):
        yield everything[first : first + AT_ONCE]


def _claimed(holders: Sequence[tuple[str, str]], known: Sequence[Mine]) -> Iterator[str | int]:
    """What the scripts are told of each holder (standing.lua)."""
    for (upload_id, owner), mine in zip(holders, known, strict=True):
        paused = isinstance(mine.standing, Waiting) and mine.standing.waiting_for is WaitingFor.PAUSED
        yield from (upload_id, owner, mine.person, mine.window, mine.ticket, mine.fence, int(paused))
