"""Google's consent page: a person says yes or no, and is sent back with a code."""

import html
import time
from urllib.parse import urlencode, urlsplit, urlunsplit

from aiohttp import web

from devtools.emulator.tokens import CODE_SECONDS, Code, Tokens

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in - Drive emulator</title>
<style>body{{font:16px/1.5 sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}code{{word-break:break-all}}
button{{font:inherit;padding:.4rem 1.2rem}}input[type=email]{{font:inherit;width:100%;box-sizing:border-box}}</style>
<h1>{title}</h1>
{content}
</html>
"""
FORM = """<p>This page stands in for Google's.
<strong>{client}</strong> wants to use your account.</p>
<form method="post">{hidden}<input type="hidden" name="chosen" value="yes">
{boxes}
<p><label>Your account <input name="email" type="email" required value="{email}"></label></p>
<p><button name="answer" value="allow">Allow</button>
<button name="answer" value="deny" formnovalidate>Deny</button></p>
</form>"""
BOX = '<p><label><input type="checkbox" name="granted" value="{scope}" checked> <code>{scope}</code></label></p>'
CARRIED = [
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "access_type",
    "prompt",
    "code_challenge",
    "code_challenge_method",
]


def _page(title: str, content: str, status: int = 200) -> web.Response:
    text = PAGE.format(title=title, content=content)
    return web.Response(text=text, content_type="text/html", status=status, headers={"Cache-Control": "no-store"})


def _wrong(values: dict[str, str], tokens: Tokens) -> str:
    """What is wrong with the request, as Google's error page names it; empty where nothing is."""
    back = urlsplit(values.get("redirect_uri", ""))
    if not values.get("client_id") or (tokens.clients and values["client_id"] not in tokens.clients):
        return "invalid_client: The OAuth client was not found."
    if back.scheme not in ("http", "https") or not back.netloc or back.fragment:
        return "redirect_uri_mismatch: The redirect_uri is no address."
    if back.scheme == "http" and back.hostname not in ("localhost", "127.0.0.1", "::1"):
        return "redirect_uri_mismatch: Only https, or http to this machine itself."
    if values.get("response_type") != "code":
        return "unsupported_response_type: Only response_type=code."
    if not values.get("scope"):
        return "invalid_request: Missing required parameter: scope"
    if values.get("code_challenge_method", "plain") not in ("plain", "S256"):
        return "invalid_request: Invalid code_challenge_method."
    return ""


def _back(values: dict[str, str], **answer: str) -> web.HTTPFound:
    parts = urlsplit(values["redirect_uri"])
    if "state" in values:
        answer["state"] = values["state"]
    query = "&".join(part for part in (parts.query, urlencode(answer)) if part)
    return web.HTTPFound(urlunsplit(parts._replace(query=query)))


def routes(tokens: Tokens) -> list[web.RouteDef]:
    consented: set[tuple[str, str]] = set()  # who allowed which client before

    async def ask(request: web.Request) -> web.Response:
        values = {name: request.query[name] for name in CARRIED if name in request.query}
        if wrong := _wrong(values, tokens):
            return _page("Access blocked", f"<p>{html.escape(wrong)}</p>", status=400)
        hidden = "".join(f'<input type="hidden" name="{name}" value="{html.escape(values[name])}">' for name in values)
        email = html.escape(request.query.get("login_hint", "person@emulator.example"))
        boxes = "\n".join(BOX.format(scope=html.escape(scope)) for scope in values["scope"].split())
        client = html.escape(values["client_id"])
        return _page("Allow access?", FORM.format(hidden=hidden, email=email, client=client, boxes=boxes))

    async def answer(request: web.Request) -> web.Response:
        said = await request.post()
        form = {name: str(value) for name, value in said.items()}
        # A person may untick what was asked for; a program that answers for one grants all.
        scope = " ".join(str(box) for box in said.getall("granted", [])) if "chosen" in form else form.get("scope", "")
        if wrong := _wrong(form, tokens):
            return _page("Access blocked", f"<p>{html.escape(wrong)}</p>", status=400)
        if form.get("answer") != "allow" or not form.get("email") or not scope:
            raise _back(form, error="access_denied")
        # As at Google: the refresh token comes with the first consent only, unless the program asks for it again.
        first = (form["email"], form["client_id"]) not in consented or "consent" in form.get("prompt", "").split()
        consented.add((form["email"], form["client_id"]))
        code = Code(
            email=form["email"],
            client_id=form["client_id"],
            redirect_uri=form["redirect_uri"],
            scope=scope,
            offline=form.get("access_type") == "offline" and first,
            challenge=form.get("code_challenge", ""),
            method=form.get("code_challenge_method", "plain"),
            until=time.monotonic() + CODE_SECONDS,
        )
        raise _back(form, code=tokens.give_code(code), scope=scope)

    names = ("/o/oauth2/v2/auth", "/o/oauth2/auth")
    return [*(web.get(name, ask) for name in names), *(web.post(name, answer) for name in names)]
