"""Uploads to Google Drive while the emulator's faults come mixed by chance, and the server is killed in the middle.

Every file ends equal, once on Drive and in the row, or failed with its true cause; nothing is left of its way. Part of
`make trials`; the same code runs in the tests with small numbers.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from devtools.client import Client, PatternSource, Refused, Upload, sha256_of
from devtools.drive_site import Site
from devtools.promises import TrialFailedError, expect

MIB = 1024 * 1024
LARGEST = 24 * MIB
MOST_FILES, MOST_FAULTS, MOST_KILLS = 4, 4, 2
PATIENCE_SECONDS = 90.0
# What a kill may cost: what was sent since the last checkpoint lies within a chunk and what was hashed ahead of it.
LONGEST_CHUNK, AHEAD = 16 * MIB, 4 * MIB

STATUSES: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "retry_after": 0.1},
    {"status": 429},
    {"status": 401},
    {"status": 403, "reason": "userRateLimitExceeded"},
    {"status": 403, "reason": "storageQuotaExceeded"},
    {"status": 403, "reason": "dailyLimitExceeded"},
]


@dataclass(frozen=True)
class Plan:
    """Files of these sizes sent at once, the faults asked for, and how many bytes are sent before each kill."""

    sizes: list[int]
    seed: int
    faults: list[dict[str, Any]]
    kills: list[int]


@dataclass
class Totals:
    trials: int = 0
    files: int = 0
    failed: int = 0
    bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    sent_again: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        happened = ", ".join(f"{count} × {kind}" for kind, count in self.faults.most_common())
        again = f", at most {max(self.sent_again) / MIB:.1f} MiB sent again after one" if self.sent_again else ""
        return (
            f"{self.files} files, {self.bytes / MIB:.0f} MiB, {self.failed} of them failed for a flipped bit; "
            f"{happened or 'no faults'}; {self.kills} kills{again}"
        )


def a_fault(random_: random.Random, largest: int) -> dict[str, Any]:
    kind = random_.choice(["short", "gone", "lost", "reset", "stall", "flip", "slow", "status", "status", "status"])
    wanted: dict[str, Any] = {"fault": kind, "at": random_.randrange(largest + 1)}
    match kind:
        case "stall":
            wanted["seconds"] = 30
        case "slow":
            wanted["rate"] = random_.randrange(2 * MIB, 8 * MIB)
        case "status":
            wanted |= random_.choice(STATUSES) | {"on": random_.choice(["chunk", "chunk", "start", "any"])}
    return wanted


def drawn(random_: random.Random) -> Plan:
    sizes = [min(LARGEST, int(2 ** random_.uniform(0, 25))) for _ in range(random_.randint(1, MOST_FILES))]
    faults = [a_fault(random_, max(sizes)) for _ in range(random_.randint(0, MOST_FAULTS))]
    kills = sorted(random_.randrange(sum(sizes) + 1) for _ in range(random_.randint(0, MOST_KILLS)))
    return Plan(sizes, random_.randrange(2**32), faults, kills)


class Kills:
    """Listens to what the uploads are told, and kills the server each time that they have got so far."""

    def __init__(self, site: Site, plan: Plan, totals: Totals) -> None:
        self._site, self._left, self._totals = site, list(plan.kills), totals
        self._received: Counter[str] = Counter()
        self._at_the_kill: dict[str, int] = {}
        self._killing: list[asyncio.Task[None]] = []
        self._one_at_a_time = asyncio.Lock()

    def hear(self, upload: Upload, message: dict[str, Any]) -> None:
        key = upload.file_id
        match message["type"]:
            case "progress":
                self._received[key] = max(self._received[key], message["received"])
            case "rewind":
                self._received[key] = message["offset"]
            case "ready":
                if (known := self._at_the_kill.pop(key, None)) is not None:
                    self._totals.sent_again.append(max(0, self._received[key] - message["offset"]))
                    expect(
                        message["offset"] >= known - LONGEST_CHUNK - AHEAD,
                        f"ready at {message['offset']} though the checkpoint was at {known}",
                    )
                self._received[key] = message["offset"]
        while self._left and self._received.total() >= self._left[0]:
            self._left.pop(0)
            self._killing.append(asyncio.create_task(self._kill()))

    async def _kill(self) -> None:
        async with self._one_at_a_time:
            self._site.server.kill()
            rows = self._site.database("SELECT key, hashed_bytes FROM uploads_driveupload WHERE finished = 0")
            hashed = dict(rows)
            for key in self._received:
                if (length := hashed.get(key.replace("-", ""))) is not None:
                    self._at_the_kill[key] = length
            self._totals.kills += 1
            await asyncio.to_thread(self._site.server.restart)

    async def over(self) -> int:
        """Wait for the last one; returns how many there were."""
        await asyncio.gather(*self._killing)
        return len(self._killing)


async def one_trial(site: Site, client: Client, plan: Plan, totals: Totals) -> None:
    """Send the files while all of it happens, and check all that must hold. Raises `TrialFailedError`."""
    sources = [PatternSource(size, plan.seed + number) for number, size in enumerate(plan.sizes)]
    uploads = [await client.initiate("trial.bin", size) for size in plan.sizes]
    faults = [site.emulator.add_fault(**fault) for fault in plan.faults]
    sessions_before = site.emulator.open_sessions()
    kills = Kills(site, plan, totals)

    async def send(upload: Upload, source: PatternSource) -> str:
        """How it ended: `completed`, or the code with which it failed."""
        try:
            await client.send(
                upload, source, patience=PATIENCE_SECONDS, on_message=lambda message: kills.hear(upload, message)
            )
        except Refused as refused:
            return refused.code
        return "completed"

    async def forgive_now_and_then() -> None:
        """An account that is out, or failing, is good again after a while: a trial lasts no day."""
        while True:
            await asyncio.sleep(3)
            await asyncio.to_thread(site.forgive_accounts)

    forgiving = asyncio.create_task(forgive_now_and_then())
    try:
        ends = await asyncio.gather(*(send(*each) for each in zip(uploads, sources, strict=True)))
    finally:
        forgiving.cancel()
        killed = await kills.over()
    fired = {id: site.emulator.fired(id) for id in faults}
    for id, fault in zip(faults, plan.faults, strict=True):
        totals.faults[fault["fault"]] += fired[id]
    flips = sum(fired[id] for id, fault in zip(faults, plan.faults, strict=True) if fault["fault"] == "flip")
    expect(sum(end != "completed" for end in ends) <= flips, f"they ended {ends}, and {flips} bits were flipped")
    for upload, source, end in zip(uploads, sources, ends, strict=True):
        await expect_true_end(site, client, upload, source, end)
    await site.nothing_is_held(client, after_a_kill=bool(killed), lost_sessions=sessions_before + killed * len(uploads))
    for upload, end in zip(uploads, ends, strict=True):
        if end == "completed":
            await client.call("DELETE", f"files/{upload.file_id}", token=upload.token)
        expect(not site.files_of(upload), "a deleted file is still on Drive")
    totals.trials += 1
    totals.files += len(uploads)
    totals.failed += sum(end != "completed" for end in ends)
    totals.bytes += sum(plan.sizes)
    site.forgive()


async def expect_true_end(site: Site, client: Client, upload: Upload, source: PatternSource, end: str) -> None:
    found = site.files_of(upload)
    if end != "completed":
        expect(end == "checksum_mismatch", f"a file failed by {end}")
        expect(not found, "a file that failed is still on Drive")
        return
    sha256 = sha256_of(source)
    expect(len(found) == 1, f"the file is on Drive {len(found)} times")
    expect(found[0]["sha256Checksum"] == sha256, "what is on Drive differs from what was sent")
    expect(await client.digest_of_download(upload) == sha256, "what comes back differs from what was sent")


async def run(site: Site, trials: int, seed: int) -> Totals:
    """So many trials by chance. Raises `TrialFailedError`."""
    random_, totals = random.Random(seed), Totals()
    async with Client(site.server.url) as client:
        for number in range(trials):
            await numbered(site, client, drawn(random_), totals, number)
    return totals


async def kill_again_and_again(site: Site, times: int, seed: int) -> Totals:
    """A file for each kill, which comes anywhere in it; nothing else happens. Raises `TrialFailedError`."""
    random_, totals = random.Random(seed), Totals()
    async with Client(site.server.url) as client:
        for number in range(times):
            size = random_.randrange(4 * MIB, LARGEST)
            slow = {"fault": "slow", "rate": random_.randrange(8 * MIB, 32 * MIB), "times": -1}
            plan = Plan([size], random_.randrange(2**32), [slow], [random_.randrange(size)])
            await numbered(site, client, plan, totals, number)
    return totals


async def numbered(site: Site, client: Client, plan: Plan, totals: Totals, number: int) -> None:
    try:
        await one_trial(site, client, plan, totals)
    except Exception as failure:
        raise TrialFailedError(f"trial {number + 1} on Drive failed by {failure!r}; {plan}") from failure
    print(f"trial {number + 1} on Drive: {_shown(plan.faults)}, {len(plan.kills)} kills", flush=True)


def _shown(faults: Sequence[dict[str, Any]]) -> str:
    return (
        ", ".join(str(fault.get("reason") or fault.get("status") or fault["fault"]) for fault in faults) or "no fault"
    )
