"""What lies where: `partial/<key>.part` while files grow, `files/<k>/<key>` when they are whole. Needs no Django.

After a reboot the operating system may have lost what was not synced; a small `<key>.sync` file beside the partial one
holds the last synced offset and the boot it belongs to, and what lies beyond it is cut off.
"""

import json
import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from uploads.storage.base import checked_key
from uploads.storage.digest import RunningDigest

DIGESTS_KEPT = 1024  # running digests of uploads whose connection was lost; a few hundred bytes each

Written = tuple[int, int, int]


def written(file: os.stat_result) -> Written:
    """What is another as soon as somebody has written to the file."""
    return file.st_ino, file.st_size, file.st_mtime_ns


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _boot_id() -> str:
    """What tells this boot of the machine from the one before; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class SyncMark:
    """The first `offset` bytes were synced to the disk, in the boot named `boot`."""

    boot: str
    offset: int

    def true_offset(self, length: int, boot: str, size: int) -> int:
        """How much of a partial file of `length` bytes is really there, in `boot`; at most `size`."""
        known = bool(self.boot) and self.boot == boot
        return min(length, size) if known else min(length, size, self.offset)


class Layout:
    """The files under `root`, of whose disk at least `free_space_floor` bytes stay free, and what is known of them.

    All of it is to be called from a thread.
    """

    def __init__(self, root: Path, free_space_floor: int = 0) -> None:
        self._root, self._floor = root, free_space_floor
        self._boot = _boot_id()
        self._digests: OrderedDict[str, tuple[RunningDigest, Written]] = OrderedDict()
        self._suspects: dict[str, int] = {}
        for folder in (root / "partial", root / "files"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def free_bytes(self) -> int:
        """What the disk has free beyond the floor, in bytes; may be negative."""
        state = os.statvfs(self._root)
        return state.f_bavail * state.f_frsize - self._floor

    # Paths are made of checked keys only, never of names.

    def partial_path(self, key: str) -> Path:
        return self._root / "partial" / f"{checked_key(key)}.part"

    def sync_path(self, key: str) -> Path:
        return self._root / "partial" / f"{checked_key(key)}.sync"

    def _fresh_sync_path(self, key: str) -> Path:
        return self._root / "partial" / f"{checked_key(key)}.sync-new"

    def whole_path(self, key: str) -> Path:
        """The second name of a partial file that is about to become final."""
        return self._root / "partial" / f"{checked_key(key)}.whole"

    def final_path(self, key: str) -> Path:
        return self._root / "files" / checked_key(key)[:2] / key

    def _copies(self, key: str) -> list[Path]:
        """What `taking.py` has in the making, or left behind."""
        return list((self._root / "partial").glob(f"{checked_key(key)}.part-*"))

    def _all_paths(self, key: str) -> list[Path]:
        paths = (self.final_path, self.partial_path, self.sync_path, self._fresh_sync_path, self.whole_path)
        return [*(path_of(key) for path_of in paths), *self._copies(key)]

    # --- how much of a partial file is really there ---

    def write_sync_mark(self, key: str, offset: int) -> SyncMark:
        """Keep that the first `offset` bytes were synced, in this boot."""
        path, fresh = self.sync_path(key), self._fresh_sync_path(key)
        with open(fresh, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({"boot": self._boot, "offset": offset}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        return SyncMark(self._boot, offset)

    def _read_sync_mark(self, key: str) -> SyncMark:
        try:
            mark = json.loads(self.sync_path(key).read_text())
            return SyncMark(str(mark["boot"]), max(0, int(mark["offset"])))
        except (OSError, ValueError, KeyError, TypeError):
            return SyncMark("", 0)  # a mark that cannot be read proves nothing

    def suspect(self, key: str, offset: int) -> None:
        """What lies beyond `offset` may not be on the disk, whatever the file says."""
        self._suspects[key] = offset

    def cleared(self, key: str) -> None:
        """The file was cut to what is surely there."""
        self._suspects.pop(key, None)

    # --- how far it is hashed ---

    def keep_digest(self, key: str, digest: RunningDigest, descriptor: int) -> None:
        """Remember a digest for the upload's return to this process."""
        self._digests[key] = digest, written(os.fstat(descriptor))
        while len(self._digests) > DIGESTS_KEPT:
            self._digests.popitem(last=False)

    def _take_digest(self, key: str, file: os.stat_result, offset: int) -> RunningDigest:
        """The one that this process kept, where nobody has written to the file since."""
        digest, was_written = self._digests.pop(key, (RunningDigest(), None))
        return digest if was_written == written(file) and digest.offset <= offset else RunningDigest()

    # --- which folder it is ---

    def name_here(self) -> str:
        state = self._root.stat()
        return f"{state.st_dev}:{state.st_ino}"

    def sign(self, node: str) -> None:
        sign = self._sign_path(node)
        sign.parent.mkdir(mode=0o700, exist_ok=True)
        sign.touch(mode=0o600)

    def is_signed_by(self, node: str) -> bool:
        return self._sign_path(node).exists()

    def _sign_path(self, node: str) -> Path:
        return self._root / "nodes" / re.sub(r"[^\w.-]", "_", node)
