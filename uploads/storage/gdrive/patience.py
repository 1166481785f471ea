"""How long the Drive store waits for what, and how it tries again. Needs no Django."""

from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay, wait_random

from uploads.storage.gdrive.errors import DriveBusyError


@dataclass(frozen=True)
class Patience:
    """All in seconds.

    `connect`, `answer`: for a connection, and for the answer to a call or to the last byte of a chunk. `stall`: for the
    next bytes to be taken while a chunk is on its way. `idle`: without a byte from the sender a chunk is broken off.
    `first` and `longest`: the pauses between tries, which double; `enough`: all tries of one call together. `brief`:
    the same where another account may do it instead.
    """

    connect: float = 10.0
    answer: float = 60.0
    stall: float = 30.0
    idle: float = 10.0
    first: float = 1.0
    longest: float = 64.0
    enough: float = 90.0
    brief: float = 10.0

    def tries(self, *, brief: bool = False) -> AsyncRetrying:
        """Contexts to try one call in, as often as Drive is only busy; the pause that it asks for goes before ours."""
        jitter = wait_random(0, self.first)

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, DriveBusyError) and error.retry_after is not None:
                return error.retry_after
            return min(self.first * 2 ** (state.attempt_number - 1) + jitter(state), self.longest)

        return AsyncRetrying(
            retry=retry_if_exception_type(DriveBusyError),
            wait=pause,
            stop=stop_before_delay(self.brief if brief else self.enough),
            reraise=True,
        )
