"""May this WebSocket handshake go on? The rule of `origin.py`, with the settings that it goes by."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from uploads.intake.origin import host_of, is_foreign, origin_of


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
