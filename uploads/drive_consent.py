"""The admin's walk through Google's consent: out with a state that only this admin's session knows, and back once."""

import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from uploads import links
from uploads.drive_models import DriveAccount
from uploads.storage.gdrive import oauth
from uploads.storage.gdrive.oauth import ConsentError
from uploads.storage.gdrive.sealed import client_of

WALK_SECONDS = 600
KEPT = "drive_consent"

NOT_OURS = _(
    "This answer from Google belongs to no walk that you began here within the last ten minutes. Please begin again."
)
NO_CLIENT = _("Enter the client id and the client secret first, and save.")


def redirect_uri(request: HttpRequest) -> str:
    """The address that Google sends people back to; the client in the Google console must name exactly this one."""
    origin = settings.PUBLIC_URL or links.origin_of_request(request)
    return f"{origin}{reverse('admin:uploads_driveaccount_connected')}"


def out(request: HttpRequest, account: DriveAccount) -> str:
    """Begin a walk; the address at Google. It takes the place of one that was begun before. Raises `ConsentError`."""
    client = client_of(account.sealed_credentials) if account.sealed_credentials else {}
    if not client.get("client_id") or not client.get("client_secret"):
        raise ConsentError(str(NO_CLIENT))
    scope = oauth.scope_for(account.folder_id)
    walk = oauth.begin(settings.GDRIVE_CONSENT_URL, client["client_id"], redirect_uri(request), scope)
    request.session[KEPT] = {
        "state": walk.state,
        "verifier": walk.verifier,
        "account": account.pk,
        "client": client["client_id"],
        "scope": scope,
        "until": time.time() + WALK_SECONDS,
    }
    return walk.url


def back(request: HttpRequest) -> tuple[DriveAccount, dict[str, Any]]:
    """The account whose walk ended, and its credentials with the refresh token. Raises `ConsentError`."""
    kept = request.session.pop(KEPT, None)
    state = request.GET.get("state", "")
    if not kept or not secrets.compare_digest(kept["state"].encode(), state.encode()) or time.time() > kept["until"]:
        raise ConsentError(str(NOT_OURS))
    address = redirect_uri(request)
    if word := request.GET.get("error", ""):
        raise oauth.refused(word, address)
    account = DriveAccount.objects.filter(pk=kept["account"]).first()
    client = dict(client_of(account.sealed_credentials)) if account and account.sealed_credentials else {}
    if account is None or client.get("client_id") != kept["client"]:
        raise ConsentError(str(NOT_OURS))
    token = oauth.redeem(
        settings.GDRIVE_TOKEN_URL, client, address, request.GET.get("code", ""), kept["verifier"], kept["scope"]
    )
    return account, client | {"refresh_token": token}


def google_host() -> str:
    """Whose page a person will see."""
    return str(urlsplit(settings.GDRIVE_CONSENT_URL).netloc)
