"""The peers, installed below `.cache/bench` from the machine's own package indexes; never part of this repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from devtools import machine

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
PYTHON = CACHE / "peers" / "bin" / "python"
PYTHON_PEERS = ["tuspyserver>=4.4,<5", "copyparty>=1.20,<2", "uvicorn[standard]>=0.54,<0.55", "websockets>=17,<18"]
PYTHON_PEERS += ["starlette"]
NODE_PEERS = ["@tus/server@2", "@tus/file-store@2", "tus-js-client@4"]


def python_peers() -> Path:
    """The Python of an environment with tuspyserver, copyparty and what the bare sink needs."""
    stamp = CACHE / "python-peers"
    if not (stamp.is_file() and stamp.read_text() == repr(PYTHON_PEERS)):
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(CACHE / "peers")], check=True)
        if uv := shutil.which("uv"):
            command = [uv, "pip", "install", "-q", "--python", str(PYTHON)]
        else:
            command = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-q"]
        subprocess.run([*command, *PYTHON_PEERS], check=True)
        stamp.write_text(repr(PYTHON_PEERS))
    return PYTHON


def node_peers() -> Path:
    """The folder whose node_modules hold the tus server and client."""
    stamp = CACHE / "node-peers"
    if not (stamp.is_file() and stamp.read_text() == repr(NODE_PEERS)):
        machine.need("Node.js", ("node",), ("nodejs", "npm"))
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "package.json").write_text('{"private": true}\n')
        subprocess.run(["npm", "install", "--no-fund", "--no-audit", "--silent", *NODE_PEERS], cwd=CACHE, check=True)
        stamp.write_text(repr(NODE_PEERS))
    return CACHE


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}
