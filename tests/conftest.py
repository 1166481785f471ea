"""Fixtures of the tests that speak to the real program."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.server_process import ServerProcess, prepare
from tests.doors_rig import NAME, PASSWORD, open_all


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


@pytest.fixture(scope="module")
def proxied_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One program behind a proxy that it trusts, so that a test can come from any address; with one admin."""
    data = tmp_path_factory.mktemp("doors")
    values = {"ADMIN_EMAIL": NAME, "ADMIN_PASSWORD": PASSWORD, "TRUSTED_PROXIES": "127.0.0.1"}
    prepare({"DATA_DIR": str(data), **values})
    server = ServerProcess(data, values)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def guarded(proxied_server: ServerProcess) -> Iterator[ServerProcess]:
    """That program with all doors open, and open again afterwards."""
    yield proxied_server
    open_all(proxied_server)
