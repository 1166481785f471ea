"""Forwarded headers are believed from named proxies alone; cookies and bodies end before they hurt."""

import ipaddress
from typing import Any

import pytest

from directdrivex.cookies import MOST_BACKSLASHES, HarmlessCookies
from directdrivex.proxies import ForwardedHeaders

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


async def seen(peer: str, headers: list[tuple[bytes, bytes]], kind: str = "http", trusted: Any = TRUSTED) -> Any:
    scopes = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    scope = {
        "type": kind,
        "client": (peer, 1234),
        "scheme": "ws" if kind == "websocket" else "http",
        "headers": [(b"host", b"inner"), *headers],
    }
    await ForwardedHeaders(application, trusted)(scope, None, None)
    return scopes[0]


ALL = [
    (b"x-forwarded-for", b"6.6.6.6, 203.0.113.9, 10.0.0.2"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"files.example.org"),
]


async def test_a_trusted_proxy_tells_address_scheme_and_host() -> None:
    scope = await seen("10.0.0.1", ALL)
    assert scope["client"][0] == "203.0.113.9", "the last hop that is no proxy; what stands left of it proves nothing"
    assert scope["scheme"] == "https"
    assert dict(scope["headers"])[b"host"] == b"files.example.org"


async def test_a_proxy_that_comes_by_a_socket_for_both_families_is_the_same_proxy() -> None:
    assert (await seen("::ffff:10.0.0.1", ALL))["client"][0] == "203.0.113.9"


async def test_a_socket_behind_tls_is_wss() -> None:
    assert (await seen("10.0.0.1", ALL, "websocket"))["scheme"] == "wss"


@pytest.mark.parametrize("peer", ["203.0.113.5", "11.0.0.1", "unix"])
async def test_nobody_else_is_believed(peer: str) -> None:
    scope = await seen(peer, ALL)
    assert scope["client"][0] == peer
    assert scope["scheme"] == "http"
    assert dict(scope["headers"])[b"host"] == b"inner"


async def test_without_named_proxies_nobody_is_believed() -> None:
    assert (await seen("127.0.0.1", ALL, trusted=[]))["client"][0] == "127.0.0.1"


async def test_a_header_that_is_no_address_ends_the_chain_at_the_proxy() -> None:
    scope = await seen("10.0.0.1", [(b"x-forwarded-for", b"203.0.113.9, nonsense")])
    assert scope["client"][0] == "10.0.0.1"


async def test_several_headers_are_one_list() -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-for", b"10.0.0.3")]
    assert (await seen("10.0.0.1", headers))["client"][0] == "203.0.113.9"


# --- cookies ---


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("cookies", "kept"),
    [
        ([b"sessionid=x", b'a="' + b"\\" * MOST_BACKSLASHES + b'"'], True),
        ([b"sessionid=x", b'a="' + b"\\" * (MOST_BACKSLASHES + 1) + b'"'], False),
        ([b"a=" + b"\\" * MOST_BACKSLASHES, b"b=\\"], False),
    ],
)
async def test_cookies_that_take_long_to_read_are_as_if_not_sent(kind: str, cookies: list[bytes], kept: bool) -> None:
    scopes = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    others = [(b"host", b"inner"), (b"x-other", b"\\" * 1000)]
    headers = [*others, *((b"cookie", cookie) for cookie in cookies)]
    await HarmlessCookies(application)({"type": kind, "headers": headers}, None, None)
    assert scopes[0]["headers"] == (headers if kept else others)
    assert scopes[0]["type"] == kind
