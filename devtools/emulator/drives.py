"""about.get, and the shared drives."""

from typing import Any

from aiohttp import web

from devtools.emulator import fields
from devtools.emulator.accounts import LARGEST_FILE
from devtools.emulator.bodies import json_of
from devtools.emulator.errors import DriveError, invalid
from devtools.emulator.items import Item, new_id
from devtools.emulator.views import user
from devtools.emulator.world import World

ABOUT = frozenset(
    (
        "appInstalled",
        "canCreateDrives",
        "canCreateTeamDrives",
        "driveThemes",
        "exportFormats",
        "folderColorPalette",
        "importFormats",
        "kind",
        "maxImportSizes",
        "maxUploadSize",
        "storageQuota",
        "teamDriveThemes",
        "user",
    )
)


def drive_view(item: Item) -> dict[str, Any]:
    return {
        "kind": "drive#drive",
        "id": item.id,
        "name": item.name,
        "createdTime": item.created,
        "hidden": False,
        "capabilities": {"canAddChildren": True, "canListChildren": True, "canDownload": True, "canEdit": True},
    }


class Drives:
    """The handlers of `/drive/v3/about` and `/drive/v3/drives`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/drive/v3/about", self.about),
            web.get("/drive/v3/drives", self.list),
            web.post("/drive/v3/drives", self.create),
            web.get("/drive/v3/drives/{id}", self.get),
            web.delete("/drive/v3/drives/{id}", self.delete),
        ]

    async def about(self, request: web.Request) -> web.Response:
        world = self.world
        if fault := world.faults.refuse("about"):
            raise world.refused_by(fault)
        account = world.who(request)
        wanted = request.query.get("fields")
        if not wanted:
            message = "The 'fields' parameter is required for this method."
            raise DriveError(400, "required", message, location="fields")
        selection = fields.parse(wanted)
        fields.check(selection, ABOUT)
        usage, in_trash = world.accounts.usage(account)
        quota = {"usage": str(usage), "usageInDrive": str(usage), "usageInDriveTrash": str(in_trash)}
        if account.limit is not None:
            quota["limit"] = str(account.limit)
        answer = {
            "kind": "drive#about",
            "user": user(account.email, account.email),
            "storageQuota": quota,
            "maxUploadSize": str(LARGEST_FILE),
            "appInstalled": True,
            "canCreateDrives": not account.service,
            "importFormats": {},
            "exportFormats": {},
        }
        return web.json_response(fields.project(answer, selection))

    def _tops(self) -> list[Item]:
        return [item for item in self.world.items if item.drive == item.id]

    def _find(self, request: web.Request) -> Item:
        id = request.match_info["id"]
        for item in self._tops():
            if item.id == id:
                return item
        raise DriveError(404, "notFound", f"Shared drive not found: {id}", location="driveId")

    async def list(self, request: web.Request) -> web.Response:
        self.world.who(request)
        answer = {"kind": "drive#driveList", "drives": [drive_view(item) for item in self._tops()]}
        return web.json_response(fields.project(answer, fields.parse(request.query.get("fields", "*"))))

    async def get(self, request: web.Request) -> web.Response:
        self.world.who(request)
        view = drive_view(self._find(request))
        return web.json_response(fields.project(view, fields.parse(request.query.get("fields", "*"))))

    async def create(self, request: web.Request) -> web.Response:
        self.world.who(request)
        body = await json_of(request)
        if not request.query.get("requestId"):
            raise DriveError(400, "required", "Required parameter: requestId", location="requestId")
        if not isinstance(body.get("name"), str):
            raise invalid("name")
        id = new_id()
        self.world.items.add_root(id, body["name"], drive=id)
        return web.json_response(drive_view(self.world.items.get(id)))

    async def delete(self, request: web.Request) -> web.Response:
        self.world.who(request)
        item = self._find(request)
        if self.world.items.children(item):
            raise DriveError(403, "cannotDeleteResourceWithChildren", "A shared drive must be empty to be deleted.")
        self.world.items.remove(item)
        return web.Response(status=204)
