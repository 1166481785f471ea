"""A few of the trials on Google Drive: the same code as in `make trials`, small numbers, fixed seeds."""

from collections.abc import Iterator

import pytest

from devtools import drive_trials
from devtools.drive_site import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("drive"), accounts=2)
    yield site
    site.stop()


async def test_faults_mixed_by_chance_and_kills_leave_every_file_equal_and_once(site: Site) -> None:
    totals = await drive_trials.run(site, trials=2, seed=7)
    assert totals.trials == 2
    assert totals.faults.total() >= 2


async def test_after_a_kill_anywhere_little_is_sent_again(site: Site) -> None:
    totals = await drive_trials.kill_again_and_again(site, times=1, seed=3)
    assert totals.kills == 1
