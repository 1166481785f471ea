"""Uploads by the resumable protocol: what each request on a session does, and what faults make of it."""

import asyncio
import socket
import struct

from aiohttp import web

from devtools.emulator import bodies
from devtools.emulator.blobs import Blob
from devtools.emulator.bodies import ContentRange
from devtools.emulator.errors import DriveError, invalid
from devtools.emulator.sessions import Session
from devtools.emulator.simple_uploads import SimpleUploads
from devtools.emulator.world import MOVES, World, wanted_digests

CANCELLED = 499


def cut(request: web.Request, *, reset: bool) -> ConnectionResetError:
    """End the connection without an answer; `reset` by RST. What it returns is to be raised."""
    if transport := request.transport:
        connection = transport.get_extra_info("socket")
        if reset and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return ConnectionResetError("cut on request")


class Uploads:
    """The handlers of `/upload/drive/v3/files`; those of content that comes at once are in `simple`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.simple = SimpleUploads(world)

    def routes(self) -> list[web.RouteDef]:
        found = []
        for path in ("/upload/drive/v3/files", "/resumable/upload/drive/v3/files"):
            found += [web.post(path, self.post), web.put(path, self.chunk), web.delete(path, self.cancel)]
            one = path + "/{id}"
            found += [web.patch(one, self.post), web.put(one, self.chunk), web.post(one, self.chunk)]
            found += [web.delete(one, self.cancel)]
        return found

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A chunk where a session is named, else the start of an upload."""
        if "upload_id" in request.query:
            return await self.chunk(request)
        match request.query.get("uploadType"):
            case "resumable":
                return await self.start(request)
            case "media" | None:
                return await self.simple.media(request)
            case "multipart":
                return await self.simple.multipart(request)
        raise invalid("uploadType")

    async def start(self, request: web.Request) -> web.Response:
        world = self.world
        if fault := world.faults.refuse("start"):
            raise world.refused_by(fault)
        account = world.who(request)
        body = await bodies.json_of(request)
        wanted = request.query.get("fields")
        wanted_digests(wanted)
        length = request.headers.get("X-Upload-Content-Length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise invalid("X-Upload-Content-Length")
        total = None if length is None else int(length)
        mime_type = request.headers.get("X-Upload-Content-Type", "")
        id = request.match_info.get("id")
        item = world.find(account, id, request.query) if id else world.new_item(account, body, mime_type, request.query)
        world.accounts.may_store(account, total, item.drive)
        session = world.sessions.open(
            email=account.email,
            body=body,
            mime_type=mime_type,
            total=total,
            fields=wanted,
            file_id=id,
            moves={name: request.query[name] for name in MOVES if name in request.query},
        )
        url = request.url.update_query(upload_id=session.facts.id)
        headers = {"Location": str(url), "X-GUploader-UploadID": session.facts.id}
        return web.Response(headers=headers)

    def _session(self, request: web.Request) -> Session:
        """The session that a request names. A token is not needed, but a bad one is refused."""
        session = self.world.sessions.find(request.query.get("upload_id", ""))
        if "Authorization" in request.headers:
            self.world.who(request)
        return session

    async def cancel(self, request: web.Request) -> web.Response:
        session = self._session(request)
        async with session.turn():
            if not session.facts.done:
                (self.world.items.blobs / session.facts.blob).unlink(missing_ok=True)
            self.world.sessions.end(session)
        return web.Response(status=CANCELLED, reason="Client Closed Request")

    async def chunk(self, request: web.Request) -> web.StreamResponse:
        """A chunk, a whole body, or the question how much is stored."""
        session = self._session(request)
        asked = ContentRange.of(request)
        async with session.turn():
            if session.facts.gone:
                self.world.sessions.find(session.facts.id)
            if session.facts.done:
                await bodies.drain(request)
                return await self._done(session)
            blob = self._blob(session)
            if asked is None:
                return await self._whole(request, session, blob)
            if asked.first is None:
                session.expect(asked.total)
                if blob.size == asked.total:
                    return await self._finish(session, blob)
                return self._stored(blob)
            return await self._part(request, session, blob, asked)

    def _blob(self, session: Session) -> Blob:
        path = self.world.items.blobs / session.facts.blob
        return session.blob(path, wanted_digests(session.facts.fields))

    async def _whole(self, request: web.Request, session: Session, blob: Blob) -> web.Response:
        """A body without Content-Range is all of the file."""
        if request.content_length is not None and request.content_length < blob.size:
            raise DriveError(400, message=f"Invalid request. {blob.size} bytes were uploaded already.")
        session.expect(request.content_length)
        await blob.take(bodies.part(bodies.blocks_of(request), blob.size, None), final=True)
        session.expect(blob.size)
        return await self._finish(session, blob)

    async def _part(
        self, request: web.Request, session: Session, blob: Blob, asked: ContentRange
    ) -> web.StreamResponse:
        assert asked.first is not None
        assert asked.last is not None
        world = self.world
        session.expect(asked.total)
        if asked.first > blob.size:
            message = (
                f"Invalid request.  According to the Content-Range header, the upload offset is {asked.first} byte(s), "
                f"which exceeds already uploaded size of {blob.size} byte(s)."
            )
            raise DriveError(400, message=message)
        fault = world.faults.on_chunk(asked.last, final=asked.final)
        kind = fault.fault if fault else ""
        if fault and kind == "status":
            raise world.refused_by(fault)
        if fault and kind == "gone":
            session.facts.gone = True
            session.save()
            session.close()
            blob.path.unlink(missing_ok=True)
            raise DriveError(503, "backendError")
        if fault and kind == "stall":
            assert fault.seconds is not None
            await asyncio.sleep(fault.seconds)
        length = asked.length // 2 if kind in ("short", "reset") else asked.length
        blocks = bodies.part(bodies.blocks_of(request), blob.size - asked.first, length)
        before = blob.size
        for slow in (world.faults.slow_link(asked.last), fault if kind == "slow" else None):
            blocks = slow.slowed(blocks) if slow else blocks
        if kind == "flip":
            blocks = bodies.flipped(blocks)
        final = asked.final and kind not in ("short", "reset")
        try:
            await blob.take(blocks, final=final)
        finally:
            in_vain = blob.size == before if kind == "flip" else kind == "lost" and blob.size <= asked.last
            if fault and in_vain:
                fault.fired -= 1
        if kind == "reset":
            raise cut(request, reset=True)
        await bodies.drain(request)
        if not final:
            return self._stored(blob)
        answer = await self._finish(session, blob)
        if kind == "lost":
            raise cut(request, reset=False)
        return answer

    def _stored(self, blob: Blob) -> web.Response:
        """308; without `Range` where nothing is stored."""
        headers = {"Range": f"bytes=0-{blob.size - 1}"} if blob.size else {}
        return web.Response(status=308, reason="Resume Incomplete", headers=headers)

    async def _finish(self, session: Session, blob: Blob) -> web.Response:
        """All is there: the file is made."""
        world, facts = self.world, session.facts
        account = world.accounts.of_email(facts.email)
        query = {"supportsAllDrives": "true"}
        if facts.file_id:
            item = world.find(account, facts.file_id, query)
            world.change(account, item, facts.body, facts.moves)
        else:
            item = world.new_item(account, facts.body, facts.mime_type, query)
        await world.settle(item, facts.blob, blob, new=not facts.file_id)
        facts.done = item.id
        session.save()
        session.close()
        account.count(item.size)
        world.accounts.save()
        return await self._done(session)

    async def _done(self, session: Session) -> web.Response:
        assert session.facts.done
        item = self.world.items.get(session.facts.done)
        account = self.world.accounts.of_email(session.facts.email)
        return web.json_response(await self.world.shown(item, account, session.facts.fields))
