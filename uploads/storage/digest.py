"""SHA-256 and CRC-32 of a growing object, made as its bytes pass by. Needs no Django."""

import hashlib
from collections.abc import Iterable
from typing import Protocol

from uploads.storage import kept_sha256
from uploads.storage.base import Buffer, Digests
from uploads.storage.kept_sha256 import KeptSha256

try:
    # A tenth of zlib's processor time: a quarter of a second less per GiB.
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32

LOST = "the server was restarted in the middle of the upload and could not keep the state of its SHA-256"


class Hasher(Protocol):
    def update(self, block: Buffer, /) -> None: ...
    def hexdigest(self) -> str: ...


class RunningDigest:
    """Both digests over the first `offset` bytes. Updating releases the GIL, so call it from a thread."""

    __slots__ = ("_crc32", "_sha256", "offset")

    def __init__(self, sha256: Hasher | None = None) -> None:
        self._sha256: Hasher | None = hashlib.sha256() if sha256 is None else sha256
        self._crc32 = 0
        self.offset = 0

    def update(self, blocks: Iterable[Buffer]) -> None:
        for block in blocks:
            if self._sha256 is not None:
                self._sha256.update(block)
            self._crc32 = crc32(block, self._crc32)
            self.offset += len(block)

    def result(self) -> Digests:
        if self._sha256 is None:
            return Digests(None, self._crc32, LOST)
        return Digests(self._sha256.hexdigest(), self._crc32)

    # What follows is for stores whose bytes cannot be read again cheaply.

    @classmethod
    def kept(cls) -> "RunningDigest":
        """One whose state can be kept, where this machine can do so at all."""
        return cls(KeptSha256() if kept_sha256.available else None)

    @property
    def state(self) -> tuple[int, int, bytes | None]:
        """(offset, CRC-32, state of the SHA-256 or None where it cannot be kept), to go on from by `resumed`."""
        state = self._sha256.state() if isinstance(self._sha256, KeptSha256) else None
        return self.offset, self._crc32, state

    @classmethod
    def resumed(cls, offset: int, crc32_so_far: int, state: bytes | None) -> "RunningDigest":
        """Go on from a kept state; where that of the SHA-256 is lost, `result` has none and says so."""
        digest = cls.kept()
        if offset:
            digest._sha256 = _gone_on_with(state)
        digest.offset, digest._crc32 = offset, crc32_so_far
        return digest


def _gone_on_with(state: bytes | None) -> KeptSha256 | None:
    if state is None or not kept_sha256.available:
        return None
    try:
        return KeptSha256.resumed(state)
    except ValueError:
        return None  # damaged: as good as lost
