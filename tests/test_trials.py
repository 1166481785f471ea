"""A few of `make trials`: the same code, small numbers, a fixed seed."""

from devtools import trials
from devtools.client import Client
from devtools.server_process import ServerProcess


async def test_a_server_killed_again_and_again_loses_nothing(server: ServerProcess) -> None:
    totals = await trials.run(server, trials=3, seed=20)
    assert totals.trials == 3
    assert totals.kills >= 3
    trials.cleanup_finds_nothing(server)


async def test_a_server_killed_while_it_verifies_completes_the_file_afterwards(server: ServerProcess) -> None:
    totals, size = trials.Totals(), 64 * trials.MIB
    async with Client(server.url) as client:
        await trials.one_trial(server, client, trials.Plan(size, seed=1, points=[size + 1]), totals)
    assert totals.kills_while == {"verifying": 1}
