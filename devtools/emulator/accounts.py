"""Who uses the emulator: each refresh token and each service account is a user with a quota of its own."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devtools.emulator.errors import DriveError
from devtools.emulator.items import ROOT, Item, Items

LARGEST_FILE = 5_497_558_138_880
DRIVE_SCOPE = "https://www.googleapis.com/auth/drive"
USUAL_LIMIT = 2 * 1024**4


@dataclass
class Account:
    """`limit` and `daily` in bytes, None: no limit. One that is `alone` sees and shares nothing of the common drive.

    Who is no `manager` is a content manager of the shared drives: may trash what is there, and remove nothing for good.
    """

    email: str
    service: bool = False
    limit: int | None = USUAL_LIMIT
    daily: int | None = None
    daily_reason: str = "dailyLimitExceeded"
    day: str = ""
    day_bytes: int = 0
    revoked: bool = False
    alone: bool = False
    manager: bool = True

    @property
    def root(self) -> str:
        return f"root-{hashlib.sha256(self.email.encode()).hexdigest()[:12]}" if self.alone else ROOT

    def used_today(self) -> int:
        return self.day_bytes if self.day == _today() else 0

    def count(self, size: int) -> None:
        self.day, self.day_bytes = _today(), self.used_today() + size


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def address_of(refresh_token: str) -> str:
    """The address of a refresh token that nobody introduced: always the same, and without the token in it."""
    return f"user-{hashlib.sha256(refresh_token.encode()).hexdigest()[:12]}@emulator.example"


class Accounts:
    """All users by e-mail address, and whose each refresh token is; kept in a file."""

    def __init__(self, folder: Path, items: Items) -> None:
        self._path = folder / "accounts.json"
        self._items = items
        kept: dict[str, Any] = {"accounts": [], "refresh_tokens": {}, "scopes": {}, "revoked": []}
        if self._path.exists():
            kept = json.loads(self._path.read_text())
        self._accounts = {values["email"]: Account(**values) for values in kept["accounts"]}
        self._owners: dict[str, str] = kept["refresh_tokens"]
        self._scopes: dict[str, str] = kept["scopes"]
        self._revoked = set(kept["revoked"])

    def save(self) -> None:
        new = self._path.with_suffix(".new")
        kept = {
            "accounts": [asdict(account) for account in self],
            "refresh_tokens": self._owners,
            "scopes": self._scopes,
            "revoked": sorted(self._revoked),
        }
        new.write_text(json.dumps(kept, indent=1))
        os.replace(new, self._path)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def of_email(self, email: str, *, service: bool = False) -> Account:
        """The account with this address, made where there is none."""
        if email not in self._accounts:
            # A service account owns no storage: it can only fill shared drives.
            self._accounts[email] = Account(email, service=service, limit=0 if service else USUAL_LIMIT)
            self.save()
        return self._accounts[email]

    def of_refresh_token(self, token: str, *, known_only: bool = False) -> Account | None:
        """Whose it is; None where it was revoked, or must be a known one and is not."""
        if token in self._revoked or (known_only and token not in self._owners):
            return None
        account = self.of_email(self._owners.get(token) or address_of(token))
        return None if account.revoked else account

    def revoke(self, refresh_token: str) -> bool:
        """This refresh token is good no more; False where it was not."""
        if not self.of_refresh_token(refresh_token, known_only=True):
            return False
        self._revoked.add(refresh_token)
        self.save()
        return True

    def introduce(self, token: str, email: str | None) -> Account:
        """The account of a refresh token, which is a known one from now on, even where it was revoked."""
        email = email or self._owners.get(token) or address_of(token)
        self._revoked.discard(token)
        self.owns(token, email)
        return self.of_email(email)

    def owns(self, token: str, email: str, scope: str = DRIVE_SCOPE) -> None:
        """From now on this refresh token is that user's, for no more than this scope."""
        self._owners[token], self._scopes[token] = email, scope
        self.save()

    def scope_of(self, token: str) -> str:
        return self._scopes.get(token, DRIVE_SCOPE)

    # --- what they may ---

    def sees(self, account: Account, item: Item) -> bool:
        """Shared drives are everybody's; so is the common drive, but for accounts that are alone."""
        if item.drive or item.owner == account.email:
            return True
        top = self._items.top_of(item)
        if account.alone or top != ROOT:
            return top == account.root
        return True

    def may_remove(self, account: Account, item: Item) -> bool:
        return account.manager or not item.drive

    def usage(self, account: Account) -> tuple[int, int]:
        """Bytes that count against its quota: all, and those in the trash."""
        own = [item for item in self._items if item.owner == account.email and not item.drive]
        return sum(item.size for item in own), sum(item.size for item in own if self._items.is_trashed(item))

    def may_store(self, account: Account, size: int | None, drive: str | None) -> None:
        """Raises `DriveError` where quota, daily budget or the largest file's size forbid a new file of this size."""
        if size is not None and size > LARGEST_FILE:
            raise DriveError(413, "uploadTooLarge")
        if account.daily is not None and account.used_today() >= account.daily:
            raise DriveError(403, account.daily_reason)
        if drive:
            return
        if account.service and account.limit == 0:
            message = (
                "Service Accounts do not have storage quota. Leverage shared drives "
                "(https://developers.google.com/workspace/drive/api/guides/about-shareddrives), or use OAuth "
                "delegation (http://support.google.com/a/answer/7281227) instead."
            )
            raise DriveError(403, "storageQuotaExceeded", message)
        if account.limit is not None and self.usage(account)[0] + (size or 0) > account.limit:
            raise DriveError(403, "storageQuotaExceeded")
