"""SHA-256 and CRC-32 of a growing object, made as its bytes pass by. Needs no Django."""

import hashlib
from collections.abc import Iterable

from uploads.storage.base import Buffer, Digests

try:
    # A tenth of zlib's processor time: a quarter of a second less per GiB.
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32


class RunningDigest:
    """Both digests over the first `offset` bytes. Updating releases the GIL, so call it from a thread."""

    __slots__ = ("_crc32", "_sha256", "offset")

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self.offset = 0

    def update(self, blocks: Iterable[Buffer]) -> None:
        for block in blocks:
            self._sha256.update(block)
            self._crc32 = crc32(block, self._crc32)
            self.offset += len(block)

    def result(self) -> Digests:
        return Digests(self._sha256.hexdigest(), self._crc32)
