"""When what was sent may be had, and when a download is the same as one before. Needs no Django."""

from datetime import datetime, timedelta

MIB = 1024 * 1024

# A download that broke off is resumed within this time, or counts as another; an unlocked door stays open as long.
RESUMABLE = timedelta(hours=24)
# Programs ask for a range again that was lost on its way, and several connections overlap: so often the file's size
# belongs to one download, if it is asked for in ranges.
GIVEN_UP_TO = 2
# Bytes are noted before they are given, in steps: at most a file's 32nd part, and never less than this.
LEAST_STEP = MIB
STEPS = 32

SHORTEST_LIFE, LONGEST_LIFE = 60, 3650 * 24 * 3600  # seconds
MOST_DOWNLOADS = 1_000_000
LONGEST_PASSWORD = 256


def lock_of(own: str, of_batch: str) -> str:
    """The hash of the password that opens a file: its own, else that of its batch; empty: it is not locked."""
    return own or of_batch


def is_password(text: str) -> bool:
    """Whether this can be a password: not only spaces, not too long, and no half of a surrogate pair in it."""
    has_halves = any("\ud800" <= letter <= "\udfff" for letter in text[: LONGEST_PASSWORD + 1])
    return bool(text.strip()) and len(text) <= LONGEST_PASSWORD and not has_halves


def is_used_up(downloads: int, max_downloads: int | None) -> bool:
    return max_downloads is not None and downloads >= max_downloads


def step(size: int) -> int:
    """How many bytes of a download of this size are noted at a time."""
    return max(LEAST_STEP, size // STEPS)


def end_of(completed_at: datetime, wished: int | None, retention_end: datetime | None) -> datetime | None:
    """Until when a file can be downloaded that was completed then; `wished` is in seconds. None: it is kept.

    Nobody gets more than the operator keeps.
    """
    if wished is None:
        return retention_end
    end = completed_at + timedelta(seconds=wished)
    return end if retention_end is None else min(end, retention_end)
