"""One file through the page, in a real Chromium, to Google Drive, and back by rclone, which is none of ours.

Part of `make trials`; the same code runs in the tests with a small file.
"""

import hashlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from devtools import machine, rclone, upload_page
from devtools.chromium import Chromium
from devtools.client import PatternSource
from devtools.drive_site import Site
from devtools.emulator_process import FILES
from devtools.processes import bound_to_parent
from devtools.promises import expect

MIB = 1024 * 1024
LARGE_BYTES = 3_624_892_618


@dataclass(frozen=True)
class Journey:
    """A file of `size` bytes that came back equal; times in seconds, `memory` the server's above idle in bytes."""

    size: int
    sent_in: float
    read_in: float
    memory: int

    def __str__(self) -> str:
        return (
            f"{self.size:,} bytes in {self.sent_in:.0f} s ({self.size / self.sent_in / 1e6:.0f} MB/s), "
            f"{self.memory / MIB:.0f} MiB above idle at the end; read back in {self.read_in:.0f} s"
        )


def run(folder: Path, size: int, seed: int) -> Journey:
    """Send a file of `size` bytes and compare what rclone reads. Raises `TrialFailedError`, `RuntimeError`."""
    folder.mkdir(exist_ok=True)
    file = folder / "film.bin"
    sha256 = write(file, PatternSource(size, seed))
    site = Site(folder / "site", program=("manage.py", "serve"), ENABLE_UPLOAD_LIMITS="false")
    try:
        idle, process = site.server.memory(), psutil.Process(site.server.pid)
        written = process.io_counters().write_bytes
        browser = Chromium()
        try:
            sent_in = upload_page.send(browser.open(f"{site.server.url}/"), file) / 1000
        finally:
            browser.stop()
        memory, written = site.server.memory() - idle, process.io_counters().write_bytes - written
        expect(written < size / 2, f"the server wrote {written} bytes to its own disk")
        file.unlink()
        # Digests that nobody needs would take the emulator as long as the upload.
        found = site.emulator.files(FILES, fields="nextPageToken,files(name,sha256Checksum)")
        expect(len(found) == 1, f"Drive has {len(found)} files")
        [on_drive] = found
        expect(on_drive["sha256Checksum"] == sha256, "what is on Drive differs from what was chosen on the page")
        began = time.monotonic()
        expect(
            digest_by_rclone(site, folder, on_drive["name"]) == sha256, "what rclone reads differs from what was sent"
        )
        expect(site.emulator.open_sessions() == 0, "a session is still open")
        return Journey(size, sent_in, time.monotonic() - began, memory)
    finally:
        site.stop()


def write(path: Path, source: PatternSource) -> str:
    """Put the source's bytes into a file; returns their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for offset in range(0, source.size, 8 * MIB):
            block = source.read(offset, 8 * MIB)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def digest_by_rclone(site: Site, folder: Path, name: str) -> str:
    """The SHA-256 of what `rclone cat` prints. Raises `TrialFailedError` where it fails."""
    command = [machine.rclone(), "cat", f"{rclone.REMOTE}{name}"]
    environment = rclone.environment(site.emulator, folder)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, **bound_to_parent()) as process:
        assert process.stdout
        digest = hashlib.sha256()
        while block := process.stdout.read(MIB):
            digest.update(block)
    expect(process.returncode == 0, f"rclone ended with {process.returncode}")
    return digest.hexdigest()
