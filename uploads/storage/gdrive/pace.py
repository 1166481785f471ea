"""How long a Drive chunk is: its length is fixed when it opens, and is what the sender delivers in 20 s.

Needs no Django. A chunk that is long for its sender is one that breaks and is sent again; one that is short costs an
answer of Drive's for little.
"""

import time
from collections import deque
from collections.abc import Callable

QUANTUM_BYTES = 256 * 1024  # Drive keeps multiples of this, but for the end of a file
LONGEST_BYTES = 16 * 1024 * 1024
MEMORY_SECONDS = 20.0


def chunk_bytes(delivered: int, remaining: int) -> int:
    """The length of the next chunk, where so much was `delivered` lately and so much of the file is `remaining`."""
    length = min(max(delivered // QUANTUM_BYTES * QUANTUM_BYTES, QUANTUM_BYTES), LONGEST_BYTES)
    return min(length, remaining)


class Pace:
    """What the sender delivered in the last 20 s, in bytes.

    A sender that once kept a chunk waiting is `halting`: until it delivers two quanta in 20 s, its bytes are gathered
    before a chunk opens, which its pauses could only break.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moved: deque[tuple[float, int]] = deque()
        self._delivered = 0
        self._paused = False

    def count(self, length: int) -> None:
        self._moved.append((self._clock(), length))
        self._delivered += length

    def pause(self) -> None:
        """The sender kept an open chunk waiting for too long."""
        self._paused = True

    @property
    def delivered(self) -> int:
        start = self._clock() - MEMORY_SECONDS
        while self._moved and self._moved[0][0] < start:
            self._delivered -= self._moved.popleft()[1]
        return self._delivered

    @property
    def halting(self) -> bool:
        self._paused = self._paused and self.delivered < 2 * QUANTUM_BYTES
        return self._paused
