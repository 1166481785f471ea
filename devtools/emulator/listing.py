"""files.list: what `q` finds, in order, page by page."""

import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aiohttp import web

from devtools.emulator import fields, query
from devtools.emulator.accounts import Account
from devtools.emulator.blobs import DIGESTS
from devtools.emulator.errors import invalid, not_found
from devtools.emulator.items import Item
from devtools.emulator.views import FILE_FIELDS, USUAL_FILE_FIELDS, view
from devtools.emulator.world import World

USUAL = f"kind,nextPageToken,incompleteSearch,files({USUAL_FILE_FIELDS})"
KNOWN = frozenset(("kind", "nextPageToken", "incompleteSearch", "files"))
USUAL_PAGE, LARGEST_PAGE = 100, 1000
KEPT_PAGES = 1000
PARAMETERS = ("q", "orderBy", "corpora", "driveId", "includeItemsFromAllDrives", "spaces")


def _natural(name: str) -> list[Any]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name.lower())]


ORDERS: dict[str, Callable[[Item], Any]] = {
    "createdTime": lambda item: item.created,
    "folder": lambda item: not item.folder,
    "modifiedByMeTime": lambda item: item.modified,
    "modifiedTime": lambda item: item.modified,
    "name": lambda item: item.name.lower(),
    "name_natural": lambda item: _natural(item.name),
    "quotaBytesUsed": lambda item: item.size,
    "recency": lambda item: item.modified,
    "sharedWithMeTime": lambda item: item.created,
    "starred": lambda item: not item.starred,
    "viewedByMeTime": lambda item: item.modified,
}


def ordered(found: list[Item], order: str) -> list[Item]:
    """In the order of `orderBy`, the newest first without. Raises `DriveError` (400) for an unknown key."""
    found.sort(key=lambda item: item.id)
    for part in reversed((order or "modifiedTime desc").split(",")):
        key, *direction = part.split()
        if key not in ORDERS or direction not in ([], ["desc"], ["asc"]):
            raise invalid("orderBy")
        found.sort(key=ORDERS[key], reverse=direction == ["desc"])
    return found


class Listing:
    """A page token stands for what was still to come when it was given, so that nothing is skipped or comes twice."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._pages: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()

    def found(self, account: Account, parameters: dict[str, str]) -> list[Item]:
        """Raises `DriveError`: 400 for what cannot be read, 404 for an unknown shared drive."""
        test = query.parse(parameters["q"])
        drive = parameters["driveId"]
        corpora = parameters["corpora"] or ("drive" if drive else "user")
        all_drives = parameters["includeItemsFromAllDrives"] == "true"
        if corpora not in ("user", "drive", "allDrives", "domain") or (corpora == "drive" and not drive):
            raise invalid("corpora")
        if corpora in ("drive", "allDrives") and not all_drives:
            raise invalid("includeItemsFromAllDrives", "It must be true for this corpus.")
        if drive and (drive not in self.world.items or self.world.items.get(drive).drive != drive):
            raise not_found(drive)
        if parameters["spaces"] not in ("", "drive"):
            return []
        found = []
        for item in self.world.items:
            if not item.parents or not self.world.accounts.sees(account, item):
                continue  # the top of a drive is in no list
            if (item.drive and not all_drives) or (corpora == "drive" and item.drive != drive):
                continue
            shown = view(self.world.items, item, account)
            if account.root in item.parents:
                shown["parents"] = [*item.parents, "root"]
            if test(shown):
                found.append(item)
        return ordered(found, parameters["orderBy"])

    async def page(self, request: web.Request) -> web.Response:
        world, account = self.world, self.world.who(request)
        selection = fields.parse(request.query.get("fields", USUAL))
        fields.check(selection, KNOWN)
        below = selection.get("files", selection.get("*")) or {"*": None}
        fields.check(below, FILE_FIELDS)
        size = request.query.get("pageSize", str(USUAL_PAGE))
        if not size.isdigit() or int(size) < 1:
            raise invalid("pageSize", f"Invalid value '{size}'. Values must be within the range: [1, 1000]")
        parameters = {name: request.query.get(name, "") for name in PARAMETERS}
        if request.query.get("includeTeamDriveItems") == "true":
            parameters["includeItemsFromAllDrives"] = "true"
        parameters["driveId"] = parameters["driveId"] or request.query.get("teamDriveId", "")
        if token := request.query.get("pageToken"):
            said, rest = self._pages.get(token, ("", []))
            if said != json.dumps([account.email, parameters]):
                raise invalid("pageToken")
            found = [world.items.get(id) for id in rest if id in world.items]
        else:
            found = self.found(account, parameters)
        page = found[: min(int(size), LARGEST_PAGE)]
        answer: dict[str, Any] = {"kind": "drive#fileList", "incompleteSearch": False, "files": []}
        if rest_of := found[len(page) :]:
            answer["nextPageToken"] = self._next(json.dumps([account.email, parameters]), rest_of)
        digests = [name for name in DIGESTS if fields.wants(below, name)]
        for item in page:
            await world.digest(item, digests)
            answer["files"].append(view(world.items, item, account))
        return web.json_response(fields.project(answer, selection))

    def _next(self, said: str, rest: list[Item]) -> str:
        token = "~!!~" + secrets.token_urlsafe(24)
        self._pages[token] = (said, [item.id for item in rest])
        while len(self._pages) > KEPT_PAGES:
            self._pages.popitem(last=False)
        return token
