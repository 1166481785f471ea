"""A SHA-256 whose running state can be kept and gone on with in another process. Needs no Django.

hashlib can export no state. The system's libcrypto, on which hashlib stands as well, has a public structure for it
(`SHA256_CTX`: eight words, a count, the block begun), with the same speed and without the interpreter's lock. Where
there is no such library, or it does not compute what it should, `available` is False, and nothing can be kept.
"""

import ctypes
import ctypes.util
import hashlib
import struct

from uploads.storage.base import Buffer

WORDS = struct.Struct(">8IQ")
BLOCK_BYTES = 64


class _Context(ctypes.Structure):
    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("low", ctypes.c_uint32),
        ("high", ctypes.c_uint32),
        ("data", ctypes.c_ubyte * BLOCK_BYTES),
        ("num", ctypes.c_uint),
        ("md_len", ctypes.c_uint),
    )


class _Buffer(ctypes.Structure):
    """CPython's `Py_buffer`, part of its stable interface since 3.11."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _load() -> ctypes.CDLL | None:
    """libcrypto with the functions that are needed, their types set; None where there is none."""
    try:
        library = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
        library.SHA256_Init.argtypes = [ctypes.POINTER(_Context)]
        library.SHA256_Update.argtypes = [ctypes.POINTER(_Context), ctypes.c_void_p, ctypes.c_size_t]
        library.SHA256_Final.argtypes = [ctypes.c_char_p, ctypes.POINTER(_Context)]
    except (OSError, AttributeError):
        return None
    return library


_library = _load()
_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.POINTER(_Buffer)]
_release_buffer.restype = None


class KeptSha256:
    """Like hashlib's, with `state()`; only where `available`."""

    __slots__ = ("_context",)

    def __init__(self) -> None:
        assert _library is not None
        self._context = _Context()
        _library.SHA256_Init(self._context)

    def update(self, block: Buffer) -> None:
        """Hash the block, without the interpreter's lock and without a copy."""
        assert _library is not None
        view = _Buffer()
        _get_buffer(block, view, 0)
        try:
            _library.SHA256_Update(self._context, view.buf, view.len)
        finally:
            _release_buffer(view)

    def hexdigest(self) -> str:
        assert _library is not None
        copy, result = _Context.from_buffer_copy(self._context), ctypes.create_string_buffer(32)
        _library.SHA256_Final(result, copy)
        return result.raw.hex()

    def state(self) -> bytes:
        """The running state, the same on every machine."""
        context = self._context
        count = (context.high << 32 | context.low) // 8
        return WORDS.pack(*context.h, count) + bytes(context.data[: context.num])

    @classmethod
    def resumed(cls, state: bytes) -> "KeptSha256":
        """Go on from what `state` gave. Raises `ValueError` for what is no such state."""
        try:
            *words, count = WORDS.unpack_from(state)
        except struct.error as error:
            raise ValueError("this is no state of a SHA-256") from error
        begun = state[WORDS.size :]
        if len(begun) != count % BLOCK_BYTES:
            raise ValueError("this state of a SHA-256 is not whole")
        digest = cls()
        context = digest._context
        context.h[:] = words
        context.high, context.low = divmod(count * 8, 1 << 32)
        context.data[: len(begun)] = begun
        context.num = len(begun)
        return digest


def _computes_rightly() -> bool:
    """Does this library, stopped and gone on with in the middle of a block, say what hashlib says?"""
    if _library is None:
        return False
    data = bytes(range(256)) * 3
    first = KeptSha256()
    first.update(data[:421])
    second = KeptSha256.resumed(first.state())
    second.update(memoryview(data)[421:])
    return second.hexdigest() == hashlib.sha256(data).hexdigest()


available = _computes_rightly()
