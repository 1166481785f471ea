"""Files, folders and shared drives: what Drive knows of each, kept as one small JSON file apiece beside its bytes."""

import json
import mimetypes
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devtools.emulator.errors import DriveError, invalid, not_found

FOLDER = "application/vnd.google-apps.folder"
GOOGLES = "application/vnd.google-apps."
ROOT = "root0"  # the folder that everybody's `root` means
SHARED_DRIVE = "shared0"  # is there from the start, so that a service account has a place to store
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id() -> str:
    return "1" + secrets.token_urlsafe(24)


@dataclass
class Item:
    """One file, folder, or root of a drive. `blob` names its bytes; None where it has none."""

    id: str
    name: str
    mime_type: str
    owner: str  # the e-mail address of who made it, whose quota it uses outside shared drives
    parents: list[str] = field(default_factory=list)
    drive: str | None = None
    blob: str | None = None
    size: int = 0
    created: str = field(default_factory=now)
    modified: str = field(default_factory=now)
    trashed: bool = False
    starred: bool = False
    abusive: bool = False  # downloads need acknowledgeAbuse
    description: str = ""
    version: int = 1
    properties: dict[str, str] = field(default_factory=dict)
    app_properties: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> bool:
        return self.mime_type == FOLDER


def _changed_properties(before: dict[str, str], changes: Any, location: str) -> dict[str, str]:
    """null removes a key, as in Drive."""
    if not isinstance(changes, dict):
        raise invalid(location)
    return {key: str(value) for key, value in (before | changes).items() if value is not None}


def mime_type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


class Items:
    """All items by id. Who may see which is asked for by `account`, an e-mail address with its root's id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "items"
        self.blobs = folder / "blobs"
        for path in (self.folder, self.blobs):
            path.mkdir(parents=True, exist_ok=True)
        self._items = {}
        for path in self.folder.glob("*.json"):
            item = Item(**json.loads(path.read_text()))
            self._items[item.id] = item
        self.add_root(ROOT, "My Drive")
        self.add_root(SHARED_DRIVE, "Shared drive", drive=SHARED_DRIVE)

    def add_root(self, id: str, name: str, drive: str | None = None) -> None:
        """Make the top folder of a drive, unless it is there."""
        if id not in self._items:
            self.save(Item(id, name, FOLDER, "drive@emulator.example", drive=drive))

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items.values()))

    def __contains__(self, id: str) -> bool:
        return id in self._items

    def get(self, id: str) -> Item:
        """Raises `DriveError` (404)."""
        if id not in self._items:
            raise not_found(id)
        return self._items[id]

    def save(self, item: Item) -> None:
        self._items[item.id] = item
        path = self.folder / f"{item.id}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(item)))
        os.replace(new, path)

    def blob_path(self, item: Item) -> Path:
        assert item.blob
        return self.blobs / item.blob

    def top_of(self, item: Item) -> str:
        """The id of the drive's top folder above an item, or of the item where it lies nowhere."""
        seen = set()
        while item.parents and item.parents[0] in self._items and item.id not in seen:
            seen.add(item.id)
            item = self._items[item.parents[0]]
        return item.id

    def is_trashed(self, item: Item) -> bool:
        """Itself, or by a folder above it."""
        seen = set()
        while not item.trashed and item.parents and item.parents[0] in self._items and item.id not in seen:
            seen.add(item.id)
            item = self._items[item.parents[0]]
        return item.trashed

    def children(self, item: Item) -> list[Item]:
        return [other for other in self if item.id in other.parents]

    def remove(self, item: Item) -> None:
        """For good, with all that lies below."""
        for child in self.children(item):
            self.remove(child)
        if self._items.pop(item.id, None) is None:
            return
        (self.folder / f"{item.id}.json").unlink(missing_ok=True)
        if item.blob:
            self.blob_path(item).unlink(missing_ok=True)

    def place(self, parents: list[str], root: str) -> tuple[list[str], str | None]:
        """The parents with `root` resolved, and the drive that they are in. Raises `DriveError`."""
        if len(parents) > 1:
            raise DriveError(403, "multipleParentsNotSupported", "A file can have only one parent.", location="parents")
        parent = self.get(root if not parents or parents[0] == "root" else parents[0])
        if not parent.folder:
            raise DriveError(403, "parentNotAFolder", "The specified parent is not a folder.", location="parents")
        return [parent.id], parent.drive

    def move(self, item: Item, parents: list[str], drive: str | None) -> None:
        """Put it, with all below, elsewhere; does not save the item itself. Raises `DriveError` for a circle."""
        above: Item | None = self.get(parents[0])
        while above:
            if above.id == item.id:
                raise DriveError(403, "cyclicParents", "A folder cannot be placed into itself.", location="parents")
            above = self._items.get(above.parents[0]) if above.parents else None
        item.parents = parents
        below = [item] if item.drive != drive else []
        while below:
            moved = below.pop()
            moved.drive = drive
            below += self.children(moved)
            if moved is not item:
                self.save(moved)

    def change(self, item: Item, body: dict[str, Any]) -> None:
        """Take over what a request says of the metadata; does not save. Raises `DriveError` (400)."""
        for key, kind in (("name", str), ("mimeType", str), ("description", str), ("trashed", bool), ("starred", bool)):
            if not isinstance(body.get(key, kind()), kind):
                raise invalid(key)
        item.name = body.get("name", item.name)
        item.mime_type = body.get("mimeType") or item.mime_type
        item.description = body.get("description", item.description)
        item.trashed = body.get("trashed", item.trashed)
        item.starred = body.get("starred", item.starred)
        if "properties" in body:
            item.properties = _changed_properties(item.properties, body["properties"], "properties")
        if "appProperties" in body:
            item.app_properties = _changed_properties(item.app_properties, body["appProperties"], "appProperties")
        if "createdTime" in body:
            item.created = str(body["createdTime"])
        item.modified = str(body.get("modifiedTime") or now())
        item.version += 1
