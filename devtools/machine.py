"""The programs that tests need besides Python: found on the machine, or installed by apt-get when we are root."""

import fcntl
import functools
import glob
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

APT_LOCK = Path(tempfile.gettempdir()) / "directdrivex-apt.lock"


class MissingToolError(Exception):
    """A program is not on this machine and could not be installed; the message says which and what to do."""


def find(*names: str) -> str | None:
    """The first of these programs that PATH or a pattern such as `/usr/lib/postgresql/*/bin/initdb` has."""
    for name in names:
        if "*" in name:
            matches = sorted(glob.glob(name), reverse=True)
            if matches:
                return matches[0]
        elif found := shutil.which(name):
            return found
    return None


@functools.cache
def _apt_get_update() -> None:
    _apt_get("update", "-q")


def _apt_get(*arguments: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-q", "-y", *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise MissingToolError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-500:]}")


def install(*packages: str) -> None:
    """Install Debian packages. Raises `MissingToolError` where that cannot be done."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingToolError(f"please install {' '.join(packages)} (Debian's names; `make test` can as root)")
    with APT_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _apt_get_update()
        _apt_get("install", "--no-install-recommends", *packages)


def need(what: str, names: tuple[str, ...], packages: tuple[str, ...]) -> str:
    """The path of a program, installed first if need be. Raises `MissingToolError` where there is none."""
    if path := find(*names):
        return path
    try:
        install(*packages)
    except MissingToolError as error:
        raise MissingToolError(f"{what} is missing: {error}") from None
    if path := find(*names):
        return path
    raise MissingToolError(f"{what} is still missing after {' '.join(packages)} was installed")


def chromium() -> str:
    """The path of Chromium, with fonts for Hindi and for emoji."""
    path = need("Chromium", ("chromium", "chromium-browser", "google-chrome"), ("chromium",))
    if not glob.glob("/usr/share/fonts/**/NotoSansDevanagari*", recursive=True) and os.geteuid() == 0:
        install("fonts-noto-core", "fonts-noto-color-emoji")
    return path


def chromium_without_windows() -> str:
    """The path of Chromium's own headless shell, which takes a third of the processor; of Chromium where there is none.

    It shows no PDF, and has no extensions.
    """
    whole = chromium()
    try:
        return need("Chromium's headless shell", ("chromium-headless-shell",), ("chromium-headless-shell",))
    except MissingToolError:
        return whole


def nginx() -> str:
    # nginx-core lacks the DAV module; nginx-light and nginx-extras have it. The package's own service is not started.
    return need("nginx", ("nginx", "/usr/sbin/ngin*x"), ("nginx-light",))


def rclone() -> str:
    return need("rclone", ("rclone",), ("rclone",))


def unzip() -> str:
    """The path of Info-ZIP's `unzip`."""
    return need("unzip", ("unzip",), ("unzip",))


def seven_zip() -> str:
    return need("7-Zip", ("7z", "7zz", "7za"), ("p7zip-full",))


def bsdtar() -> str:
    return need("bsdtar", ("bsdtar",), ("libarchive-tools",))


def aria2() -> str:
    return need("aria2", ("aria2c",), ("aria2",))


def wget() -> str:
    return need("wget", ("wget",), ("wget",))


def ffmpeg(program: str) -> str:
    """The path of one of FFmpeg's programs, `ffmpeg` or `ffprobe`."""
    return need("FFmpeg", (program,), ("ffmpeg",))


def postgresql(program: str) -> str:
    """The path of one of PostgreSQL's server programs, such as `initdb`."""
    if path := find(f"/usr/lib/postgresql/*/bin/{program}", program):
        return path
    no_cluster = Path("/etc/postgresql-common/createcluster.d/directdrivex-tests.conf")
    if os.geteuid() == 0 and shutil.which("apt-get"):
        # Debian's package would make and start a server of the machine's own on the well-known port.
        no_cluster.parent.mkdir(parents=True, exist_ok=True)
        no_cluster.write_text("create_main_cluster = false\n")
    try:
        return need("PostgreSQL", (f"/usr/lib/postgresql/*/bin/{program}", program), ("postgresql",))
    finally:
        no_cluster.unlink(missing_ok=True)


def redis_server() -> str:
    """The path of the Redis server."""
    names = ("redis-server", "valkey-server")
    if path := find(*names):
        return path
    no_services = Path("/usr/sbin/policy-rc.d")
    ours = os.geteuid() == 0 and bool(shutil.which("apt-get")) and not no_services.exists()
    if ours:
        # Debian's package would start a server of the machine's own on the well-known port.
        no_services.write_text("#!/bin/sh\nexit 101\n")
        no_services.chmod(0o755)
    try:
        return need("Redis", names, ("redis-server",))
    finally:
        if ours:
            no_services.unlink(missing_ok=True)


def systemd_analyze() -> str:
    """The path of the program that reads systemd's units without running them."""
    return need("systemd", ("systemd-analyze",), ("systemd",))
