"""Taking an upload from a writer that holds its lock and does not let go: a stopped process, say. Needs no Django.

The prefix is copied to a new file, and hashed on the way; then the new file takes the old one's name. Whoever has the
old file open can go on writing to it and harms nothing: a writer that finds its file without a name tells nobody that
anything was stored.
"""

import os
from pathlib import Path

from uploads.storage.base import StorageFullError, StorageUnavailableError
from uploads.storage.digest import RunningDigest

BLOCK_BYTES = 4 * 1024 * 1024
STEP_BYTES = 16 * BLOCK_BYTES  # between two steps, whoever waits for the copy can go away


class Copy:
    """The new file in the making: `step` until it returns True, then `take_name`. To be called from a thread.

    `new` is open for writing, locked and empty, at the path `fresh`; `old` is the file at the path `part`, of which the
    last `missing` bytes cannot be trusted; all that its writer adds, while it is alive, can.
    """

    def __init__(self, part: Path, fresh: Path, old: int, new: int, size: int, missing: int) -> None:
        self._part, self._fresh, self._old, self._size = part, fresh, old, size
        self._missing = missing
        self.descriptor, self.digest = new, RunningDigest()

    @property
    def offset(self) -> int:
        return self.digest.offset

    def step(self, free: int) -> bool:
        """Copy some; True when it has caught up. Raises `StorageFullError` beyond `free` bytes."""
        goal = min(self._true_length(), self.offset + STEP_BYTES)
        if goal - self.offset > free:
            raise StorageFullError("the disk has no room for a second copy of what a stopped writer holds")
        self._copy_to(goal)
        if self.offset < self._true_length():
            return False
        os.fdatasync(self.descriptor)
        return True

    def take_name(self) -> None:
        """From now on the new file is the upload. What the old writer told its client by now is in it."""
        os.replace(self._fresh, self._part)
        # A writer looks for its file's name after each write, before it tells of it: nothing told comes after this.
        self._copy_to(self._true_length())
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        """Done with the old file."""
        os.close(self._old)

    def give_up(self) -> None:
        """Leave the upload to others."""
        self.close()
        self._fresh.unlink(missing_ok=True)
        os.close(self.descriptor)

    def _true_length(self) -> int:
        return min(os.fstat(self._old).st_size - self._missing, self._size)

    def _copy_to(self, goal: int) -> None:
        while self.offset < goal:
            start = self.offset
            block = os.pread(self._old, min(BLOCK_BYTES, goal - start), start)
            if not block:
                raise StorageUnavailableError("the partial file became shorter while it was copied")
            view = memoryview(block)
            while view:
                view = view[os.pwrite(self.descriptor, view, start + len(block) - len(view)) :]
            self.digest.update([block])
