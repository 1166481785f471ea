"""What a sender wishes for a file or a batch when it is announced."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Wishes:
    """`expires_in` is in seconds from completion on; None: no such limit; an empty hash: no password."""

    password_hash: str = ""
    max_downloads: int | None = None
    expires_in: int | None = None

    def within(self, batch: "Wishes") -> "Wishes":
        """Those for a file of this batch, whose limit of downloads holds for each of its files, or it is in vain."""
        return self if self.max_downloads is not None else replace(self, max_downloads=batch.max_downloads)

    def columns(self) -> dict[str, Any]:
        """As the columns of the row."""
        return {
            "password_hash": self.password_hash,
            "max_downloads": self.max_downloads,
            "expires_in": self.expires_in,
        }


NONE = Wishes()
