"""Django's sessions in the database, for a key that could be one."""

import re

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore

KEY = re.compile(r"[0-9a-z]{8,40}")


class SessionStore(DatabaseSessionStore):
    """Asks the database for no other key than Django makes.

    A quoted cookie can hold any byte, NUL included, at which PostgreSQL raises: whoever sent one would get a 500 at
    every address.
    """

    def _validate_session_key(self, key: str | None) -> bool:
        return key is not None and KEY.fullmatch(key) is not None
