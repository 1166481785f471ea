"""Google's token endpoint: refresh tokens, codes of the consent page, and signed assertions of service accounts."""

import base64
import binascii
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from devtools.emulator.accounts import DRIVE_SCOPE, Account, Accounts
from devtools.emulator.errors import DriveError

CODE_SECONDS = 600.0
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLOCK_SKEW_SECONDS = 300


class GrantError(Exception):
    """No token. RFC 6749's code, with the status and sentence that Google gives it."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(code, description)
        self.code, self.description, self.status = code, description, status


@dataclass(frozen=True)
class Code:
    """What the consent page gave away: good once, for ten minutes, for the same client, address and verifier."""

    email: str
    client_id: str
    redirect_uri: str
    scope: str
    offline: bool
    challenge: str
    method: str
    until: float


@dataclass
class Tokens:
    """What was given to whom. `clients` (id to secret) is empty where any client is accepted."""

    accounts: Accounts
    clients: dict[str, str] = field(default_factory=dict)
    known_only: bool = False
    seconds: float = 3599.0
    _access: dict[str, tuple[str, float, str]] = field(default_factory=dict)
    _codes: dict[str, Code] = field(default_factory=dict)

    def void(self) -> None:
        """None of the access tokens given so far is good any more."""
        self._access.clear()

    def give(self, account: Account, scope: str) -> dict[str, Any]:
        token = "ya29." + secrets.token_urlsafe(40)
        self._access[token] = (account.email, time.monotonic() + self.seconds, scope)
        return {"access_token": token, "expires_in": int(self.seconds), "token_type": "Bearer", "scope": scope}

    def revoke(self, token: str) -> bool:
        """An access or a refresh token is good no more; False where it was not."""
        return self._access.pop(token, None) is not None or self.accounts.revoke(token)

    def give_code(self, code: Code) -> str:
        word = "4/" + secrets.token_urlsafe(40)
        self._codes[word] = code
        return word

    def account_of(self, request: web.Request) -> Account:
        """Who asks. Raises `DriveError` (401; 403 for a scope without Drive)."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if not token:
            raise DriveError(401, "required", location="Authorization")
        email, until, scope = self._access.get(token.strip(), ("", 0.0, ""))
        if kind.lower() != "bearer" or time.monotonic() >= until:
            raise DriveError(401, "authError", location="Authorization")
        if DRIVE_SCOPE not in scope:
            raise DriveError(403, "insufficientPermissions")
        account = self.accounts.of_email(email)
        if account.revoked:
            raise DriveError(401, "authError", location="Authorization")
        return account

    # --- grants ---

    def grant(self, form: dict[str, str]) -> dict[str, Any]:
        """The answer to a token request. Raises `GrantError`."""
        match form.get("grant_type"):
            case "refresh_token":
                self._check_client(form)
                return self._refresh(form.get("refresh_token", ""))
            case "authorization_code":
                self._check_client(form)
                return self._redeem(form)
            case grant if grant == JWT_GRANT:
                return self._assertion(form.get("assertion", ""))
            case grant:
                raise GrantError("unsupported_grant_type", f"Invalid grant_type: {grant or ''}")

    def _check_client(self, form: dict[str, str]) -> None:
        client, secret = form.get("client_id", ""), form.get("client_secret", "")
        if not client:
            raise GrantError("invalid_request", "Could not determine client ID from request.")
        if self.clients and self.clients.get(client) != secret:
            known = client in self.clients
            raise GrantError(
                "invalid_client", "Unauthorized" if known else "The OAuth client was not found.", status=401
            )

    def _refresh(self, token: str) -> dict[str, Any]:
        if not token:
            raise GrantError("invalid_request", "Missing required parameter: refresh_token")
        account = self.accounts.of_refresh_token(token, known_only=self.known_only)
        if not account:
            raise GrantError("invalid_grant", "Token has been expired or revoked.")
        return self.give(account, self.accounts.scope_of(token))

    def _redeem(self, form: dict[str, str]) -> dict[str, Any]:
        code = self._codes.pop(form.get("code", ""), None)
        if not code or time.monotonic() > code.until or code.client_id != form.get("client_id"):
            raise GrantError("invalid_grant", "Malformed auth code.")
        if code.redirect_uri != form.get("redirect_uri"):
            raise GrantError("redirect_uri_mismatch", "Bad Request")
        verifier = form.get("code_verifier", "")
        if code.challenge and not verifier:
            raise GrantError("invalid_grant", "Missing code verifier.")
        if code.challenge and code.challenge != _challenge(verifier, code.method):
            raise GrantError("invalid_grant", "Invalid code verifier.")
        answer = self.give(self.accounts.of_email(code.email), code.scope)
        if code.offline:
            answer["refresh_token"] = "1//" + secrets.token_urlsafe(48)
            self.accounts.owns(answer["refresh_token"], code.email, code.scope)
        return answer

    def _assertion(self, assertion: str) -> dict[str, Any]:
        """A service account's signed word. Its signature is not looked at: nobody told us its key."""
        try:
            header, claims = (json.loads(_decoded(part)) for part in assertion.split(".")[:2])
            issuer, scope = str(claims["iss"]), str(claims.get("scope", ""))
            issued, expires = float(claims["iat"]), float(claims["exp"])
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise GrantError("invalid_grant", "Invalid JWT: it must be a signed assertion.") from None
        moment = time.time()
        if header.get("alg") != "RS256" or assertion.count(".") != 2 or not assertion.rpartition(".")[2]:
            raise GrantError("invalid_grant", "Invalid JWT Signature.")
        if expires - issued > 3600 + 1 or issued > moment + CLOCK_SKEW_SECONDS or expires < moment - CLOCK_SKEW_SECONDS:
            message = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            raise GrantError("invalid_grant", message)
        if not scope:
            raise GrantError("invalid_scope", "Empty or missing scope not allowed.")
        subject = claims.get("sub")
        if subject and subject != issuer:  # domain-wide delegation: it acts for a person
            account = self.accounts.of_email(str(subject))
        else:
            account = self.accounts.of_email(issuer, service=True)
        if account.revoked:
            raise GrantError("invalid_grant", "Invalid grant: account not found")
        return self.give(account, scope)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _challenge(verifier: str, method: str) -> str:
    if method != "S256":
        return verifier
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def _form(request: web.Request) -> dict[str, str]:
    """Parameters from a form or from JSON, with the client's id and secret from a Basic header where they come so."""
    if request.content_type == "application/json":
        try:
            values = await request.json()
        except ValueError:
            raise GrantError("invalid_request", "The body is no JSON.") from None
        form = {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}
    else:
        form = {name: str(value) for name, value in (await request.post()).items()}
    kind, _, word = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            client, _, secret = base64.b64decode(word, validate=True).decode().partition(":")
        except (ValueError, binascii.Error):
            raise GrantError("invalid_client", "Unauthorized", status=401) from None
        form |= {"client_id": unquote(client), "client_secret": unquote(secret)}
    return form


def routes(tokens: Tokens) -> list[web.RouteDef]:
    async def token(request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-store"}
        try:
            return web.json_response(tokens.grant(await _form(request)), headers=headers)
        except GrantError as error:
            body = {"error": error.code, "error_description": error.description}
            return web.json_response(body, status=error.status, headers=headers)

    async def revoke(request: web.Request) -> web.Response:
        form = await _form(request)
        if not tokens.revoke(form.get("token") or request.query.get("token", "")):
            body = {"error": "invalid_token", "error_description": "Token expired or revoked"}
            return web.json_response(body, status=400)
        return web.json_response({})

    # Google has had several names for it; libraries know the one of their time.
    names = ("/token", "/oauth2/v3/token", "/oauth2/v4/token", "/o/oauth2/token")
    return [
        *(web.post(name, token) for name in names),
        web.post("/revoke", revoke),
        web.post("/o/oauth2/revoke", revoke),
    ]
