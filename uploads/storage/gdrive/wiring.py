"""The Drive store as the settings have it: over the pool of accounts and the rows of the database."""

from django.conf import settings

from uploads import secrets
from uploads.storage.gdrive.accounts import Pool
from uploads.storage.gdrive.errors import DriveGoneError
from uploads.storage.gdrive.patience import Patience
from uploads.storage.gdrive.rows import RowSessions
from uploads.storage.gdrive.store import DriveStore

PATIENCE = Patience()


def make_store() -> DriveStore:
    return DriveStore(
        settings.GDRIVE_API_ROOT, Pool(), RowSessions(), seal=secrets.seal, unseal=_unseal, patience=PATIENCE
    )


def _unseal(sealed: str) -> str:
    """What was sealed. A session that cannot be read any longer is lost, and the upload begins anew."""
    try:
        return secrets.unseal(sealed)
    except secrets.UnsealError as error:
        raise DriveGoneError(str(error)) from None
