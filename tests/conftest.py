"""Fixtures of the tests that speak to the real program."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.server_process import ServerProcess, prepare
from tests.doors_rig import NAME, PASSWORD, open_all


@pytest.fixture(scope="session")
def prepared_with_admin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with its database migrated and seeded, and the admin `NAME`, to be copied."""
    folder = tmp_path_factory.mktemp("prepared-with-admin")
    prepare({"DATA_DIR": str(folder), "ADMIN_EMAIL": NAME, "ADMIN_PASSWORD": PASSWORD})
    return folder


@pytest.fixture
def folder_with_admin(prepared_with_admin: Path, tmp_path: Path) -> Path:
    """A copy of it, for DATA_DIR."""
    return Path(shutil.copytree(prepared_with_admin, tmp_path / "with-admin"))


@pytest.fixture(scope="module")
def wire_server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One program for all tests of a module that leave it as they found it."""
    data = tmp_path_factory.mktemp("wire") / "data"
    shutil.copytree(prepared_data_dir, data)
    with ServerProcess(data, {"UPLOAD_IDLE_SECONDS": "3"}) as server:
        yield server


@pytest.fixture(scope="module")
def proxied_server(prepared_with_admin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One program behind a proxy that it trusts, so that a test can come from any address; with one admin."""
    data = tmp_path_factory.mktemp("doors") / "data"
    shutil.copytree(prepared_with_admin, data)
    with ServerProcess(data, {"TRUSTED_PROXIES": "127.0.0.1"}) as server:
        yield server


@pytest.fixture
def guarded(proxied_server: ServerProcess) -> Iterator[ServerProcess]:
    """That program with all doors open, and open again afterwards."""
    yield proxied_server
    open_all(proxied_server)
