"""The targets, each beside what was measured in this run; a row without a figure says why."""

from collections.abc import Callable
from dataclasses import dataclass

from bench import browser, company, downloads, drive, peers, scale, zips
from bench.install import CACHE
from bench.measure import MIB, Series
from bench.scale import Figure

Results = dict[str, Series | Figure]
NOT_RUN = "its group did not run (BENCH_ONLY)"


class NoFigureError(Exception):
    """Why a row has no figure."""


@dataclass(frozen=True)
class Target:
    what: str
    target: str
    measured: Callable[[Results], str]


def rate(results: Results, name: str) -> float:
    series = results.get(name)
    if not isinstance(series, Series):
        raise NoFigureError(NOT_RUN)
    if not series.runs:
        raise NoFigureError(f"{name}: {series.failure}")
    return series.rate


def against(ours: str, *others: str) -> Callable[[Results], str]:
    """Our rate over that of the fastest of the others that could be measured."""

    def measured(results: Results) -> str:
        rates, missing = {}, []
        for name in others:
            try:
                rates[name] = rate(results, name)
            except NoFigureError as why:
                missing.append(str(why))
        if not rates:
            raise NoFigureError("; ".join(missing))
        fastest = max(rates, key=lambda name: rates[name])
        return f"{rate(results, ours) / rates[fastest]:.2f} × ({fastest})" + "".join(f"; {why}" for why in missing)

    return measured


def both(*parts: Callable[[Results], str]) -> Callable[[Results], str]:
    return lambda results: "; ".join(part(results) for part in parts)


def figure(*names: str) -> Callable[[Results], str]:
    def measured(results: Results) -> str:
        found = [results.get(name) for name in names]
        return "; ".join(part.text if isinstance(part, Figure) else f"no figure: {NOT_RUN}" for part in found)

    return measured


def above_idle(*names: str) -> Callable[[Results], str]:
    """The most memory that each took above what the server had before, in MiB."""

    def measured(results: Results) -> str:
        found = [results.get(name) for name in names]
        most = [max(run.memory - run.idle for run in one.runs) for one in found if isinstance(one, Series) and one.runs]
        return " MiB, ".join(f"{part:.0f}" for part in most) + " MiB"

    return measured


OURS, DAPHNE = peers.OURS.name, peers.OURS_DAPHNE.name
PLAIN = [peers.TUS_NODE.name, peers.TUS_PYTHON.name, peers.COPYPARTY_PLAIN.name]
TARGETS = [
    Target(
        "one socket upload, verified, against the fastest peer with a digest; without one",
        "≥ 1.0 ×; ≥ 0.7 ×",
        both(against(OURS, peers.COPYPARTY.name), against(OURS, *PLAIN)),
    ),
    Target("the same against nginx DAV PUT, default buffers", "≥ 1.0 ×", against(OURS, peers.NGINX.name)),
    Target("the same, SERVER=daphne, against @tus/server", "≥ 1.0 ×", against(DAPHNE, peers.TUS_NODE.name)),
    Target(
        "our handling against a bare ASGI sink that writes, digests aside",
        "≥ 0.9 ×",
        both(*(against(peers.OURS_BARE.name, sink.name) for sink in (peers.SINK_LOOP, peers.SINK_THREAD))),
    ),
    Target(
        "browser upload, verified, against XHR PUT to a bare sink; against tus-js-client to @tus/server",
        "≥ 0.8 ×; ≥ 1.5 ×",
        both(*(against(browser.OURS, other) for other in (browser.XHR, browser.TUS, browser.SOCKET))),
    ),
    Target(
        "memory per active upload, storage slower than the network",
        "≤ window + 1 MiB; 100 of 10 GB < 1 GiB",
        figure(scale.BUSY),
    ),
    Target("memory per idle or queued socket", "≤ 60 KiB", figure(scale.SOCKET)),
    Target(
        "cost growth: CPU per GiB at 100 uploads; acquire and release with 10,000 in the queue",
        "≤ 1.2 ×; ≤ 2 ×",
        figure(scale.GROWTH, scale.SLOTS, scale.REDIS_SLOTS),
    ),
    Target("slots in Redis, granted and given back", "measured: docs/capacity.md", figure(scale.REDIS_RATE)),
    Target("initiation, 20 uploads running", "p99 < 100 ms", figure(scale.INITIATION)),
    Target("an honest upload beside one hostile client, against alone", "≥ its share, 0.5 ×", figure(company.BESIDE)),
    Target("Drive path against rclone copyto", "≥ 1.5 ×", against(drive.OURS, drive.RCLONE)),
    Target(
        "download, one file, against nginx; against Starlette FileResponse",
        "≥ 0.5 ×; ≥ 1.0 ×",
        both(against(downloads.OURS, downloads.NGINX), against(downloads.OURS, downloads.STARLETTE)),
    ),
    Target("its first byte", "measured", figure(downloads.FIRST_BYTE)),
    Target("memory of a download that nobody reads", "measured", figure(downloads.UNREAD)),
    Target(
        "ZIP of 1,000 files of 1 MiB: rate against the single file; first byte; memory above idle, against it",
        "≥ 0.7 ×; < 100 ms; flat",
        both(against(zips.OURS, zips.SINGLE), figure(zips.FIRST_BYTE), above_idle(zips.OURS, zips.SINGLE)),
    ),
]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def series_table(results: Results) -> list[str]:
    lines = [
        _row("what", "MB/s", "lowest to highest", "CPU s per GiB", "peak memory MiB", "above idle MiB"),
        _row(*["---"] * 6),
    ]
    for series in results.values():
        if isinstance(series, Figure):
            continue
        if not series.runs:
            lines.append(_row(series.name, f"no figure: {series.failure}", "", "", "", ""))
            continue
        rates = [run.rate for run in series.runs]
        above = max(run.memory - run.idle for run in series.runs)
        lines.append(
            _row(
                series.name,
                f"{series.rate:.0f}",
                f"{min(rates):.0f} to {max(rates):.0f}",
                f"{series.median('cpu'):.2f}",
                f"{series.median('memory'):.0f}",
                f"{above:.0f}",
            )
        )
    return lines


def targets_table(results: Results) -> list[str]:
    lines = [_row("what", "target", "measured"), _row("---", "---", "---")]
    for target in TARGETS:
        try:
            measured = target.measured(results)
        except NoFigureError as why:
            measured = f"no figure: {why}"
        lines.append(_row(target.what, target.target, measured))
    return lines


def write(results: Results, size: int, runs: int) -> str:
    """Both tables as Markdown, also kept in `.cache/bench/report.md`."""
    title = f"\nMedians of {runs} runs of {size // MIB} MiB that alternate (a browser sends at most 512 MiB a run).\n"
    text = "\n".join([title, *series_table(results), "", *targets_table(results)])
    (CACHE / "report.md").write_text(text + "\n")
    return text
