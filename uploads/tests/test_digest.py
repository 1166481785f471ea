"""The digests of a growing object, with the fast CRC-32 and without it."""

import hashlib
import importlib
import os
import sys
import zlib

import pytest

from uploads.storage import digest


@pytest.mark.parametrize("with_isal", [True, False])
def test_the_digests_are_the_same_on_a_machine_without_isal(with_isal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_isal:
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    module = importlib.reload(digest)
    try:
        assert with_isal or module.crc32 is zlib.crc32
        blocks = [os.urandom(100_000), bytearray(b""), memoryview(os.urandom(7)), bytearray(os.urandom(70_000))]
        running = module.RunningDigest()
        running.update(blocks[:2])
        running.update(blocks[2:])
        data = b"".join(blocks)
        assert running.offset == len(data)
        assert running.result().sha256 == hashlib.sha256(data).hexdigest()
        assert running.result().crc32 == zlib.crc32(data)
    finally:
        monkeypatch.undo()
        importlib.reload(digest)
