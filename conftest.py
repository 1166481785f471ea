"""What every test stands on: settings of our own in a temporary folder, and the real program as a process.

Databases. A run uses SQLite, or with `TEST_DATABASE=postgresql` a private PostgreSQL that it starts itself. What must
hold on both is marked `@pytest.mark.every_database`; `make test` runs everything on SQLite and then
`TEST_DATABASE=postgresql pytest -m every_database`, and so can you.

Servers. `server` is the real program on a free port with a data folder of its own; `start_server(**environment)`
starts one with other settings. See `devtools/server_process.py`. What must hold behind both servers is marked
`@pytest.mark.every_server`; with `TEST_SERVER=daphne` every program that a test starts is served by daphne. With
`TEST_WORKERS=2` every program that names no store of its own runs as two workers over a private PostgreSQL and Redis.

`emulator` is a Google Drive on this machine, with faults on request. See `devtools/emulator_process.py`.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

if TYPE_CHECKING:
    from devtools.redis import PrivateRedis

ROOT = Path(__file__).resolve().parent


def _environment_of_our_own() -> Path:
    """Set the environment before Django reads it: nothing of the developer's .env or shell leaks into a test."""
    data = Path(tempfile.mkdtemp(prefix="directdrivex-tests-"))
    for line in (ROOT / ".env.example").read_text().splitlines():
        name, equals, _ = line.lstrip("# ").partition("=")
        if equals and name.isupper():
            os.environ[name] = ""  # empty means unset, and wins over .env
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "directdrivex.settings",
        "ENVIRONMENT": "development",
        "SECRET_KEY": "a key for tests only, which protects nothing at all",
        "DATA_DIR": str(data),
        "LOG_LEVEL": "warning",
    }
    return data


DATA = _environment_of_our_own()
POSTGRES = None
if os.environ.get("TEST_DATABASE") == "postgresql":
    from devtools.postgres import PrivatePostgres

    POSTGRES = PrivatePostgres()
    os.environ["DATABASE_URL"] = POSTGRES.url

STORES: list[Any] = []
if os.environ.get("TEST_WORKERS"):
    from devtools.postgres import PrivatePostgres
    from devtools.redis import PrivateRedis
    from devtools.shared_stores import REDIS_DATABASES

    STORES = [PrivatePostgres(), PrivateRedis(databases=str(REDIS_DATABASES))]
    os.environ["TEST_POSTGRES_URL"], os.environ["TEST_REDIS_URL"] = (store.url for store in STORES)

import django  # noqa: E402 - after the environment is set
from django.conf import settings  # noqa: E402
from django.core.management.color import no_style  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import TransactionTestCase  # noqa: E402
from django.utils import translation  # noqa: E402

from devtools.emulator_process import EmulatorProcess  # noqa: E402
from devtools.server_process import ServerProcess, prepare  # noqa: E402

django.setup()  # test modules import models, and pytest-django sets up only what pyproject.toml names

# In this process only, where hundreds of accounts are made and each client of a test is a program of its own. The real
# program, which other processes run, hashes passwords slowly and serves its static files.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.SERVESTATIC_USE_FINDERS = settings.SERVESTATIC_USE_STATIC_ROOT = False


def _empty_tables(test: TransactionTestCase) -> None:
    """Leave the database as Django would after a test that commits, in a tenth of the time.

    Django makes the types of content and the permissions anew after each, which took longer than most tests. Here they
    stay: no test changes them.
    """
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    kept = {"django_content_type", "auth_permission"}
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables - kept)))


TransactionTestCase._fixture_teardown = _empty_tables


def pytest_unconfigure(config: pytest.Config) -> None:
    for store in STORES:
        store.stop()
    if POSTGRES:
        POSTGRES.stop()
    shutil.rmtree(DATA, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_language_of_another_test() -> Iterator[None]:
    """A page that a test asked for in Hindi leaves its language to the thread, and so to whatever test comes next."""
    yield
    translation.deactivate()


@pytest.fixture(scope="session")
def prepared_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with its database migrated and seeded, to be copied."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare({"DATA_DIR": str(folder)})
    return folder


@pytest.fixture
def start_server(prepared_data_dir: Path, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts the real program, as often as it is called; keyword arguments are environment variables.

    Each has a data folder of its own, a prepared one unless the test names a DATA_DIR or another database.
    """
    servers, numbers = ExitStack(), itertools.count()

    def start(**environment: str) -> ServerProcess:
        data = Path(environment.pop("DATA_DIR", tmp_path / f"server-{next(numbers)}"))
        if not data.exists():
            shutil.copytree(prepared_data_dir, data)
        values = {"SECRET_KEY": os.environ["SECRET_KEY"], **environment}
        if values.get("DATABASE_URL"):
            prepare({**values, "DATA_DIR": str(data)})
        return servers.enter_context(ServerProcess(data, values))

    with servers:
        yield start


@pytest.fixture
def server(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """The real program with its default settings."""
    return start_server()


@pytest.fixture
def start_emulator(tmp_path: Path) -> Iterator[Callable[[], EmulatorProcess]]:
    """Starts a Drive emulator with a folder of its own, as often as it is called."""
    emulators, numbers = ExitStack(), itertools.count()

    def start() -> EmulatorProcess:
        return emulators.enter_context(EmulatorProcess(tmp_path / f"emulator-{next(numbers)}"))

    with emulators:
        yield start


@pytest.fixture
def emulator(start_emulator: Callable[[], EmulatorProcess]) -> EmulatorProcess:
    """A Drive emulator without files or faults."""
    return start_emulator()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a private PostgreSQL, for a server process that is to stand on it."""
    if POSTGRES:
        yield POSTGRES.url
        return
    from devtools.postgres import PrivatePostgres

    postgres = PrivatePostgres()
    yield postgres.url
    postgres.stop()


@pytest.fixture(scope="session")
def private_redis() -> Iterator["PrivateRedis"]:
    """A private Redis that all tests share; one that breaks it starts its own."""
    from devtools.redis import PrivateRedis

    redis = PrivateRedis()
    yield redis
    redis.stop()


@pytest.fixture
def redis_url(private_redis: "PrivateRedis") -> str:
    """The URL of a Redis with nothing in it, for REDIS_URL of a server process or for a client of the test's own."""
    with redis.Redis.from_url(private_redis.url) as client:
        client.flushall()
    return private_redis.url
