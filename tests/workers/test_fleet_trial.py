"""The crowd of `make trials` on several workers, in short: the same code, small numbers, a fixed seed."""

from pathlib import Path

from devtools import fleet_trials, worker_kills
from devtools.fleet_trials import HELD_SECONDS, LEASE_SECONDS, SHORT, Gone, most_held
from uploads.slots.keeper import RENEWALS_A_LEASE


async def test_a_crowd_survives_what_befalls_workers_redis_and_postgresql(tmp_path: Path) -> None:
    with fleet_trials.fleet_of(tmp_path / "fleet", SHORT) as fleet:
        totals = await fleet_trials.run(fleet, seed=11)
    assert totals.tally.equal + totals.tally.cancelled == SHORT.uploads
    assert min(totals.blows[kind] for kind in fleet.blows()) > 0
    assert totals.samples > 0


async def test_a_worker_killed_anywhere_in_a_file_to_drive_is_followed_by_another(tmp_path: Path) -> None:
    with fleet_trials.fleet_of(tmp_path / "fleet", SHORT, on_drive=True) as fleet:
        totals = await worker_kills.run(fleet, times=2, seed=4)
        assert fleet.drive
        assert fleet.drive.open_sessions() == 0
    assert (totals.kills, totals.files) == (2, 2)
    assert totals.sent_again


def test_a_stopped_worker_holds_nothing_any_longer_before_a_lease_of_its_can_be_anothers() -> None:
    assert HELD_SECONDS <= LEASE_SECONDS - LEASE_SECONDS / RENEWALS_A_LEASE


Line = tuple[int, str, str, int, int]


def logged(*lines: Line) -> str:
    """What workers would have said: second, kind, upload, fence and worker of each line."""
    return "\n".join(
        f"2026-01-01T00:00:0{second}.000000Z [info ] slot_{kind} [x] fence={fence} upload={upload} worker={worker}"
        for second, kind, upload, fence, worker in lines
    )


def test_the_logs_of_the_workers_tell_how_many_held_a_slot_at_once() -> None:
    log = logged(
        (0, "held", "a", 1, 10),
        (1, "held", "b", 2, 20),
        (2, "held", "a", 3, 20),  # taken over: one upload still
        (2, "let_go", "a", 1, 10),
        (5, "held", "c", 4, 10),
        (5, "let_go", "a", 3, 20),  # at the same moment: it was let go before
        (6, "held", "d", 5, 10),
    )
    assert most_held(log, []) == 3
    beginning = 1767225600.0
    assert most_held(log, [Gone(20, beginning + 4)]) == 2, "a worker that was killed holds nothing any longer"


def test_who_lost_a_slot_to_another_connection_and_has_not_heard_of_it_holds_none() -> None:
    log = logged(
        (0, "held", "a", 1, 10),
        (1, "held", "a", 2, 20),
        (2, "let_go", "a", 2, 20),
        (3, "held", "b", 3, 20),
        (4, "held", "a", 1, 10),  # read late what it was told before
    )
    assert most_held(log, []) == 1
