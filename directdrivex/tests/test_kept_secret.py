"""The secret that an installation makes for itself at its first start."""

import stat
import threading
from pathlib import Path

from directdrivex.env import kept_secret


def test_all_processes_that_start_together_have_the_same_whole_secret(tmp_path: Path) -> None:
    for number in range(50):
        path, told, start = tmp_path / f"data {number}" / "secret_key", [], threading.Barrier(8)

        def ask(path: Path = path, told: list[str] = told, start: threading.Barrier = start) -> None:
            start.wait()
            told.append(kept_secret(path))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [path.read_text()] * 8
        assert len(told[0]) > 50
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(path.parent.iterdir()) == [path]
