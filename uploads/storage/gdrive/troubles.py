"""What can be wrong with an account: a code for programs, kept beside the account, and a sentence for its admin."""

from typing import Any

from django.utils.translation import gettext_lazy as _

from uploads.storage.base import StorageUnavailableError
from uploads.storage.gdrive.ports import AccountBrokenError

NO_CREDENTIALS = "no_credentials"
SEALED = "sealed"
REVOKED = "revoked"
CLIENT_UNKNOWN = "client_unknown"
TOKEN_REFUSED = "token_refused"  # noqa: S105 - a code
UNREACHABLE = "unreachable"
FAILING = "failing"
REFUSED = "refused"
STALLED = "stalled"
FOLDER_MISSING = "folder_missing"
FOLDER_CLOSED = "folder_closed"
NO_SHARED_DRIVE = "no_shared_drive"
NO_MANAGER = "no_manager"
FULL = "full"
DAY_SPENT = "day_spent"

SENTENCES: dict[str, Any] = {
    NO_CREDENTIALS: _("It is not connected with Google yet."),
    SEALED: _("Its credentials cannot be read with SECRETS_KEY: name the key that sealed them, or enter them again."),
    REVOKED: _("Google no longer accepts its credentials: they have expired or were revoked. Connect it again."),
    CLIENT_UNKNOWN: _("Google does not know the OAuth client, or its secret is wrong."),
    TOKEN_REFUSED: _("Google gives no access token for it."),
    UNREACHABLE: _("Google cannot be reached from this server."),
    FAILING: _("Calls to Drive fail, one after the other."),
    REFUSED: _("Drive refuses what it is asked for."),
    STALLED: _("Uploads stand still: Drive takes no bytes. Often the day's limit of the account is the reason."),
    FOLDER_MISSING: _("Its folder does not exist, or the account may not see it."),
    FOLDER_CLOSED: _("The account may not add files to its folder."),
    NO_SHARED_DRIVE: _(
        "A service account owns no storage. Name a shared drive, or a folder on one, of which it is a manager; "
        "or connect a person's account instead."
    ),
    NO_MANAGER: _(
        "The account may not delete files on its shared drive, where what has expired would stay for ever. "
        "Make it a manager there: a content manager can only move files to the trash."
    ),
    FULL: _("Drive says that it has no room left."),
    DAY_SPENT: _("Drive takes no more from it for today: 750 GB a day is the most."),
}

# What no other try mends.
FOR_THE_ADMIN = frozenset(
    {NO_CREDENTIALS, SEALED, REVOKED, CLIENT_UNKNOWN, TOKEN_REFUSED, REFUSED, FOLDER_MISSING, FOLDER_CLOSED}
    | {NO_SHARED_DRIVE, NO_MANAGER}
)


class TroubleError(StorageUnavailableError):
    """Something is wrong with an account. `code` is one of `SENTENCES`, the message the true cause."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(cause)
        self.code = code


class BrokenError(TroubleError, AccountBrokenError):
    """It will not mend by itself: an admin has to do something."""


class PassingError(TroubleError):
    """It may be over at the next try."""
