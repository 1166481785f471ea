"""What the tests of slots, of files and of Google Drive stand on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.emulator_process import EmulatorProcess
from directdrivex.env import redis_layer
from uploads.storage import get_store
from uploads.tests.slots_rig import Memo


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the keeper finds its slots; Redis begins with nothing in it."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        settings.CHANNEL_LAYERS = {"default": redis_layer(url)}
        monkeypatch.setattr("uploads.slots.backing.DatabaseRuns", Memo)
    return str(request.param)


@pytest.fixture
def store(settings: Any, tmp_path: Path) -> Iterator[Any]:
    """A store on the disk, with nothing in it: this process's until the end of the test."""
    settings.DATA_DIR = tmp_path
    get_store.cache_clear()
    yield get_store()
    get_store.cache_clear()


@pytest.fixture(scope="session")
def _emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator")) as process:
        yield process


@pytest.fixture
def shared_emulator(_emulator_process: EmulatorProcess) -> EmulatorProcess:
    """One Drive emulator for all tests, without faults at the beginning of each; files and sessions are many's."""
    _emulator_process.clear_faults()
    return _emulator_process
