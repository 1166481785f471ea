"""PostgreSQL, waiting for an answer only as long as the breaker says, and leaving no dead connection in the pool."""

from collections.abc import Callable
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

from directdrivex.databases import breaker as patience
from directdrivex.databases.breaker import breaker


class PatientConnection(psycopg.Connection[Any]):
    """A server that takes connections and does not answer is left after a while; libpq itself waits for ever."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None or not breaker.on:
            return super().wait(gen, interval, timeout)
        bound = patience.TRY_SECONDS if breaker.failing else patience.PATIENCE_SECONDS
        try:
            return super().wait(gen, interval, bound)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # still waiting for the answer
                breaker.failed()
                self.close()
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(self._watch)

    def connect(self) -> None:
        if not breaker.on:
            return super().connect()
        if breaker.patience() is None:
            raise self.Database.OperationalError(breaker.why())
        try:
            return super().connect()
        except self.Database.OperationalError:  # the pool's own, that none was to be had in time, is one too
            breaker.failed()
            raise

    def _watch(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        try:
            result = execute(sql, params, many, context)
        except (OperationalError, InterfaceError):
            if self.connection is not None and self.connection.closed and self.pool:
                self.pool.drain()  # the server was restarted, or is away: those that lie there are as dead as this one
            raise
        breaker.worked()
        return result
