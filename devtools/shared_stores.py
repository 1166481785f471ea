"""Stores for servers of several workers, so that tests written for one process run over `TEST_WORKERS=2` as they are.

What `prepared_data_dir` is for SQLite, which is copied with the folder, a note in the folder is here: it names the
database that belongs to it, and a copy of the folder gets a copy of the database.
"""

import functools
import itertools
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

NOTE = "database-of-this-folder"
REDIS_DATABASES = 1024

_numbers = itertools.count()


def new_database(url: str, template: str = "template1") -> str:
    """The URL of a new database on the PostgreSQL of `url`, a copy of that which `template` names."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def name_of(database: str) -> str:
    """How its PostgreSQL calls the database of this URL."""
    return urlsplit(database).path.strip("/")


def environment(data_dir: str) -> dict[str, str]:
    """What a server on this folder needs to run as several workers; empty unless a run of tests asks for it."""
    workers = os.environ.get("TEST_WORKERS")
    return {"WORKERS": workers, **_stores_of(data_dir)} if workers else {}


@functools.cache
def _stores_of(data_dir: str) -> dict[str, str]:
    note = Path(data_dir) / NOTE
    database = new_database(os.environ["TEST_POSTGRES_URL"], note.read_text() if note.exists() else "template1")
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(name_of(database))
    redis = urlsplit(os.environ["TEST_REDIS_URL"])._replace(path=f"/{next(_numbers) % REDIS_DATABASES}")
    return {"DATABASE_URL": database, "REDIS_URL": urlunsplit(redis)}
