"""How a test arranges the world beside the faults: accounts with their limits, known clients, tokens, abusive files."""

import dataclasses
from typing import Any

from aiohttp import web

from devtools.emulator.accounts import Account
from devtools.emulator.bodies import json_of
from devtools.emulator.errors import DriveError
from devtools.emulator.world import World

NUMBER = int | None
ACCOUNT_FIELDS: dict[str, Any] = {
    "limit": NUMBER,
    "daily": NUMBER,
    "daily_reason": str,
    "revoked": bool,
    "alone": bool,
    "manager": bool,
}


def _checked(body: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Raises `DriveError` (400) for an unknown name or a value of another kind."""
    for name, value in body.items():
        if name not in known or not isinstance(value, known[name]):
            raise DriveError(400, message=f"{name}: unknown, or of another kind than {known.get(name)}.")
    return body


class Control:
    """The handlers of `/_accounts`, `/_tokens` and `/_files`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_accounts", self.show_accounts),
            web.post("/_accounts", self.set_account),
            web.post("/_tokens", self.set_tokens),
            web.delete("/_tokens", self.void_tokens),
            web.post("/_files/{id}", self.set_file),
        ]

    def _shown(self, account: Account) -> dict[str, Any]:
        usage, _ = self.world.accounts.usage(account)
        facts = dataclasses.asdict(account)
        for name in ("day", "day_bytes"):
            del facts[name]
        return facts | {"usage": usage, "used_today": account.used_today(), "root": account.root}

    async def show_accounts(self, request: web.Request) -> web.Response:
        return web.json_response({"accounts": [self._shown(account) for account in self.world.accounts]})

    async def set_account(self, request: web.Request) -> web.Response:
        """Introduce or change one, named by `refresh_token`, `client_email` (a service account) or `email`."""
        accounts, body = self.world.accounts, await json_of(request)
        token, service, email = (body.pop(name, None) for name in ("refresh_token", "client_email", "email"))
        values = _checked(body, ACCOUNT_FIELDS)
        if service:
            account = accounts.of_email(str(service), service=True)
        elif token:
            account = accounts.introduce(str(token), str(email) if email else None)
        elif email:
            account = accounts.of_email(str(email))
        else:
            raise DriveError(400, message="Which one: refresh_token, client_email or email?")
        for name, value in values.items():
            setattr(account, name, value)
        accounts.save()
        return web.json_response(self._shown(account))

    async def set_tokens(self, request: web.Request) -> web.Response:
        """Access tokens live `seconds`; only `clients` are accepted; with `known_only` only known refresh tokens."""
        tokens = self.world.tokens
        kinds = {"seconds": int | float, "clients": dict, "known_only": bool}
        for name, value in _checked(await json_of(request), kinds).items():
            setattr(tokens, name, value)
        return web.json_response({name: getattr(tokens, name) for name in kinds})

    async def void_tokens(self, request: web.Request) -> web.Response:
        """No access token given so far is good any more."""
        self.world.tokens.void()
        return web.Response(status=204)

    async def set_file(self, request: web.Request) -> web.Response:
        """`abusive`: downloads of this file need acknowledgeAbuse."""
        item = self.world.items.get(request.match_info["id"])
        item.abusive = bool(_checked(await json_of(request), {"abusive": bool}).get("abusive", item.abusive))
        self.world.items.save(item)
        return web.json_response({"id": item.id, "abusive": item.abusive})
