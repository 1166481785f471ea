"""The circuit breaker of a storage: closed, open, half-open."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from uploads.storage.breaker import TRY, Circuit, State, Temper

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
TEMPER = Temper(failures=3, first=timedelta(seconds=10), longest=timedelta(seconds=60))


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def failed(times: int, at: datetime = NOON) -> Circuit:
    circuit = Circuit()
    for _ in range(times):
        circuit = circuit.failed(at, TEMPER)
    return circuit


def test_a_few_failures_leave_it_closed() -> None:
    assert failed(2).state(NOON) is State.CLOSED
    assert failed(2).since == NOON


def test_too_many_in_a_row_open_it_for_a_while() -> None:
    circuit = failed(3)
    assert circuit.state(NOON + seconds(9.9)) is State.OPEN
    assert circuit.state(NOON + seconds(10)) is State.HALF_OPEN


def test_one_success_forgets_the_failures_before() -> None:
    assert failed(2).worked().failed(NOON, TEMPER).state(NOON) is State.CLOSED


def test_while_one_tries_nobody_else_goes_through() -> None:
    later = NOON + seconds(10)
    circuit = failed(3).tried(later)
    assert circuit.state(later) is State.OPEN
    assert circuit.state(later + TRY) is State.HALF_OPEN, "a try that nobody reported of does not shut it for good"


def test_a_try_that_works_closes_it() -> None:
    assert failed(3).tried(NOON + seconds(10)).worked() == Circuit()


def test_a_try_that_fails_opens_it_for_twice_as_long() -> None:
    circuit, now = failed(3), NOON
    for pause in (20, 40, 60, 60):
        assert circuit.retry_at is not None
        now = circuit.retry_at
        circuit = circuit.tried(now).failed(now, TEMPER)
        assert circuit.retry_at == now + seconds(pause)
    assert circuit.since == NOON


def test_an_answered_question_lets_work_be_tried_and_forgives_nothing() -> None:
    later = NOON + seconds(10)
    circuit = failed(3).tried(later).on_probation(TEMPER)
    assert circuit.state(later) is State.CLOSED
    again = circuit.failed(later, TEMPER)
    assert again.retry_at == later + seconds(20)
    assert circuit.worked() == Circuit()


def test_those_who_were_under_way_when_it_opened_make_it_no_worse() -> None:
    circuit = failed(20)
    assert circuit.retry_at == NOON + seconds(10)
    assert circuit.failures == 20


def test_some_faults_open_it_at_once() -> None:
    assert Circuit().failed(NOON, TEMPER, at_once=True).state(NOON) is State.OPEN


@given(st.lists(st.tuples(st.sampled_from(["failed", "worked", "try"]), st.integers(0, 100)), max_size=60))
def test_it_is_never_shut_for_longer_than_its_longest_pause(steps: list[tuple[str, int]]) -> None:
    circuit, now = Circuit(), NOON
    for what, pause in steps:
        now += seconds(pause)
        state = circuit.state(now)
        if what == "try" and state is State.HALF_OPEN:
            circuit = circuit.tried(now)
        elif what == "failed":
            circuit = circuit.failed(now, TEMPER)
        elif what == "worked":
            circuit = circuit.worked()
        assert circuit.state(now + max(TEMPER.longest, TRY)) is not State.OPEN
        assert (circuit.since is None) == (circuit.failures == 0)
