"""What one worker says of itself. Needs no Django."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from uploads.intake.registry import TransferView
from uploads.slots.admission import MemoryReading


@dataclass(frozen=True)
class Process:
    """One process: its memory in bytes, the processor time that it has used in seconds."""

    host: str
    pid: int
    started_at: float
    resident_bytes: int
    cpu_seconds: float
    open_files: int


@dataclass(frozen=True)
class Report:
    """One worker at one moment. Sizes in bytes.

    `worker` is its name, `node` that of the machine or container whose memory it uses, `memory` what that has;
    `folder` is what its machine calls the folder that it stores in, empty where that is none; `secret` tells its
    SECRET_KEY from others.
    """

    worker: str
    node: str
    folder: str
    secret: str
    process: Process
    memory: MemoryReading
    buffer_limit: int
    buffered_bytes: int
    connections: int
    downloads: int = 0  # that run, and that wait for one to end
    downloads_waiting: int = 0
    transfers: tuple[TransferView, ...] = ()

    def dumps(self) -> str:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))


def loads(text: str | bytes) -> Report | None:
    """A report of the same version of the program; None for one of another, as during a rolling restart."""
    try:
        given: dict[str, Any] = json.loads(text)
        return Report(
            **given
            | {
                "process": Process(**given["process"]),
                "memory": MemoryReading(**given["memory"]),
                "transfers": tuple(TransferView(**view) for view in given["transfers"]),
            }
        )
    except (ValueError, TypeError, KeyError):
        return None
