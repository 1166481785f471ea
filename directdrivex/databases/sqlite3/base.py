"""SQLite, waiting for its one write lock only as long as the breaker says. Readers wait for nobody (WAL)."""

import sqlite3
from collections.abc import Callable
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from directdrivex.databases.breaker import breaker

LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
TAKES_THE_LOCK = ("BEGIN", "INSERT", "UPDATE", "DELETE", "REPLACE")


def kept_open(path: str) -> sqlite3.Connection:
    """A connection that does nothing but stay: whoever closes the last one removes SQLite's working files.

    They would be made anew for each request, and on a full disk they could not: then nobody could even read.
    """
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens them
    return connection


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(self._patiently)
        self._patience: float | None = None

    def get_new_connection(self, conn_params: Any) -> Any:
        self._patience = None  # that of the settings
        return super().get_new_connection(conn_params)

    def _patiently(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if not breaker.on or self.in_atomic_block or not sql.lstrip()[:7].upper().startswith(TAKES_THE_LOCK):
            return execute(sql, params, many, context)  # within a transaction the lock is held already
        patience = breaker.patience()
        if patience is None:
            raise OperationalError(breaker.why())
        if patience != self._patience:
            self.connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            self._patience = patience
        try:
            result = execute(sql, params, many, context)
        except OperationalError as error:
            # The extended codes, such as that of a database that is being recovered, have the plain one at their end.
            if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF in LOCKED:
                breaker.failed()
            raise
        breaker.worked()
        return result
