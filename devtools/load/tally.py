"""What the people of a run met: counts, times and faults, and the report made of them."""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024
FAULTS_SHOWN = 20


@dataclass
class Tally:
    """`faults` are sentences on what must not happen; `codes` all refusals, those that a retry mended included."""

    equal: int = 0
    downloads_equal: int = 0
    cancelled: int = 0
    bytes: int = 0
    connections: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    initiations: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def ended(self) -> int:
        return self.equal + self.cancelled

    def report(self, uploads: int) -> dict[str, Any]:
        """Everything as one document; times in seconds, sizes in bytes."""
        unfinished = uploads - self.ended - len(self.faults)
        faults = self.faults + ([f"{unfinished} uploads were not over in time"] if unfinished > 0 else [])
        return {
            "uploads": uploads,
            "equal": self.equal,
            "cancelled_as_planned": self.cancelled,
            "downloads_equal": self.downloads_equal,
            "elapsed_seconds": round(self.elapsed, 2),
            "uploads_per_second": round(self.equal / self.elapsed, 2),
            "bytes_per_second": round(self.bytes / self.elapsed),
            "connections": self.connections,
            "steps": dict(self.steps),
            "wait_seconds": percentiles(self.waits),
            "initiation_seconds": percentiles(self.initiations),
            "refusals_by_code": dict(self.codes.most_common()),
            "faults": faults,
        }


def percentiles(times: list[float]) -> dict[str, float]:
    """The median, the 95th and the 99th of a hundred, and the longest."""
    if not times:
        return {}
    hundredths = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    shown = {"p50": hundredths[49], "p95": hundredths[94], "p99": hundredths[98], "max": max(times)}
    return {name: round(value, 4) for name, value in shown.items()}


def in_words(report: dict[str, Any]) -> str:
    """The report for a person."""

    def times(name: str) -> str:
        return ", ".join(f"{key} {1000 * value:.0f} ms" for key, value in report[name].items()) or "none"

    def counts(name: str) -> str:
        return ", ".join(f"{count} × {key}" for key, count in report[name].items()) or "none"

    lines = [
        f"{report['uploads']} uploads in {report['elapsed_seconds']:.1f} s: {report['equal']} equal, "
        f"{report['cancelled_as_planned']} cancelled as planned; {report['downloads_equal']} downloads equal",
        f"rate          {report['uploads_per_second']:.1f} uploads/s, {report['bytes_per_second'] / MIB:.1f} MiB/s",
        f"connections   {report['connections']}; {counts('steps')}",
        f"initiation    {times('initiation_seconds')}",
        f"wait for slot {times('wait_seconds')}",
        f"refusals      {counts('refusals_by_code')}",
    ]
    faults = report["faults"]
    lines += [f"FAULT         {fault}" for fault in faults[:FAULTS_SHOWN]]
    if len(faults) > FAULTS_SHOWN:
        lines.append(f"FAULT         and {len(faults) - FAULTS_SHOWN} more")
    return "\n".join(lines)
