"""How many WebSocket frames are worked off: a frame costs some ten microseconds however small it is. Needs no Django.

Whoever sends a million empty ones waits, not everybody else; and a hundred who each keep to their own allowance wait
for the one that they share. Control frames are for keeping a connection, and no client needs more than a few.
"""

from collections.abc import Callable

FRAMES_A_SECOND, FRAMES_AT_ONCE = 20_000, 40_000
ALL_FRAMES_A_SECOND, ALL_FRAMES_AT_ONCE = 30_000, 60_000
CONTROLS_A_SECOND, CONTROLS_AT_ONCE = 10, 200


class Budget:
    """So many a second, and so many at once."""

    def __init__(self, a_second: float, at_once: float, clock: Callable[[], float]) -> None:
        self._a_second, self._at_once, self._clock = a_second, at_once, clock
        self._left, self._counted_at = float(at_once), clock()

    def spend(self, count: int) -> float:
        """Count `count` more; returns the seconds until the budget is in order again, 0 where it is."""
        now = self._clock()
        earned = (now - self._counted_at) * self._a_second
        self._left, self._counted_at = min(self._at_once, self._left + earned) - count, now
        return max(0.0, -self._left / self._a_second)


class FrameBudgets:
    """The budgets of one connection, and what it shares with all others of this process."""

    _all: Budget | None = None

    def __init__(self, clock: Callable[[], float]) -> None:
        if FrameBudgets._all is None:
            FrameBudgets._all = Budget(ALL_FRAMES_A_SECOND, ALL_FRAMES_AT_ONCE, clock)
        self._frames = Budget(FRAMES_A_SECOND, FRAMES_AT_ONCE, clock)
        self._controls = Budget(CONTROLS_A_SECOND, CONTROLS_AT_ONCE, clock)

    def pause_after(self, frames: int) -> float:
        """Seconds to stop reading after so many frames. A few, as large ones come, wait for their own budget alone."""
        assert FrameBudgets._all is not None
        own, shared = self._frames.spend(frames), FrameBudgets._all.spend(frames)
        return max(own, shared) if frames > 8 else own

    def too_many_controls(self) -> bool:
        """Count a ping or pong of the client; True where a connection is only there to send them."""
        return self._controls.spend(1) > 0
