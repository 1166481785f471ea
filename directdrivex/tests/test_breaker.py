"""Who waits for a database that is away, and who is spared it."""

from directdrivex.databases.breaker import BETWEEN_TRIES_SECONDS, PATIENCE_SECONDS, TRY_SECONDS, Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def failing() -> tuple[Breaker, Clock]:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.on = True
    breaker.failed()
    return breaker, clock


def test_everybody_has_patience_with_a_database_that_answers() -> None:
    breaker = Breaker(Clock())
    breaker.on = True
    assert [breaker.patience() for _ in range(3)] == [PATIENCE_SECONDS] * 3


def test_once_somebody_waited_in_vain_the_others_are_refused_at_once_and_told_why() -> None:
    breaker, clock = failing()
    assert [breaker.patience() for _ in range(3)] == [None] * 3
    clock.now += 0.9 * BETWEEN_TRIES_SECONDS
    assert breaker.patience() is None
    assert breaker.why() == "the database has not answered for 1 s"


def test_one_at_a_time_tries_again() -> None:
    breaker, clock = failing()
    clock.now += BETWEEN_TRIES_SECONDS
    assert [breaker.patience() for _ in range(3)] == [TRY_SECONDS, None, None]
    clock.now += TRY_SECONDS
    assert breaker.patience() is None
    breaker.failed()
    clock.now += BETWEEN_TRIES_SECONDS
    assert [breaker.patience() for _ in range(3)] == [TRY_SECONDS, None, None]


def test_who_tried_and_never_told_how_it_went_is_followed_by_the_next() -> None:
    breaker, clock = failing()
    clock.now += BETWEEN_TRIES_SECONDS
    assert breaker.patience() == TRY_SECONDS
    clock.now += 10 * TRY_SECONDS
    assert breaker.patience() == TRY_SECONDS


def test_one_who_is_served_opens_it_for_everybody() -> None:
    breaker, _clock = failing()
    breaker.worked()
    assert breaker.patience() == PATIENCE_SECONDS
    assert not breaker.failing


def test_a_command_waits_as_long_as_it_must() -> None:
    breaker = Breaker(Clock())
    breaker.failed()
    assert not breaker.failing
