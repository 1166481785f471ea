"""A few of `make trials`: the same code, small numbers, a fixed seed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import trials
from devtools.blows import KINDS, Blow, CutClient, Field
from devtools.faulty_server import FaultyServer


@pytest.fixture(scope="module")
def server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    data = tmp_path_factory.mktemp("trials") / "data"
    shutil.copytree(prepared_data_dir, data)
    with FaultyServer(data, trials.SETTINGS | {"DATABASE_URL": ""}) as server:
        yield server


@pytest.fixture
def ground(server: FaultyServer) -> Field:
    return Field(server, CutClient(server.url))


async def test_blows_by_chance_lose_nothing(ground: Field) -> None:
    totals = await trials.run([ground], trials=3, seed=20)
    assert totals.trials == 3
    assert totals.blows.total() >= 3
    trials.nothing_is_left_to_mend(ground.server)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_blow_in_mid_upload_and_one_while_it_is_verified(ground: Field, kind: str) -> None:
    sizes = [20 * trials.MIB, 4 * trials.MIB, 0]
    seconds = min(0.5, KINDS[kind].seconds)
    plan = trials.Plan(sizes, 1, [Blow(5 * trials.MIB, kind, seconds, 1), Blow(sum(sizes) + 1, kind, seconds, 2)])
    totals = trials.Totals()
    async with ground.client:
        await trials.one_trial(ground, plan, totals)
    assert totals.blows == {kind: 2}
