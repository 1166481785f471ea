"""What the tests of slots and of Google Drive stand on."""

from collections.abc import Iterator
from typing import Any

import pytest

from devtools.emulator_process import EmulatorProcess
from directdrivex.env import redis_layer
from uploads.tests.slots_rig import Memo


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the keeper finds its slots; Redis begins with nothing in it."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        settings.CHANNEL_LAYERS = {"default": redis_layer(url)}
        monkeypatch.setattr("uploads.slots.backing.DatabaseRuns", Memo)
    return str(request.param)


@pytest.fixture(scope="session")
def _emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    process = EmulatorProcess(tmp_path_factory.mktemp("emulator"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def shared_emulator(_emulator_process: EmulatorProcess) -> EmulatorProcess:
    """One Drive emulator for all tests, without faults at the beginning of each; files and sessions are many's."""
    _emulator_process.clear_faults()
    return _emulator_process
