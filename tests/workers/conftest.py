"""Two servers that are one program, for all tests of a module."""

from collections.abc import Callable, Iterator

import pytest

from devtools.redis import PrivateRedis
from devtools.server_process import ServerProcess, prepare
from devtools.shared_stores import name_of, new_database
from tests.workers.crew import COMMON, Crew

MakeCrew = Callable[..., Crew]


@pytest.fixture(scope="session")
def template(postgresql_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that is migrated and seeded, to be copied."""
    database = new_database(postgresql_url)
    prepare({**COMMON, "DATABASE_URL": database, "DATA_DIR": str(tmp_path_factory.mktemp("template"))})
    return name_of(database)


@pytest.fixture(scope="module")
def make_crew(
    template: str, postgresql_url: str, private_redis: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeCrew]:
    """Makes what servers share, as often as it is called; keyword arguments are their environment."""
    crews: list[Crew] = []

    def make(**environment: str) -> Crew:
        database = new_database(postgresql_url, template)
        crew = Crew(tmp_path_factory.mktemp("crew"), database, private_redis.url, **environment)
        crews.append(crew)
        return crew

    yield make
    for crew in crews:
        crew.dismiss()


@pytest.fixture(scope="module")
def pair(make_crew: MakeCrew) -> tuple[ServerProcess, ServerProcess]:
    """Two workers with two slots; a test leaves both as it found them."""
    crew = make_crew(MAX_CONCURRENT_UPLOADS="2")
    return crew.hire(), crew.hire()
