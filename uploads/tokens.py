"""Secrets that programs hold, and what is kept of them. Needs no Django."""

import hashlib
import hmac
import secrets


def new_token() -> str:
    return secrets.token_urlsafe(32)


def digest(text: str) -> str:
    """What is stored in place of a token or of a request's key."""
    # A token that somebody made up may hold half a surrogate pair; it is wrong, not a fault.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def matches(stored: str, token: str) -> bool:
    """Whether `stored` is the digest of `token`."""
    return hmac.compare_digest(stored, digest(token))
