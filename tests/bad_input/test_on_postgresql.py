"""What reaches the database, once more on PostgreSQL, which is stricter about text than SQLite: it takes no NUL."""

from collections.abc import Iterator

import pytest

from devtools.client import Client
from devtools.server_process import ServerProcess, prepare
from tests.bad_input.calls import CALLS
from tests.bad_input.conftest import Treasure
from tests.bad_input.test_addresses import try_cursors, try_ids
from tests.bad_input.test_headers import HARMLESS, try_calls
from tests.bad_input.test_json_fields import FIELDS, Field, try_field


@pytest.fixture(scope="module")
def server(postgresql_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data = tmp_path_factory.mktemp("bad-input-postgresql")
    environment = {"DATABASE_URL": postgresql_url, "UPLOAD_IDLE_SECONDS": "3"}
    prepare({**environment, "DATA_DIR": str(data)})
    with ServerProcess(data, environment) as server:
        yield server


@pytest.mark.parametrize("field", [field for field in FIELDS if field.name in ("filename", "content_type")], ids=str)
async def test_text_in_a_field(server: ServerProcess, treasure: Treasure, field: Field) -> None:
    await try_field(server, field)


@pytest.mark.parametrize("name", ["Cookie", "X-Request-ID"])
async def test_text_in_a_header(server: ServerProcess, treasure: Treasure, name: str) -> None:
    await try_calls(server, treasure, "headers on PostgreSQL", CALLS, name, HARMLESS[name])


async def test_text_in_an_address(server: ServerProcess, treasure: Treasure, client: Client) -> None:
    await try_ids(server, treasure)
    await try_cursors(server, client)
