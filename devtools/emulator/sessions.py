"""Upload sessions: what each has stored, who is writing into it, and when it ends. Each is kept in a file."""

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from devtools.emulator.blobs import Blob
from devtools.emulator.errors import DriveError

WEEK_SECONDS = 7 * 24 * 3600


@dataclass
class SessionFacts:
    """What outlives a restart. `done`: the finished file's id; `file_id`: whose content is replaced."""

    id: str
    email: str
    body: dict[str, Any]
    mime_type: str
    total: int | None
    fields: str | None
    blob: str
    file_id: str | None = None
    moves: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    done: str | None = None
    gone: bool = False


class Session:
    """One session. `turn()` is the right to write into it, which the newest request has."""

    def __init__(self, facts: SessionFacts, path: Path) -> None:
        self.facts = facts
        self._path = path
        self._blob: Blob | None = None
        self._holder: asyncio.Task[Any] | None = None
        self._lock = asyncio.Lock()

    @property
    def over(self) -> bool:
        return time.time() - self.facts.began > WEEK_SECONDS

    def save(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self.facts)))
        os.replace(new, self._path)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def blob(self, path: Path, digests: set[str]) -> Blob:
        """The bytes so far; `digests` are made on the way."""
        if self._blob is None:
            self._blob = Blob(path, digests)
            if self._blob.size != self.facts.total:
                self._blob.floor()  # a process that was killed may have left half a write
        return self._blob

    def close(self) -> None:
        if self._blob:
            self._blob.close()
            self._blob = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Ends an earlier request on this session: a client that asks again has given that one up.

        What the earlier one has read so far is stored before this one goes on.
        """
        before, self._holder = self._holder, asyncio.current_task()
        if before:
            before.cancel()
        try:
            async with self._lock:
                yield
        finally:
            if self._holder is asyncio.current_task():
                self._holder = None

    def expect(self, total: int | None) -> None:
        """Take the length that a request names. Raises `DriveError` (400) where another was said before."""
        if total is None:
            return
        if self.facts.total is None:
            self.facts.total = total
            self.save()
        elif total != self.facts.total:
            message = f"Invalid request. The session was started for {self.facts.total} bytes, not for {total}."
            raise DriveError(400, message=message)


class Sessions:
    """All sessions of the last week."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sessions"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sessions: dict[str, Session] = {}
        for path in self._folder.glob("*.json"):
            self._keep(SessionFacts(**json.loads(path.read_text())))

    def _keep(self, facts: SessionFacts) -> Session:
        session = Session(facts, self._folder / f"{facts.id}.json")
        self._sessions[facts.id] = session
        return session

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def open(self, **facts: Any) -> Session:
        id = secrets.token_urlsafe(32)
        session = self._keep(SessionFacts(id=id, blob=secrets.token_hex(16), **facts))
        session.save()
        return session

    def find(self, id: str) -> Session:
        """Raises `DriveError`: 404 for an unknown one, 410 for one that has gone."""
        session = self._sessions.get(id)
        if session is None or session.over:
            raise DriveError(404, "notFound", "Upload session not found.")
        if session.facts.gone:
            raise DriveError(410, "gone", "The upload session has gone.")
        return session

    def end(self, session: Session) -> None:
        """It answers 404 from now on."""
        session.close()
        session.forget()
        self._sessions.pop(session.facts.id, None)

    def blobs(self) -> set[str]:
        """The names of the bytes that live sessions stand on."""
        facts = [session.facts for session in self._sessions.values() if not session.over]
        return {fact.blob for fact in facts if not (fact.done or fact.gone)}
