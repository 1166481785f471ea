"""What a request asks of the share controls, with its passwords hashed: they go no further than here."""

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_lazy as _

from uploads import doors
from uploads.errors import InvalidRequest
from uploads.schemas import ChangeIn, ControlsIn
from uploads.sharing import passwords
from uploads.sharing.controls import Change
from uploads.sharing.wishes import NONE, Wishes

# Each different one takes a large part of a second of a processor; the same is hashed once.
MOST_PASSWORDS = 20


async def wishes_of(asked: Iterable[ControlsIn], person: str) -> list[Wishes]:
    """The wishes for each of these files and batches, which this person announces together.

    Raises `RateLimited`, and `InvalidRequest` for too many different passwords.
    """
    asked = list(asked)
    different = dict.fromkeys(one.password for one in asked if one.password)
    if len(different) > MOST_PASSWORDS:
        raise InvalidRequest(
            "password", _("A batch can have at most %(most)d different passwords.") % {"most": MOST_PASSWORDS}
        )
    hashes = {password: await _hash_of(password, person) for password in different}
    return [
        Wishes(hashes[one.password] if one.password else "", one.max_downloads, one.expires_in)
        if one.password or one.max_downloads or one.expires_in
        else NONE
        for one in asked
    ]


async def change_of(asked: ChangeIn, person: str) -> Change:
    """What is to be changed: what the request names, no more. Raises `RateLimited`."""
    named = asked.model_fields_set
    fields: dict[str, Any] = {name: getattr(asked, name) for name in ("max_downloads", "expires_in") if name in named}
    if "password" in named:
        fields["password_hash"] = await _hash_of(asked.password, person) if asked.password else ""
    return Change(fields, asked.revoked if "revoked" in named else None)


async def _hash_of(password: str, person: str) -> str:
    await doors.count_password(person)
    return await passwords.hash_of(password, person)
