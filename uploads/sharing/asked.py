"""What a request asks of the share controls, with its passwords hashed: they go no further than here."""

from collections.abc import Collection, Iterable
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from uploads import doors
from uploads.errors import InvalidRequest
from uploads.schemas import ChangeIn, ControlsIn
from uploads.sharing import passwords
from uploads.sharing.controls import Change
from uploads.sharing.wishes import NONE, Wishes

# Each different one takes a large part of a second of a processor; the same is hashed once.
MOST_PASSWORDS = 3


async def wishes_of(request: HttpRequest, asked: Iterable[ControlsIn], person: str) -> list[Wishes]:
    """The wishes for each of these files and batches, which this person announces together.

    Raises `RateLimited`, and `InvalidRequest` for too many different passwords.
    """
    asked = list(asked)
    different = dict.fromkeys(one.password for one in asked if one.password)
    if len(different) > MOST_PASSWORDS:
        raise InvalidRequest(
            "password", _("A batch can have at most %(most)d different passwords.") % {"most": MOST_PASSWORDS}
        )
    hashes = await _hashes_of(request, different, person)
    return [
        Wishes(hashes[one.password] if one.password else "", one.max_downloads, one.expires_in)
        if one.password or one.max_downloads or one.expires_in
        else NONE
        for one in asked
    ]


async def change_of(request: HttpRequest, asked: ChangeIn, person: str) -> Change:
    """What is to be changed: what the request names, no more. Raises `RateLimited`."""
    named = asked.model_fields_set
    fields: dict[str, Any] = {name: getattr(asked, name) for name in ("max_downloads", "expires_in") if name in named}
    if "password" in named:
        hashes = await _hashes_of(request, [asked.password] if asked.password else [], person)
        fields["password_hash"] = hashes[asked.password] if asked.password else ""
    return Change(fields, asked.revoked if "revoked" in named else None)


async def _hashes_of(request: HttpRequest, different: Collection[str], person: str) -> dict[str, str]:
    if not different:
        return {}
    for _password in different:
        await doors.count_password(person)
    return await passwords.hashes_of(request, different, person)
