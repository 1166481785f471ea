"""What a sender wishes for a file or a batch when it is announced."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wishes:
    """`expires_in` is in seconds from completion on; None: no such limit; an empty hash: no password."""

    password_hash: str = ""
    max_downloads: int | None = None
    expires_in: int | None = None

    def columns(self) -> dict[str, Any]:
        """As the columns of the row."""
        return {
            "password_hash": self.password_hash,
            "max_downloads": self.max_downloads,
            "expires_in": self.expires_in,
        }


NONE = Wishes()
