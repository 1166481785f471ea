"""The upload socket does what the model of wire.md says, whatever is said to it in whatever order."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import wire_model
from devtools.client import Client
from devtools.server_process import ROOT, ServerProcess, program_environment
from tests.bad_input.conftest import slots_are_free, started


@pytest.fixture(scope="module")
def server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with started(prepared_data_dir, tmp_path_factory, **wire_model.ENVIRONMENT) as server:
        yield server


def test_every_answer_is_one_that_the_model_allows(server: ServerProcess) -> None:
    wire_model.compare(server, examples=40, steps=25)


async def test_after_all_of_it_no_slot_is_held_and_the_books_are_right(server: ServerProcess) -> None:
    async with Client(server.url) as client:
        await slots_are_free(client)
    environment = program_environment({"DATA_DIR": str(server.data_dir), **server.overrides})
    checked = subprocess.run(
        [sys.executable, "manage.py", "slots", "--check"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
