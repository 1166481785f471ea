"""A few of the trials of downloads in `make trials`: the same code, small numbers, a fixed seed."""

import shutil
from pathlib import Path

from devtools import download_trials
from devtools.client import Client
from devtools.drive_site import Site
from devtools.faulty_server import FaultyServer


async def test_breaks_by_chance_cost_no_byte_from_disk(prepared_data_dir: Path, tmp_path: Path) -> None:
    data = shutil.copytree(prepared_data_dir, tmp_path / "data")
    with FaultyServer(data, {"DATABASE_URL": ""}) as server:
        totals = await download_trials.run(server, Client(server.url), trials=4, seed=3)
    assert totals.trials == 4
    assert set(totals.breaks) == {"drop", "broken disk", "kill"}
    assert "never retrieved" not in server.text()


async def test_breaks_by_chance_cost_no_byte_from_drive(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        totals = await download_trials.run_on_drive(site, trials=2, seed=5)
    finally:
        site.stop()
    assert totals.trials == 2
    assert totals.breaks["Drive's fault"] > 0
    assert "never retrieved" not in site.server.text()
    assert "Unclosed" not in site.server.text()
