"""One socket upload of one file, to us and to the peers in turns."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from bench.measure import Run, Series, timed, warm_memory, work_folder
from bench.peers import PEERS, Peer


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
            every[peer.name].add(number, partial(run_once, peer, home, file))
    return every.values()
