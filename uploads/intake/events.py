"""What can happen to an upload connection, and the socket as its conversation sees it. Needs no Django."""

from dataclasses import dataclass
from typing import Any, Protocol

from uploads.errors import UploadError
from uploads.intake.protocol import ClientMessage, Finish


class Connection(Protocol):
    """The socket: messages are sent in the person's language; a peer that does not read is given up on."""

    async def send(self, message: dict[str, Any]) -> None: ...
    async def send_error(self, error: UploadError) -> None: ...
    async def close(self, code: int, reason: str) -> None: ...
    def links(self, file_id: str) -> dict[str, str]: ...


class ConnectionLost(Exception):
    """The client is gone, or closed with `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


@dataclass(frozen=True)
class Fault:
    """Something that ends the conversation."""

    error: Exception


@dataclass(frozen=True)
class SlotChanged:
    """The upload's standing in line may be another."""


@dataclass(frozen=True)
class Opened:
    """The storage has opened the upload, or failed to."""


@dataclass(frozen=True)
class RowChanged:
    """Somebody changed the file's state elsewhere."""


@dataclass(frozen=True)
class Drained:
    """All that came before this `finish` has been given to the storage."""

    finish: Finish


@dataclass(frozen=True)
class Verified:
    """The verification that this connection listens to is over."""


Event = ClientMessage | Fault | SlotChanged | RowChanged | Opened | Drained | Verified
