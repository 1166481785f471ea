"""`check` finds what `repair` mends, in Redis: each test spoils what is kept there by hand, as a fault would."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack
import pytest
import redis

from devtools.redis import PrivateRedis
from uploads.slots import scripts
from uploads.slots.manager import Absent, Granted, Waiting
from uploads.tests.slots_rig import LEASE, WINDOW, Rig, redis_rig


class Kept:
    """What Redis keeps, by the names of lua/shared/given.lua."""

    def __init__(self, client: redis.Redis) -> None:
        self.redis = client
        self.key = {key.rpartition(":")[2]: key for key in scripts.KEYS}

    def change(self, kept: str, name: str, **fields: Any) -> None:
        """Change fields of a packed value in a hash."""
        value = msgpack.unpackb(self.redis.hget(self.key[kept], name)) | fields
        self.redis.hset(self.key[kept], name, msgpack.packb(value))

    def now(self) -> int:
        return int(self.redis.get(f"{scripts.HASH_TAG}:clock") or 0)


@pytest.fixture
async def rig(private_redis: PrivateRedis) -> AsyncIterator[Rig]:
    """Two slots, both held by ann; ann's third upload and ben's first wait."""
    rig = redis_rig(private_redis.url)
    rig.limit(all_uploads=2)
    for upload, person in (("ann0", "ann"), ("ann1", "ann"), ("ann2", "ann"), ("ben0", "ben")):
        await rig.ask(upload, person)
    assert await rig.manager.check() == []
    yield rig
    await rig.manager.close()


@pytest.fixture
def kept(rig: Rig, private_redis: PrivateRedis) -> Kept:
    return Kept(redis.Redis.from_url(private_redis.url))


def one_lease_too_many(kept: Kept) -> None:
    fence = int(kept.redis.incr(kept.key["fences"]))
    kept.change("entries", "ben0", fence=fence, since=kept.now())


def a_lease_that_vanished(kept: Kept) -> None:
    kept.redis.hdel(kept.key["entries"], "ann0")


def a_lease_that_nobody_granted(kept: Kept) -> None:
    kept.redis.hdel(kept.key["grants"], "ann0")


def a_lease_with_anothers_fence(kept: Kept) -> None:
    other = msgpack.unpackb(kept.redis.hget(kept.key["entries"], "ann1"))
    kept.change("entries", "ann0", fence=other["fence"])


def a_fence_from_the_future(kept: Kept) -> None:
    kept.change("entries", "ann0", fence=10**15)


def a_lease_without_an_owner(kept: Kept) -> None:
    kept.change("entries", "ann0", owner="")


def a_wrong_count_of_slots(kept: Kept) -> None:
    kept.redis.hincrby(kept.key["granted"], "ann", -1)


def a_wrong_count_of_places(kept: Kept) -> None:
    kept.redis.hincrby(kept.key["places"], "ben", 1)


def a_wrong_sum_of_windows(kept: Kept) -> None:
    kept.redis.hincrby(kept.key["promised"], "here", WINDOW)


def a_place_that_is_not_in_line(kept: Kept) -> None:
    (place,) = [place for place in kept.redis.zrange(kept.key["waiting"], 0, -1) if place.endswith(b"ben0")]
    kept.redis.zrem(kept.key["waiting"], place)


def a_head_of_nobody(kept: Kept) -> None:
    kept.redis.zadd(kept.key["heads"], {f"here|{0:08}|{1:016}|ghost": 0})


def a_head_that_is_gone(kept: Kept) -> None:
    kept.redis.delete(kept.key["heads"])


def a_place_at_the_front_of_nobody(kept: Kept) -> None:
    kept.redis.zadd(kept.key["fronts"], {f"{7:016}|here|ghost": 0})


def a_lease_out_of_order(kept: Kept) -> None:
    kept.redis.zrem(kept.key["leases"], "ann1")


def a_forgotten_deadline(kept: Kept) -> None:
    kept.redis.zrem(kept.key["deadlines"], "ann0")


def a_deadline_of_nobody(kept: Kept) -> None:
    kept.redis.zadd(kept.key["deadlines"], {"ghost": kept.now() + 10_000})


def a_claim_of_nobody(kept: Kept) -> None:
    kept.redis.zadd(kept.key["unclaimed"], {"ghost": kept.now() + 10_000})


def an_entry_under_another_name(kept: Kept) -> None:
    kept.redis.hset(kept.key["entries"], "other", kept.redis.hget(kept.key["entries"], "ben0"))


FAULTS: dict[Callable[[Kept], None], str] = {
    one_lease_too_many: "3 leases are held, and at most 2 were allowed",
    a_lease_that_vanished: "The lease of ann0 vanished",
    a_lease_that_nobody_granted: "ann0 holds a lease that was never granted",
    a_lease_with_anothers_fence: "Two leases have the same fence",
    a_fence_from_the_future: "not given out yet",
    a_lease_without_an_owner: "has no owner",
    a_wrong_count_of_slots: "count of slots held by each person is wrong",
    a_wrong_count_of_places: "count of places held by each person is wrong",
    a_wrong_sum_of_windows: "bytes counted as promised",
    a_place_that_is_not_in_line: "order of the line",
    a_head_of_nobody: "order of the line",
    a_head_that_is_gone: "order of the line",
    a_place_at_the_front_of_nobody: "order of the line",
    a_lease_out_of_order: "order of the leases",
    a_forgotten_deadline: "deadlines",
    a_deadline_of_nobody: "deadlines",
    a_claim_of_nobody: "waits for its claim",
    an_entry_under_another_name: "is kept under the name of other",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_is_found_and_mended(rig: Rig, kept: Kept, fault: Callable[[Kept], None]) -> None:
    fault(kept)
    found = await rig.manager.check()
    assert any(FAULTS[fault] in violation for violation in found), found
    done = await rig.manager.repair()
    assert not any("Still so" in sentence for sentence in done), done
    assert await rig.manager.check() == []
    assert len(await rig.holders()) == 2


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_no_fault_stops_the_others(rig: Rig, kept: Kept, fault: Callable[[Kept], None]) -> None:
    """A script that dies on something odd would stop every upload of every worker."""
    fault(kept)
    await rig.ask("cem0", "cem")
    await rig.renew("ann1", "cem0")
    await rig.release("ann1")
    rig.clock.advance(6)
    await rig.manager.tick()
    await rig.standing("cem0")
    await rig.manager.snapshot()
    rig.clock.advance(LEASE)
    await rig.manager.tick()
    await rig.manager.repair()
    assert isinstance(await rig.ask("dan0", "dan"), Granted)
    assert await rig.manager.check() == []


async def test_a_lease_above_the_cap_goes_back_to_the_line_and_its_holder_is_told(rig: Rig, kept: Kept) -> None:
    one_lease_too_many(kept)
    done = await rig.manager.repair()
    assert "Took the slot of ben0 back; it waits in line again." in done
    assert isinstance(await rig.standing("ben0"), Waiting)
    assert await rig.holders() == ["ann0", "ann1"]


async def test_what_lapsed_unseen_is_ended_by_a_repair_and_its_owner_told(rig: Rig, kept: Kept) -> None:
    kept.redis.zadd(kept.key["deadlines"], {"ann0": kept.now() + 1, "ghost": kept.now() + 10_000})
    rig.clock.advance(1)
    a_lease_that_nobody_granted(kept)
    await rig.manager.repair()
    assert await rig.standing("ann0") == Absent()
    assert await rig.holders() == ["ann1", "ben0"]


async def test_slots_go_round_after_a_repair_as_before(rig: Rig, kept: Kept) -> None:
    a_wrong_count_of_slots(kept)
    a_head_that_is_gone(kept)
    await rig.manager.repair()
    assert await rig.release("ann0")
    assert isinstance(await rig.standing("ben0"), Granted)
    assert await rig.line() == ["ann2"]


async def test_caps_are_those_since_the_oldest_present_lease(rig: Rig, kept: Kept) -> None:
    rig.clock.advance(1)
    rig.limit(all_uploads=1)
    await rig.manager.tick()
    assert await rig.manager.check() == []
    rig.clock.advance(1)
    for upload in ("ann0", "ann1"):
        await rig.release(upload)
    assert await rig.holders() == ["ann2"]  # its lease has seen no cap but the lower one
    one_lease_too_many(kept)
    assert "2 leases are held, and at most 1 were allowed." in await rig.manager.check()


async def test_a_sum_of_windows_above_the_ceiling_is_a_violation(rig: Rig, kept: Kept) -> None:
    rig.limit(all_uploads=3)
    rig.memory.ceiling = 2 * WINDOW
    rig.clock.advance(1)
    await rig.manager.tick()
    rig.clock.advance(1)
    for upload in ("ann0", "ann1"):
        await rig.release(upload)
    assert await rig.holders() == ["ben0", "ann2"]
    assert await rig.manager.check() == []
    await rig.ask("cem0", "cem")
    kept.change("entries", "cem0", fence=int(kept.redis.incr(kept.key["fences"])), since=kept.now())
    assert (
        f"Windows of {3 * WINDOW} bytes are promised, above the ceiling of {2 * WINDOW}." in await rig.manager.check()
    )
    await rig.manager.repair()
    assert await rig.manager.check() == []
    assert await rig.line() == ["cem0"]


async def test_caps_that_come_and_go_leave_no_endless_history(rig: Rig, kept: Kept) -> None:
    for turn in range(50):
        rig.clock.advance(0.1)
        rig.limit(all_uploads=2 + turn % 2)
        await rig.manager.tick()
    history = msgpack.unpackb(kept.redis.hget(kept.key["caps"], "all"))
    assert len(history) <= 2
