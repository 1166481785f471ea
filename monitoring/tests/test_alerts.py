"""When the bell rings. No database, no clock."""

import pytest

from monitoring import alerts
from monitoring.alerts import StuckWatch, idle_while_waiting
from uploads.slots.manager import LeaseView, SlotSnapshot, TicketView, WaitingFor
from uploads.storage.gdrive.conditions import Condition

GIB = 1024**3


def codes(found):
    return [alert.code for alert in found]


def lease(upload_id, person="a"):
    return LeaseView(upload_id, person, 8, 1, 3.0, 27.0, True)


def ticket(upload_id, person="a", reason=WaitingFor.GLOBAL_SLOTS, connected=True):
    return TicketView(upload_id, person, 1, reason, 9.0, None, connected)


def slots(leases=(), tickets=(), total=2, per_person=1):
    return SlotSnapshot("memory", True, total, per_person, tuple(leases), tuple(tickets))


def test_memory_above_80_percent_rings_and_80_does_not():
    assert codes(alerts.memory_alerts(80.0, 2 * GIB)) == []
    assert codes(alerts.memory_alerts(80.1, 2 * GIB)) == ["memory_high"]


def test_less_than_500_mib_available_rings_even_at_a_low_percentage():
    assert codes(alerts.memory_alerts(10.0, 500 * 1024**2)) == []
    (alert,) = alerts.memory_alerts(10.0, 500 * 1024**2 - 1)
    assert (alert.code, alert.sentence) == ("memory_low", "Only 499 MiB of memory are available.")


def test_both_memory_alerts_can_ring_at_once():
    (high, low) = alerts.memory_alerts(97.4, 100 * 1024**2)
    assert high.sentence == "97 % of the memory is in use."
    assert low.sentence == "Only 100 MiB of memory are available."


@pytest.mark.parametrize(
    ("completed", "failed", "rings"),
    [(8, 2, False), (7, 3, True), (0, 9, False), (0, 10, True), (80, 20, False), (79, 21, True), (0, 0, False)],
)
def test_failures_ring_above_20_percent_of_at_least_ten_ended_uploads(completed, failed, rings):
    assert codes(alerts.failure_alerts(completed, failed)) == (["failure_rate"] if rings else [])


def test_a_failing_storage_rings_with_its_cause():
    assert alerts.storage_alerts(ok=True, detail="") == []
    (alert,) = alerts.storage_alerts(ok=False, detail="no space left: 100 % full")
    assert alert.sentence == "The storage is failing: no space left: 100 % full"


def test_violations_and_an_unreachable_slot_store_ring():
    assert alerts.slot_alerts("", []) == []
    assert codes(alerts.slot_alerts("connection refused", [])) == ["slots_unavailable"]
    (one,) = alerts.slot_alerts("", ["three leases at a cap of two"])
    assert one.sentence == "The slots break a rule: three leases at a cap of two"
    (two,) = alerts.slot_alerts("", ["x", "y"])
    assert two.sentence == "The slots break 2 rules: x; y"


def test_who_waits_while_a_slot_is_free_for_them_is_noticed():
    assert idle_while_waiting(slots([lease("1")], [ticket("2", "b")])) == {"2"}


def test_nobody_is_stuck_while_all_slots_are_taken():
    assert idle_while_waiting(slots([lease("1"), lease("2", "b")], [ticket("3", "c")])) == frozenset()


def test_a_person_at_the_cap_waits_for_a_reason():
    assert idle_while_waiting(slots([lease("1")], [ticket("2", "a", WaitingFor.USER_SLOTS)])) == frozenset()


@pytest.mark.parametrize("reason", [WaitingFor.MEMORY, WaitingFor.STORAGE, WaitingFor.PAUSED, WaitingFor.RECOVERY])
def test_who_waits_for_something_else_than_slots_is_not_stuck(reason):
    assert idle_while_waiting(slots([], [ticket("1", reason=reason)])) == frozenset()


def test_who_lost_the_connection_cannot_take_a_slot_and_is_not_stuck():
    assert idle_while_waiting(slots([], [ticket("1", connected=False)])) == frozenset()


def test_the_queue_is_stuck_only_after_more_than_a_poll_or_two():
    watch = StuckWatch()
    waiting = slots([], [ticket("1")])
    assert alerts.stuck_alerts(*watch.look(waiting, 100.0)) == []
    assert alerts.stuck_alerts(*watch.look(waiting, 104.9)) == []
    (alert,) = alerts.stuck_alerts(*watch.look(waiting, 105.0))
    assert (alert.code, alert.values) == ("queue_stuck", {"seconds": 5, "waiting": 1})


def test_a_line_that_moves_is_never_stuck_however_long_it_is():
    watch = StuckWatch()
    for second in range(100):
        assert alerts.stuck_alerts(*watch.look(slots([], [ticket(f"{second // 3}")]), float(second))) == []


def test_accounts_that_take_no_file_ring_once_for_each_reason():
    found = alerts.account_alerts(
        {
            "a": Condition.FAILING,
            "b": Condition.TRYING,
            "c": Condition.FULL,
            "d": Condition.WELL,
            "e": Condition.SPENT,
            "f": Condition.STRAINED,
            "g": Condition.UNKNOWN,
        }
    )
    assert [(alert.code, alert.sentence) for alert in found] == [
        ("drive_account_failing", "2 Drive accounts fail: a, b"),
        ("drive_account_full", "A Drive account is full: c"),
        ("drive_account_spent", "A Drive account has spent its day: e"),
    ]
    assert alerts.account_alerts({}) == []
