"""Asks Drive how an account fares: whose it is, how much room it has, and whether files may go to its folder."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from uploads.drive_models import DriveAccount, Kind
from uploads.storage.gdrive import troubles
from uploads.storage.gdrive.troubles import BrokenError, PassingError

ANSWER_SECONDS = 10.0
FOLDER = "application/vnd.google-apps.folder"
ABOUT = "/drive/v3/about?fields=user(emailAddress),storageQuota(limit,usage)"
FOLDER_FIELDS = "id,mimeType,driveId,trashed,capabilities(canAddChildren,canDeleteChildren)"


@dataclass(frozen=True)
class Health:
    """`identity`: its e-mail address; `room`: free bytes, None where Drive says none; `drive_id`: its shared drive."""

    identity: str
    room: int | None
    drive_id: str


async def ask(account: DriveAccount, token: str, api_root: str) -> Health:
    """Two calls. Raises `TroubleError` where the account could not take a file."""
    if account.kind == Kind.SERVICE and not account.folder_id:
        raise BrokenError(troubles.NO_SHARED_DRIVE, "the service account has no shared drive")
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(api_root, timeout=timeout, headers=headers) as http:
        about = await _get(http, ABOUT)
        drive_id = await _shared_drive(http, account) if account.folder_id else ""
    return Health(
        identity=str(about.get("user", {}).get("emailAddress", "")),
        room=None if drive_id else _room(about.get("storageQuota", {})),
        drive_id=drive_id,
    )


async def _shared_drive(http: aiohttp.ClientSession, account: DriveAccount) -> str:
    """The id of the shared drive that the account's folder is on, or is; empty for a folder of “My Drive”."""
    folder = await _get(
        http, f"/drive/v3/files/{account.folder_id}?supportsAllDrives=true&fields={FOLDER_FIELDS}", folder=True
    )
    if folder.get("mimeType") != FOLDER or folder.get("trashed"):
        raise BrokenError(troubles.FOLDER_MISSING, "it is no folder, or lies in the trash")
    may = folder.get("capabilities", {})
    if not may.get("canAddChildren", True):
        raise BrokenError(troubles.FOLDER_CLOSED, "canAddChildren is false")
    drive_id = str(folder.get("driveId", ""))
    if account.kind == Kind.SERVICE and not drive_id:
        raise BrokenError(troubles.NO_SHARED_DRIVE, "the folder is on no shared drive")
    if drive_id and not may.get("canDeleteChildren", True):
        raise BrokenError(troubles.NO_MANAGER, "canDeleteChildren is false")
    return drive_id


async def _get(http: aiohttp.ClientSession, path: str, *, folder: bool = False) -> Mapping[str, Any]:
    try:
        async with http.get(path, allow_redirects=False) as response:
            try:
                body = await response.json(content_type=None)
            except ValueError:
                body = None
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise PassingError(troubles.UNREACHABLE, type(error).__name__) from None
    if status == 200 and isinstance(body, dict):
        return body
    cause = f"{status} {_reason(body)}".strip()
    if status == 404 and folder:
        raise BrokenError(troubles.FOLDER_MISSING, cause)
    if status == 401:
        raise BrokenError(troubles.TOKEN_REFUSED, cause)
    if status >= 500 or status == 429 or status == 200:
        raise PassingError(troubles.FAILING, cause)
    raise BrokenError(troubles.REFUSED, cause)


def _reason(body: Any) -> str:
    """Drive's own word for a refusal, and its sentence."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return ""
    errors = error.get("errors")
    word = errors[0].get("reason", "") if isinstance(errors, list) and errors and isinstance(errors[0], dict) else ""
    return f"{word} {error.get('message', '')}".strip()[:300]


def _room(quota: Mapping[str, Any]) -> int | None:
    """Free bytes; Drive writes numbers as strings, and no limit for an account that has none."""
    if "limit" not in quota:
        return None
    return max(0, int(quota["limit"]) - int(quota.get("usage", 0)))


async def bounded(account: DriveAccount, token: str, api_root: str) -> Health:
    """`ask`, within `ANSWER_SECONDS` in all."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await ask(account, token, api_root)
    except TimeoutError:
        raise PassingError(troubles.UNREACHABLE, f"no answer within {ANSWER_SECONDS:g} s") from None
