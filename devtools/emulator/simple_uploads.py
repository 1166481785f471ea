"""Content that comes with the request that makes or changes a file: `uploadType=media` and `multipart`."""

import secrets
from collections.abc import AsyncIterator
from email.message import EmailMessage
from email.policy import HTTP
from typing import Any

from aiohttp import web

from devtools.emulator import bodies
from devtools.emulator.blobs import Blob
from devtools.emulator.errors import DriveError
from devtools.emulator.multipart import Multipart
from devtools.emulator.world import World, wanted_digests


class SimpleUploads:
    def __init__(self, world: World) -> None:
        self.world = world

    async def media(self, request: web.Request) -> web.Response:
        return await self._at_once(request, {}, request.headers.get("Content-Type", ""), bodies.blocks_of(request))

    async def multipart(self, request: web.Request) -> web.Response:
        message = EmailMessage(policy=HTTP)
        message["Content-Type"] = request.headers.get("Content-Type", "")
        boundary = message.get_boundary()
        if not boundary:
            raise DriveError(400, message="Missing end boundary in multipart body.")
        parts = Multipart(bodies.blocks_of(request), boundary)
        body = await parts.metadata()
        return await self._at_once(request, body, parts.mime_type, parts.content())

    async def _at_once(
        self, request: web.Request, body: dict[str, Any], mime_type: str, blocks: AsyncIterator[bytes]
    ) -> web.Response:
        world = self.world
        account = world.who(request)
        wanted = request.query.get("fields")
        digests = wanted_digests(wanted)
        if id := request.match_info.get("id"):
            item = world.find(account, id, request.query)
        else:
            item = world.new_item(account, body, mime_type, request.query)
        world.accounts.may_store(account, request.content_length, item.drive)
        name = secrets.token_hex(16)
        blob = Blob(world.items.blobs / name, digests)
        try:
            await blob.take(blocks, final=True)
            if id:
                world.change(account, item, body, request.query)
            await world.settle(item, name, blob, new=not id)
        finally:
            blob.close()
            if item.blob != name:
                blob.path.unlink(missing_ok=True)
        account.count(item.size)
        world.accounts.save()
        return web.json_response(await world.shown(item, account, wanted))
