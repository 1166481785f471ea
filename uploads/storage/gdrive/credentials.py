"""Access tokens, made by google-auth: one maker for each account in a process, one refresh for all who ask.

google-auth's own `AsyncAuthorizedSession` shares refreshes too, but only for the calls that it makes itself, and it
cannot send a body as it comes. So the tokens are made here, and the calls by whoever has bytes.
"""

import asyncio
import threading
from functools import partial

from google.auth import credentials as google_credentials
from google.auth import exceptions
from google.auth.transport.requests import Request
from google.oauth2 import credentials as oauth
from google.oauth2 import service_account

from uploads.drive_models import Kind
from uploads.storage.gdrive import troubles
from uploads.storage.gdrive.oauth import SCOPE
from uploads.storage.gdrive.sealed import client_of
from uploads.storage.gdrive.troubles import BrokenError, PassingError, TroubleError

ANSWER_SECONDS = 10.0


class TokenMaker:
    """The access tokens of one account. Raises `TroubleError` where there are none to be had."""

    def __init__(self, kind: str, sealed: str, token_url: str) -> None:
        self._credentials = _credentials(kind, sealed, token_url)
        self._request = partial(Request(), timeout=ANSWER_SECONDS)
        self._pending: asyncio.Task[None] | None = None
        self._one_at_a_time = threading.Lock()

    async def token(self, *, refused: str | None = None) -> str:
        """A token that is valid now, and not the one that was `refused`."""
        if not self._credentials.valid or self._credentials.token == refused:
            await self._refreshed()
        return str(self._credentials.token)

    async def _refreshed(self) -> None:
        """Join the refresh that is under way, or begin one; who goes away stops it for nobody."""
        loop = asyncio.get_running_loop()
        if self._pending is None or self._pending.done() or self._pending.get_loop() is not loop:
            self._pending = loop.create_task(asyncio.to_thread(self._refresh))
            self._pending.add_done_callback(_heard)
        await asyncio.shield(self._pending)

    def _refresh(self) -> None:
        with self._one_at_a_time:
            try:
                self._credentials.refresh(self._request)
            except exceptions.RefreshError as error:
                raise _refusal(error) from None  # its own words may quote what was sent
            except exceptions.GoogleAuthError as error:
                raise PassingError(troubles.UNREACHABLE, _first_line(_root_of(error))) from None


def _heard(refresh: asyncio.Task[None]) -> None:
    """Those who waited for it may all have gone away."""
    if not refresh.cancelled():
        refresh.exception()


def _credentials(kind: str, sealed: str, token_url: str) -> google_credentials.Credentials:
    values = client_of(sealed)
    if kind == Kind.SERVICE:
        # Where tokens come from is the operator's word, not the key file's.
        try:
            return service_account.Credentials.from_service_account_info(
                {**values, "token_uri": token_url}, scopes=[SCOPE]
            )
        except (ValueError, exceptions.GoogleAuthError):
            raise BrokenError(troubles.NO_CREDENTIALS, "the key of the service account cannot be read") from None
    needed = {name: values.get(name) for name in ("refresh_token", "client_id", "client_secret")}
    if not all(needed.values()):
        raise BrokenError(troubles.NO_CREDENTIALS, "there is no refresh token, or no client for it")
    return oauth.Credentials(None, token_uri=token_url, **needed)


def _refusal(error: exceptions.RefreshError) -> TroubleError:
    """Google's answer in our words; of what it says only the error's code and description are kept."""
    answer = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    word = str(answer.get("error", "")) or _first_line(error)
    cause = f"{word}: {answer['error_description']}" if answer.get("error_description") else word
    code = {"invalid_grant": troubles.REVOKED, "invalid_client": troubles.CLIENT_UNKNOWN}
    passing = error.retryable or not answer
    found = troubles.UNREACHABLE if passing else code.get(word, troubles.TOKEN_REFUSED)
    return (PassingError if passing else BrokenError)(found, cause[:300])


def _root_of(error: BaseException) -> BaseException:
    """The system's own word, without the address and the layers around it."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
