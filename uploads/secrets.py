"""Secrets at rest: what the database keeps of refresh tokens, keys and session addresses is sealed with SECRETS_KEY.

Several keys may be named, the newest first: it seals, each of them unseals. So a key is changed in three steps: put the
new one before the old, run `manage.py drive_accounts --reseal`, take the old one away (docs/google-drive.md).
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

# Whoever has one text from SECRETS_KEY must not have the key of another use of it.
PURPOSE = b"directdrivex sealed secrets"


class UnsealError(Exception):
    """Sealed with a key that SECRETS_KEY does not name, or damaged. Says nothing of what was sealed."""

    def __init__(self) -> None:
        super().__init__("a stored secret cannot be read: SECRETS_KEY lacks the key that it was sealed with")


def seal(text: str) -> str:
    """`text` encrypted and signed with the newest key, in ASCII."""
    return _keys(tuple(settings.SECRETS_KEYS)).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """What was sealed with any of the keys. Raises `UnsealError`."""
    try:
        return _keys(tuple(settings.SECRETS_KEYS)).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise UnsealError from None


def reseal(sealed: str) -> str:
    """The same secret, sealed with the newest key. Raises `UnsealError`."""
    try:
        return _keys(tuple(settings.SECRETS_KEYS)).rotate(sealed.encode()).decode()
    except InvalidToken:
        raise UnsealError from None


@lru_cache(maxsize=8)
def _keys(texts: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(_key(text)) for text in texts])


def _key(text: str) -> bytes:
    """A Fernet key from a text of any form. The text is to be a long random one: it is not stretched."""
    return base64.urlsafe_b64encode(hashlib.blake2b(text.encode(), key=PURPOSE, digest_size=32).digest())
