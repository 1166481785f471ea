"""Who is asking: the client's address, the person whom limits count by, and the visitor whose uploads are theirs."""

from typing import Any

from django.conf import settings

from quotas.rules import Person, account_person, address_person
from quotas.rules import client_address as nearest_client


def client_address(request: Any) -> str:
    """The address of the client of a Django request; forwarded headers count only from TRUSTED_PROXIES."""
    return nearest_client(
        request.META.get("REMOTE_ADDR", ""),
        [entry for entry in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if entry.strip()],
        settings.TRUSTED_PROXIES,
    )


def person_of(user: Any, address: str) -> Person:
    return account_person(user.pk) if user.is_authenticated else address_person(address)
