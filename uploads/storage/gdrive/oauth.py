"""A person's consent at Google: where to send them, and what their answer is worth. PKCE and messages by oauthlib.

What few need is loaded by those who do: the admin's pages know of consents at every start.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

# All of Drive: to store in a folder that the account was given. Without one, the files of this program are enough.
SCOPE = "https://www.googleapis.com/auth/drive"
OWN_FILES_SCOPE = "https://www.googleapis.com/auth/drive.file"
ANSWER_SECONDS = 10.0
# RFC 7636 asks for 43 to 128 characters.
VERIFIER_LENGTH = 96

DENIED = _("Google was told no: nothing was changed. Whoever answers there has to allow it, for an account that may.")
LATE = _("The code that Google gave has expired or was used before. Please begin again.")
CLIENT = _("Google does not know the client id, or the client secret is wrong. Compare them with the Google console.")
REDIRECT = _("The client in the Google console lacks this address among its authorised redirect URIs: %(address)s")
NO_REFRESH = _(
    "Google gave no refresh token. Remove this program at https://myaccount.google.com/connections, and begin again."
)
NO_DRIVE = _("The box for Google Drive was not ticked, so that the account cannot be used. Please begin again.")
UNREACHABLE = _("Google cannot be reached from this server. Please begin again in a while.")
OTHER = _("Google refused: %(word)s")

WORDS: dict[str, Any] = {
    "access_denied": DENIED,
    "invalid_grant": LATE,
    "invalid_client": CLIENT,
    "unauthorized_client": CLIENT,
    "redirect_uri_mismatch": REDIRECT,
}


class ConsentError(Exception):
    """Why there is no refresh token; the message is a sentence for an admin, in the language that is active."""


@dataclass(frozen=True)
class Walk:
    """One walk to Google and back. `verifier` never leaves this server before the code is redeemed."""

    url: str
    state: str
    verifier: str


def scope_for(folder_id: str) -> str:
    """The least that will do: a folder that was made by somebody else needs all of Drive."""
    return SCOPE if folder_id else OWN_FILES_SCOPE


def begin(consent_url: str, client_id: str, redirect_uri: str, scope: str) -> Walk:
    """Where a person gives consent. The refresh token comes for sure only if consent is asked for anew."""
    from oauthlib.common import add_params_to_uri
    from oauthlib.oauth2 import WebApplicationClient

    client = WebApplicationClient(client_id)
    verifier = client.create_code_verifier(VERIFIER_LENGTH)
    state = secrets.token_urlsafe(32)
    parameters = {
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": scope,
        "state": state,
        "access_type": "offline",
        "prompt": "consent",
        "code_challenge": client.create_code_challenge(verifier, "S256"),
        "code_challenge_method": "S256",
    }
    return Walk(add_params_to_uri(consent_url, list(parameters.items())), state, verifier)


def redeem(
    token_url: str, credentials: Mapping[str, str], redirect_uri: str, code: str, verifier: str, scope: str
) -> str:
    """The refresh token for a code. Raises `ConsentError`."""
    import requests
    from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

    client = WebApplicationClient(credentials["client_id"])
    body = client.prepare_request_body(
        code=code,
        redirect_uri=redirect_uri,
        include_client_id=True,
        client_secret=credentials["client_secret"],
        code_verifier=verifier,
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        answer = requests.post(token_url, body, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False)
        token = client.parse_request_body_response(answer.text)
    except requests.RequestException:
        raise ConsentError(str(UNREACHABLE)) from None
    except OAuth2Error as error:
        raise refused(error.error, redirect_uri) from None
    if scope not in token.scopes:
        raise ConsentError(str(NO_DRIVE))
    if not token.get("refresh_token"):
        raise ConsentError(str(NO_REFRESH))
    return str(token["refresh_token"])


def refused(word: str, redirect_uri: str) -> ConsentError:
    """Google's word for a refusal as a sentence."""
    return ConsentError(str(WORDS.get(word, OTHER)) % {"word": word[:60], "address": redirect_uri})
