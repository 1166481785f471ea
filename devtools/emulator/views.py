"""How an item looks in Drive's JSON. Nothing here changes anything."""

import hashlib
from typing import Any

from devtools.emulator.accounts import Account
from devtools.emulator.items import GOOGLES, Item, Items

USUAL_FILE_FIELDS = "kind,id,name,mimeType,driveId,teamDriveId"
# All that Drive's files have by its API description: a `fields` that names anything else is refused.
FILE_FIELDS = frozenset(
    (
        "appProperties",
        "capabilities",
        "clientEncryptionDetails",
        "contentHints",
        "contentRestrictions",
        "copyRequiresWriterPermission",
        "createdTime",
        "description",
        "downloadRestrictions",
        "driveId",
        "explicitlyTrashed",
        "exportLinks",
        "fileExtension",
        "folderColorRgb",
        "fullFileExtension",
        "hasAugmentedPermissions",
        "hasThumbnail",
        "headRevisionId",
        "iconLink",
        "id",
        "imageMediaMetadata",
        "inheritedPermissionsDisabled",
        "isAppAuthorized",
        "kind",
        "labelInfo",
        "lastModifyingUser",
        "linkShareMetadata",
        "md5Checksum",
        "mimeType",
        "modifiedByMe",
        "modifiedByMeTime",
        "modifiedTime",
        "name",
        "originalFilename",
        "ownedByMe",
        "owners",
        "parents",
        "permissionIds",
        "permissions",
        "properties",
        "quotaBytesUsed",
        "resourceKey",
        "sha1Checksum",
        "sha256Checksum",
        "shared",
        "sharedWithMeTime",
        "sharingUser",
        "shortcutDetails",
        "size",
        "spaces",
        "starred",
        "teamDriveId",
        "thumbnailLink",
        "thumbnailVersion",
        "trashed",
        "trashedTime",
        "trashingUser",
        "version",
        "videoMediaMetadata",
        "viewedByMe",
        "viewedByMeTime",
        "viewersCanCopyContent",
        "webContentLink",
        "webViewLink",
        "writersCanShare",
    )
)


def user(email: str, me: str) -> dict[str, Any]:
    return {
        "kind": "drive#user",
        "displayName": email.partition("@")[0],
        "me": email == me,
        "permissionId": str(int(hashlib.sha256(email.encode()).hexdigest()[:16], 16)),
        "emailAddress": email,
    }


def view(items: Items, item: Item, account: Account) -> dict[str, Any]:
    """The whole of it, but for digests that nobody has made yet."""
    person = user(item.owner, account.email)
    file: dict[str, Any] = {
        "kind": "drive#file",
        "id": item.id,
        "name": item.name,
        "mimeType": item.mime_type,
        "description": item.description,
        "starred": item.starred,
        "trashed": items.is_trashed(item),
        "explicitlyTrashed": item.trashed,
        "parents": item.parents,
        "properties": item.properties,
        "appProperties": item.app_properties,
        "spaces": ["drive"],
        "version": str(item.version),
        "createdTime": item.created,
        "modifiedTime": item.modified,
        "shared": False,
        "ownedByMe": person["me"] and not item.drive,
        "lastModifyingUser": person,
        "quotaBytesUsed": str(item.size),
        "isAppAuthorized": True,
        "capabilities": {"canAddChildren": item.folder, "canEdit": True, "canDelete": True, "canTrash": True}
        | {"canDownload": item.blob is not None, "canCopy": not item.folder, "canRename": True},
    }
    if item.drive:
        file |= {"driveId": item.drive, "teamDriveId": item.drive}
        file["capabilities"] |= {"canDelete": account.manager, "canDeleteChildren": account.manager and item.folder}
    else:
        file |= {"owners": [person]}
    for name in ("description", "properties", "appProperties", "parents"):
        if not file[name]:
            del file[name]
    if item.blob:
        extension = item.name.rpartition(".")[2] if "." in item.name else ""
        file |= {
            "size": str(item.size),
            "originalFilename": item.name,
            "fileExtension": extension,
            "fullFileExtension": extension,
            "headRevisionId": f"{item.id}-{item.version}",
            "webContentLink": f"https://drive.google.com/uc?id={item.id}&export=download",
            "webViewLink": f"https://drive.google.com/file/d/{item.id}/view",
            **item.digests,
        }
    elif item.mime_type.startswith(GOOGLES):
        file["webViewLink"] = f"https://drive.google.com/drive/folders/{item.id}"
    return file
