"""One socket upload of one file, to us and to the peers in turns."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.measure import Run, Series, timed, warm_memory, work_folder
from bench.peers import PEERS, Peer
from bench.raw import RawError
from devtools.machine import MissingToolError


def run_once(peer: Peer, home: Path, file: Path) -> Run:
    """A fresh server, one small upload so that nothing is measured that happens once, then the file."""
    size = file.stat().st_size
    with work_folder(home) as folder:
        first = folder / "first.bin"
        first.write_bytes(bytes(1024 * 1024))
        server = peer.start(folder)
        try:
            peer.send(server, first)
            warm_memory(folder, size)
            return timed(server.pid, size, lambda: peer.send(server, file))
        finally:
            server.stop()


def measure(home: Path, file: Path, runs: int) -> Iterable[Series]:
    every = {peer.name: Series(peer.name) for peer in PEERS}
    for number in range(runs):
        for peer in PEERS:
            series = every[peer.name]
            if series.failure:
                continue
            try:
                run = run_once(peer, home, file)
            except (MissingToolError, RawError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
                series.failure = f"{type(error).__name__}: {error}"
                print(f"{peer.name}: {series.failure}", flush=True)
                continue
            series.runs.append(run)
            print(f"run {number + 1}  {run.rate:7.0f} MB/s  {run.cpu:5.2f} CPU s/GiB  {peer.name}", flush=True)
    return every.values()
