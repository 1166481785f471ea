"""May this WebSocket handshake go on? The rule of `origin.py`, with the settings that it goes by; then the doors."""

from collections.abc import Mapping
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from quotas.rules import account_person, address_person
from uploads import doors
from uploads.intake.origin import host_of, is_foreign, origin_of
from uploads.people import session_key_of, user_of_session


def comes_from_a_foreign_page(scope: Mapping[str, Any]) -> bool:
    """True where a page of another site opens the socket; a program, which sends no `Origin`, is no page.

    A page's host must be one that ALLOWED_HOSTS names too: a hostile name that was pointed at this server's address
    (DNS rebinding) is the same in `Origin` and in `Host`.
    """
    origin = origin_of(scope)
    if origin is None:
        return False
    if is_foreign(origin, scope, settings.PUBLIC_URL):
        return True
    domain, _port = split_domain_port(host_of(scope))
    return not validate_host(domain, settings.ALLOWED_HOSTS)


async def come_in(scope: Mapping[str, Any]) -> tuple[str, ...]:
    """The persons that a connection is, who are not kept out: its address, and its account if somebody signed in.

    Raises `Forbidden`, `Maintenance` and `RateLimited`.
    """
    address = scope["client"][0] if scope.get("client") else ""
    persons = [address_person(address).key]
    if session_key := session_key_of(scope):  # whether or not an account is blocked: one may be while it is connected
        user = await database_sync_to_async(user_of_session)(session_key)
        if user.is_authenticated:
            persons.append(account_person(user.pk).key)
    await doors.refuse_closed(*persons)
    await doors.count_handshake(persons[-1])
    return tuple(persons)
