"""Which pages may open a socket: the same scheme, host and port as the request, or PUBLIC_URL, and no other."""

from typing import Any

import pytest

from uploads.intake.handshake import comes_from_a_foreign_page
from uploads.intake.origin import is_foreign, origin_of


def scope(host: str = "files.example.org", scheme: str = "ws", peer: str = "203.0.113.9", **headers: str) -> Any:
    named = [(b"host", host.encode())]
    named += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "websocket", "scheme": scheme, "client": (peer, 4711), "headers": named}


def test_a_page_of_this_host_is_not_foreign():
    assert not is_foreign("http://files.example.org", scope())
    assert not is_foreign("https://files.example.org", scope(scheme="wss"))
    assert not is_foreign("http://files.example.org:8000", scope("files.example.org:8000"))
    assert not is_foreign("http://[::1]:8000", scope("[::1]:8000"))


def test_default_ports_and_letter_case_make_no_difference():
    assert not is_foreign("http://files.example.org:80", scope())
    assert not is_foreign("http://FILES.example.org", scope("Files.Example.org:80"))


@pytest.mark.parametrize(
    "origin",
    [
        "https://files.example.org",  # scheme
        "http://evil.example.org",  # host
        "http://files.example.org.evil.net",
        "http://files.example.org:8001",  # port
        "http://files.example.org@evil.net",
        "http://evil.net/files.example.org",
        "http://files.example.org:port",
        "http://[::1",
        "file://",
        "null",
        "",
    ],
)
def test_another_scheme_host_or_port_is_foreign(origin):
    assert is_foreign(origin, scope())


def test_no_origin_at_all_is_a_program_and_not_foreign():
    assert not is_foreign(None, scope())
    assert origin_of(scope()) is None


def test_two_origin_headers_count_as_null():
    twice = scope()
    twice["headers"] += [(b"origin", b"http://files.example.org"), (b"origin", b"http://evil.net")]
    assert origin_of(twice) == "null"
    assert is_foreign(origin_of(twice), twice)


def test_the_public_url_is_home_too():
    assert not is_foreign("https://ddx.example.net", scope("backend:8000"), "https://ddx.example.net")
    assert is_foreign("http://ddx.example.net", scope("backend:8000"), "https://ddx.example.net")


def test_forwarded_headers_are_not_read_here():
    stranger = scope(x_forwarded_proto="https", x_forwarded_host="evil.net")
    assert is_foreign("https://evil.net", stranger)
    assert not is_foreign("http://files.example.org", stranger)


def test_a_request_without_a_host_has_no_home_of_its_own():
    bare = {"type": "websocket", "headers": [], "client": None}
    assert is_foreign("http://files.example.org", bare)


def test_a_rebound_name_that_is_no_allowed_host_is_foreign(settings):
    settings.ALLOWED_HOSTS = ["files.example.org"]
    assert not comes_from_a_foreign_page(scope(origin="http://files.example.org"))
    assert comes_from_a_foreign_page(scope("evil.net", origin="http://evil.net"))
    assert not comes_from_a_foreign_page(scope("evil.net"))
