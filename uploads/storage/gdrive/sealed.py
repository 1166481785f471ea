"""What the database keeps sealed of an account, opened."""

import json
from collections.abc import Mapping
from typing import Any

from uploads.secrets import UnsealError, unseal
from uploads.storage.gdrive import troubles
from uploads.storage.gdrive.troubles import BrokenError


def client_of(sealed: str) -> Mapping[str, Any]:
    """What `seal` was given: the fields of an OAuth client and its refresh token, or of a service account's key."""
    if not sealed:
        raise BrokenError(troubles.NO_CREDENTIALS, "there are no credentials")
    try:
        values = json.loads(unseal(sealed))
    except UnsealError as error:
        raise BrokenError(troubles.SEALED, str(error)) from None
    assert isinstance(values, dict)
    return values
