"""Files and folders: files.get, list, create, update, copy, delete, generateIds, emptyTrash, and downloads."""

import asyncio
import copy
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from devtools.emulator import fields
from devtools.emulator.accounts import Account
from devtools.emulator.blobs import READ, workers
from devtools.emulator.bodies import json_of
from devtools.emulator.errors import DriveError, invalid
from devtools.emulator.faults import Fault
from devtools.emulator.items import GOOGLES, Item, new_id, now
from devtools.emulator.listing import Listing
from devtools.emulator.world import World

MOST_IDS = 1000


def yes(request: web.Request, name: str) -> bool:
    return request.query.get(name) == "true"


class Files:
    """The handlers of `/drive/v3/files`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.listing = Listing(world)

    def routes(self) -> list[web.RouteDef]:
        root, one = "/drive/v3/files", "/drive/v3/files/{id}"
        return [
            web.get(f"{root}/generateIds", self.generate_ids),
            web.delete(f"{root}/trash", self.empty_trash),
            web.get(root, self.listing.page, allow_head=False),
            web.post(root, self.create),
            web.get(one, self.get, allow_head=False),
            web.patch(one, self.update),
            web.delete(one, self.delete),
            web.post(f"{one}/copy", self.copy),
        ]

    def _asked(self, request: web.Request) -> tuple[Account, Item]:
        account = self.world.who(request)
        return account, self.world.find(account, request.match_info["id"], request.query)

    async def _shown(self, request: web.Request, item: Item, account: Account) -> web.Response:
        return web.json_response(await self.world.shown(item, account, request.query.get("fields")))

    async def generate_ids(self, request: web.Request) -> web.Response:
        self.world.who(request)
        count = request.query.get("count", "10")
        if not count.isdigit() or not 1 <= int(count) <= MOST_IDS:
            raise invalid("count", f"Invalid value '{count}'. Values must be within the range: [1, {MOST_IDS}]")
        ids = [new_id() for _ in range(int(count))]
        answer = {"kind": "drive#generatedIds", "space": request.query.get("space", "drive"), "ids": ids}
        return web.json_response(fields.project(answer, fields.parse(request.query.get("fields", "*"))))

    async def create(self, request: web.Request) -> web.Response:
        """Metadata only: a folder, or a file without a byte."""
        account, body = self.world.who(request), await json_of(request)
        item = self.world.new_item(account, body, "", request.query)
        item.id = item.id or new_id()
        if not item.mime_type.startswith(GOOGLES):
            item.blob = secrets.token_hex(16)
            self.world.items.blob_path(item).touch()
        self.world.items.save(item)
        return await self._shown(request, item, account)

    async def get(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("alt") == "media":
            return await self.download(request)
        account, item = self._asked(request)
        return await self._shown(request, item, account)

    async def update(self, request: web.Request) -> web.Response:
        account, item = self._asked(request)
        self.world.change(account, item, await json_of(request), request.query)
        self.world.items.save(item)
        return await self._shown(request, item, account)

    async def delete(self, request: web.Request) -> web.Response:
        account, item = self._asked(request)
        if not item.parents:
            raise DriveError(403, "insufficientFilePermissions", "The root of a drive cannot be deleted.")
        if not self.world.accounts.may_remove(account, item):
            message = "The user does not have sufficient permissions for this file."
            raise DriveError(403, "insufficientFilePermissions", message)
        self.world.items.remove(item)
        return web.Response(status=204)

    async def empty_trash(self, request: web.Request) -> web.Response:
        account = self.world.who(request)
        drive, accounts = request.query.get("driveId"), self.world.accounts
        for item in self.world.items:
            may = accounts.sees(account, item) and accounts.may_remove(account, item)
            if may and item.trashed and item.drive == drive:
                self.world.items.remove(item)
        return web.Response(status=204)

    async def copy(self, request: web.Request) -> web.Response:
        account, source = self._asked(request)
        body = await json_of(request)
        if source.folder:
            raise DriveError(403, "cannotCopyFile", "This file cannot be copied by the user.")
        inherited = {"name": f"Copy of {source.name}", "mimeType": source.mime_type, "parents": source.parents}
        item = self.world.new_item(account, inherited | body, "", request.query)
        self.world.accounts.may_store(account, source.size, item.drive)
        item.id = item.id or new_id()
        item.properties = source.properties | item.properties
        item.app_properties = source.app_properties | item.app_properties
        item.digests, item.size = copy.copy(source.digests), source.size
        if source.blob:
            item.blob = secrets.token_hex(16)
            paths = self.world.items.blob_path(source), self.world.items.blob_path(item)
            await asyncio.get_running_loop().run_in_executor(workers, _copy, *paths)
        item.created = now()
        self.world.items.save(item)
        return await self._shown(request, item, account)

    # --- downloads ---

    async def download(self, request: web.Request) -> web.StreamResponse:
        """The bytes, or a range of them. Raises `DriveError`: 403 without bytes or for an abusive file, 416."""
        if fault := self.world.faults.refuse("download"):
            raise self.world.refused_by(fault)
        _, item = self._asked(request)
        if item.blob is None:
            raise DriveError(403, "fileNotDownloadable")
        if item.abusive and not yes(request, "acknowledgeAbuse"):
            raise DriveError(403, "cannotDownloadAbusiveFile")
        begin, end = _asked_range(request, item.size)
        headers = {"Content-Type": item.mime_type, "Cache-Control": "private, max-age=0, must-revalidate"}
        path = self.world.items.blob_path(item)
        fault = self.world.faults.on_download(begin, end)
        if not request.secure and fault is None:
            return web.FileResponse(path, headers=headers)  # the system sends it, without a copy
        size = item.size
        if fault is not None and fault.fault == "short":
            size, end = fault.at, min(end, fault.at)
        answer = web.StreamResponse(headers=headers | {"Accept-Ranges": "bytes"})
        answer.content_length = end - begin
        if "Range" in request.headers:
            answer.set_status(206)
            answer.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        await answer.prepare(request)
        blocks = _read(path, begin, end)
        async for block in _broken(fault, request, begin, blocks) if fault is not None else blocks:
            await answer.write(block)
        return answer


async def _read(path: Path, begin: int, end: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        for at in range(begin, end, READ):
            count = min(READ, end - at)
            yield await asyncio.get_running_loop().run_in_executor(workers, os.pread, file.fileno(), count, at)


async def _broken(
    fault: Fault, request: web.Request, position: int, blocks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The blocks from `position` on, as far as the fault lets them go."""
    if fault.fault == "slow":
        blocks = fault.slowed(blocks)
    async for block in blocks:
        before = max(0, fault.at - position)
        position += len(block)
        if before >= len(block) or fault.fault not in ("reset", "stall"):
            yield block
            continue
        yield block[:before]
        if fault.fault == "reset":
            assert request.transport
            request.transport.abort()
            return
        await asyncio.sleep(fault.seconds or 0)
        yield block[before:]
        fault = replace(fault, at=sys.maxsize)


def _asked_range(request: web.Request, size: int) -> tuple[int, int]:
    """The first byte wanted, and the one after the last. Raises `DriveError` (416) where there are none."""
    try:
        begin, end, _ = request.http_range.indices(size)
        possible = begin < size or "Range" not in request.headers
    except ValueError:
        possible = False
    if not possible:
        error = DriveError(416, "requestedRangeNotSatisfiable", "Request range not satisfiable", location="Range")
        error.headers["Content-Range"] = f"bytes */{size}"
        raise error
    return begin, end


def _copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # content is never changed in place
    except OSError:
        shutil.copyfile(source, target)
