"""Fixtures of the tests that speak to the real program."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.server_process import ServerProcess


@pytest.fixture(scope="module")
def wire_server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One program for all tests of a module that leave it as they found it."""
    import shutil

    data = tmp_path_factory.mktemp("wire") / "data"
    shutil.copytree(prepared_data_dir, data)
    server = ServerProcess(data, {"UPLOAD_IDLE_SECONDS": "3"})
    server.start()
    yield server
    server.stop()
