"""All that one emulator knows, and the rules that need more than one part of it."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from devtools.emulator import fields
from devtools.emulator.accounts import Account, Accounts
from devtools.emulator.blobs import DIGESTS, Blob, digests_of, workers
from devtools.emulator.errors import DriveError, not_found
from devtools.emulator.faults import Fault, Faults
from devtools.emulator.items import ID, Item, Items, mime_type_of, new_id
from devtools.emulator.sessions import Sessions
from devtools.emulator.tokens import Tokens
from devtools.emulator.views import FILE_FIELDS, USUAL_FILE_FIELDS, view

MOVES = ("addParents", "removeParents")


class World:
    """Everything in one folder. Access tokens and faults do not outlive the process, the rest does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items = Items(folder)
        self.accounts = Accounts(folder, self.items)
        self.sessions = Sessions(folder)
        self.tokens = Tokens(self.accounts)
        self.faults = Faults()
        made_of = {item.blob: item.id for item in self.items if item.blob}
        for session in self.sessions:
            if session.facts.blob in made_of:  # the process ended between making the file and saying so
                session.facts.done = made_of[session.facts.blob]
        kept = {item.blob for item in self.items} | self.sessions.blobs()
        for path in self.items.blobs.iterdir():
            if path.name not in kept:
                path.unlink()

    def who(self, request: web.Request) -> Account:
        """Raises `DriveError` (401) for a request without a good token."""
        account = self.tokens.account_of(request)
        self.items.add_root(account.root, "My Drive")
        return account

    def refused_by(self, fault: Fault) -> DriveError:
        """The answer of a `status` fault; 401 also voids the access tokens given so far."""
        if fault.status == 401:
            self.tokens.void()
        return fault.error()

    def find(self, account: Account, id: str, query: Any) -> Item:
        """An item that this account sees. Raises `DriveError` (404)."""
        item = self.items.get(account.root if id == "root" else id)
        all_drives = "true" in (query.get("supportsAllDrives"), query.get("supportsTeamDrives"))
        if not self.accounts.sees(account, item) or (item.drive and not all_drives):
            raise not_found(id)
        return item

    def new_item(self, account: Account, body: dict[str, Any], mime_type: str, query: Any) -> Item:
        """An item as a request describes it; not saved. Raises `DriveError`."""
        id = body.get("id") or ""
        if not isinstance(id, str) or (id and not ID.fullmatch(id)):
            raise DriveError(400, "invalid", "The provided file ID is not usable.", location="file.id")
        if id in self.items:
            raise DriveError(409, "fileIdInUse")
        wanted = body.get("parents") or []
        if not isinstance(wanted, list):
            raise DriveError(400, "invalid", location="parents")
        parents, drive = self.items.place(wanted, account.root)
        self.find(account, parents[0], query)
        item = Item(id, "Untitled", "application/octet-stream", account.email, parents, drive)
        self.items.change(item, body)
        item.version = 1
        if not body.get("mimeType"):
            item.mime_type = mime_type or mime_type_of(item.name)
        return item

    def change(self, account: Account, item: Item, body: dict[str, Any], query: Any) -> None:
        """Take over metadata, and move where `addParents` says so; does not save. Raises `DriveError`."""
        if added := query.get("addParents"):
            parents, drive = self.items.place(added.split(","), account.root)
            self.find(account, parents[0], {"supportsAllDrives": "true"})
            self.items.move(item, parents, drive)
        elif (removed := query.get("removeParents")) and set(item.parents) & set(removed.split(",")):
            self.items.move(item, [account.root], None)
        self.items.change(item, body)

    async def settle(self, item: Item, name: str, blob: Blob, *, new: bool) -> None:
        """The stored bytes become the item's content."""
        items = self.items
        digests = await asyncio.get_running_loop().run_in_executor(workers, blob.digests)
        if new:
            if item.id and item.id in items:
                raise DriveError(409, "fileIdInUse")
            item.id = item.id or new_id()
        before, item.blob, item.size, item.digests = item.blob, name, blob.size, digests
        items.save(item)
        if before:
            (items.blobs / before).unlink(missing_ok=True)

    async def shown(self, item: Item, account: Account, wanted: str | None) -> Any:
        """The item as JSON, projected; digests are made when somebody asks for them first."""
        selection = fields.parse(wanted or USUAL_FILE_FIELDS)
        fields.check(selection, FILE_FIELDS)
        await self.digest(item, [name for name in DIGESTS if fields.wants(selection, name)])
        return fields.project(view(self.items, item, account), selection)

    async def digest(self, item: Item, names: list[str]) -> None:
        missing = [name for name in names if name not in item.digests]
        if item.blob and missing:
            path = self.items.blob_path(item)
            loop = asyncio.get_running_loop()
            item.digests |= await loop.run_in_executor(workers, digests_of, path, missing)
            if item.id in self.items:
                self.items.save(item)


def wanted_digests(text: str | None) -> set[str]:
    """The digests that a `fields` parameter will ask of the finished file."""
    selection = fields.parse(text or USUAL_FILE_FIELDS)
    fields.check(selection, FILE_FIELDS)
    return {name for name in DIGESTS if fields.wants(selection, name)}
