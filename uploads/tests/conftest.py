"""What the tests of the slots stand on."""

from typing import Any

import pytest

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
