"""`make bench`: BENCH_MIB (1024) are sent BENCH_RUNS (5) times by each; BENCH_ONLY names the groups that run."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import browser, company, downloads, drive, report, scale, uploads, zips
from bench.install import CACHE
from bench.measure import MIB, Series, make_file, work_folder

Group = Callable[[Path, Path, int], Iterable[Series | scale.Figure]]
GROUPS: dict[str, Group] = {
    "upload": uploads.measure,
    "download": downloads.measure,
    "zip": zips.measure,
    "drive": drive.measure,
    "browser": browser.measure,
    "scale": scale.measure,
    "company": company.measure,
}


def main() -> int:
    size = int(os.environ.get("BENCH_MIB", "1024")) * MIB
    runs = int(os.environ.get("BENCH_RUNS", "5"))
    chosen = [name for name in os.environ.get("BENCH_ONLY", ",".join(GROUPS)).split(",") if name]
    if unknown := set(chosen) - set(GROUPS):
        sys.exit(f"BENCH_ONLY is {', '.join(unknown)}; it may name {', '.join(GROUPS)}.")
    results: report.Results = {}
    with work_folder(CACHE / "work") as home:
        file = make_file(home / "upload.bin", size)
        for name in chosen:
            results |= {result.name: result for result in GROUPS[name](home, file, runs)}
    print(report.write(results, size, runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
