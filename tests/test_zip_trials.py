"""A few of the trials of ZIPs in `make trials`: the same code, small numbers, a fixed seed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import zip_trials
from devtools.client import Client
from devtools.faulty_server import FaultyServer
from devtools.zip_trials import MIB, Break, Plan, Totals


@pytest.fixture(scope="module")
def server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    data = tmp_path_factory.mktemp("zip-trials") / "data"
    shutil.copytree(prepared_data_dir, data)
    with FaultyServer(data, {"DATABASE_URL": ""}) as server:
        yield server


async def test_every_break_in_one_download_costs_no_byte(server: FaultyServer) -> None:
    breaks = [Break(at / 16, kind) for at, kind in enumerate(("cut", "broken disk", "kill") * 2, 1)]
    totals = Totals()
    sizes = [0, 5 * MIB, 1000, 1, 9 * MIB, 30 * MIB]  # the last is more than lies in buffers when the rest is broken
    async with Client(server.url) as client:
        await zip_trials.one_trial(server, client, Plan(sizes, 1, breaks), totals)
    assert totals.breaks == {"cut": 2, "broken disk": 2, "kill": 2}
    assert "was never retrieved" not in server.text()


async def test_breaks_by_chance_cost_no_byte(server: FaultyServer) -> None:
    assert (await zip_trials.run(server, Client(server.url), trials=3, seed=6)).trials == 3
    assert "was never retrieved" not in server.text()
