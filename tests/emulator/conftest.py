"""One emulator for all tests here: each leaves no fault behind, and minds only its own files."""

from collections.abc import Iterator

import pytest

from devtools.emulator_process import EmulatorProcess
from tests.emulator.rig import Drive


@pytest.fixture(scope="session")
def shared_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator")) as emulator:
        yield emulator
    assert "Traceback" not in emulator.text()


@pytest.fixture
def drive(shared_emulator: EmulatorProcess) -> Iterator[Drive]:
    yield Drive(shared_emulator)
    shared_emulator.clear_faults()
