"""The Lua scripts of the Redis backend: one file for each verb, and before it what they share. Needs no Django."""

from pathlib import Path

FOLDER = Path(__file__).parent / "lua"
# In this order: each stands on those before it.
SHARED = ("clock", "given", "line", "caps", "memory", "leases", "recovery", "granting")
VERBS = (
    "acquire",
    "standing",
    "renew",
    "release",
    "detach",
    "postpone",
    "take_away",
    "pause",
    "unpause",
    "front",
    "tick",
    "find",
    "snapshot",
    "books",
    "repair",
)
HASH_TAG = "{directdrivex.slots}"
# As shared/given.lua numbers them.
KEYS = tuple(
    f"{HASH_TAG}:{name}"
    for name in (
        "entries",
        "leases",
        "deadlines",
        "unclaimed",
        "waiting",
        "ready",
        "heads",
        "fronts",
        "granted",
        "places",
        "released",
        "nodes",
        "promised",
        "grants",
        "caps",
        "state",
        "tickets",
        "fences",
        "turns",
    )
)


def compose(verb: str, clock: str | None = None) -> str:
    """The whole script of a verb; `clock` is another source of shared/clock.lua, for tests that steer the time."""
    shared = {name: (FOLDER / "shared" / f"{name}.lua").read_text() for name in SHARED}
    if clock is not None:
        shared["clock"] = clock
    return "\n".join([*shared.values(), (FOLDER / f"{verb}.lua").read_text()])
