"""What only Redis can do to the slots: restart, forget, be away, be shared by many, be a cluster."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from devtools.redis import PrivateRedis
from directdrivex.env import redis_layer
from quotas.rules import SlotLimits
from uploads.slots import scripts
from uploads.slots.admission import NodeMemory
from uploads.slots.keeper import SlotKeeper
from uploads.slots.manager import (
    Absent,
    Claim,
    Granted,
    LeaseView,
    QueueFullError,
    SlotsUnavailableError,
    Waiting,
    WaitingFor,
)
from uploads.slots.redis import Caller, RedisSlotManager
from uploads.slots.store import Store
from uploads.tests import slots_rig
from uploads.tests.slots_rig import LIMITS, WINDOW, Memo, redis_manager, redis_rig

LEASE = 1.5


class Node:
    """The memory of one machine, as each of its workers would report it."""

    def __init__(self, room: int = 10**12, ceiling: int = 10**12) -> None:
        self.room, self.ceiling, self.held = room, ceiling, 0

    def figures(self) -> NodeMemory:
        return NodeMemory(self.room, self.ceiling, self.held)


class Worker:
    """A worker on a Redis whose own time counts, with short leases; its uploads are all of the same window."""

    def __init__(
        self,
        url: str,
        name: str = "one",
        node: Node | None = None,
        limits: SlotLimits = LIMITS,
        memo: Memo | None = None,
        lease: float = LEASE,
    ) -> None:
        self.limits, self.node, self.memo = limits, node or Node(), memo or Memo()
        self.told: list[str] = []
        self.manager = RedisSlotManager(
            Store({"address": url}, seconds=2),
            lambda: self.limits,
            self.node,
            self.memo,
            caller=Caller("node of " + name, name),
            tell=lambda others: self.told.extend(upload for uploads in others.values() for upload in uploads),
            lease_seconds=lease,
        )

    async def ask(self, upload: str, person: str = "ann", owner: str | None = None) -> Granted | Waiting:
        return await self.manager.acquire(Claim(upload, owner or f"{upload} of it", person, WINDOW))

    async def standing(self, upload: str) -> Any:
        return await self.manager.standing(upload, f"{upload} of it")

    async def release(self, upload: str) -> bool:
        return await self.manager.release(upload, f"{upload} of it")

    async def renew(self, *uploads: str) -> set[str]:
        return await self.manager.renew([(upload, f"{upload} of it") for upload in uploads])

    async def holders(self) -> list[str]:
        return [lease.upload_id for lease in (await self.manager.snapshot()).leases]


@pytest.fixture
async def workers(redis_url: str) -> AsyncIterator[Callable[..., Worker]]:
    """Makes workers on one Redis."""
    made: list[Worker] = []

    def make(name: str = "one", url: str = redis_url, **given: Any) -> Worker:
        made.append(Worker(url, name, **given))
        return made[-1]

    yield make
    for worker in made:
        await worker.manager.close()


@pytest.fixture
def own_redis() -> Iterator[PrivateRedis]:
    """A Redis that the test may kill, and that has kept all it answered to by then."""
    private = PrivateRedis(appendfsync="always")
    yield private
    private.thaw()
    private.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


# --- a restart (slots.md 9) ---


async def test_a_first_start_ever_waits_for_nothing_and_remembers_the_run(
    workers: Callable[..., Worker], redis_url: str
) -> None:
    worker = workers()
    assert isinstance(await worker.ask("f"), Granted)
    with redis.Redis.from_url(redis_url) as client:
        assert worker.memo.run == client.info("server")["run_id"]


@pytest.mark.parametrize("forgets", [False, True], ids=["with what it kept", "with nothing"])
async def test_after_a_restart_nothing_is_granted_until_all_who_hold_have_been_heard_of(
    workers: Callable[..., Worker], own_redis: PrivateRedis, forgets: bool
) -> None:
    limits = SlotLimits(2, 5, 10, 100, 0)
    worker = workers(url=own_redis.url, limits=limits)
    for upload in ("held", "also held", "waiting"):
        await worker.ask(upload)
    own_redis.kill()
    if forgets:
        own_redis.forget()
    own_redis.revive()

    late = workers("two", url=own_redis.url, limits=limits, memo=worker.memo)
    assert await late.ask("late", "ben") == Waiting(1 if forgets else 2, WaitingFor.RECOVERY, None)
    assert await worker.renew("held", "also held", "waiting") == set()
    assert await worker.holders() == ["held", "also held"]
    assert isinstance(await worker.standing("held"), Granted)
    assert (await worker.standing("waiting")).waiting_for is WaitingFor.RECOVERY
    # The place is that of before, and a slot that is given back stays free for the time.
    assert [ticket.upload_id for ticket in (await late.manager.snapshot()).tickets] == ["waiting", "late"]
    assert await worker.release("held")
    assert await worker.manager.check() == []
    assert 0 < (await worker.manager.snapshot()).recovery_seconds <= LEASE

    async def recovered() -> bool:
        await worker.renew("also held", "waiting")
        await late.renew("late")
        return (await worker.manager.snapshot()).recovery_seconds == 0

    await until(recovered)
    assert set(await worker.holders()) == {"also held", "late"}  # who holds fewest goes first
    assert await worker.manager.check() == []


async def test_an_empty_redis_that_was_not_empty_before_is_a_restart_too(
    workers: Callable[..., Worker], redis_url: str
) -> None:
    worker = workers()
    await worker.ask("held")
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert isinstance(await worker.ask("late", "ben"), Waiting)
    assert isinstance(await worker.standing("held"), Granted)
    assert await worker.manager.check() == []


async def test_a_worker_that_cannot_read_which_run_was_the_last_fears_the_worst(workers: Callable[..., Worker]) -> None:
    worker = workers(memo=Memo(None))
    assert (await worker.ask("f")).waiting_for is WaitingFor.RECOVERY  # type: ignore[union-attr]


async def test_a_holder_that_was_not_heard_of_in_time_is_gone(
    workers: Callable[..., Worker], own_redis: PrivateRedis
) -> None:
    worker = workers(url=own_redis.url)
    await worker.ask("dead")
    own_redis.kill()
    own_redis.forget()
    own_redis.revive()
    other = workers("two", url=own_redis.url, memo=worker.memo)
    await other.ask("late")

    async def granted() -> bool:
        await other.renew("late")
        return await other.holders() == ["late"]

    await until(granted)
    assert await worker.renew("dead") == {"dead"}
    assert await worker.standing("dead") == Absent()


async def test_fences_and_tickets_grow_even_where_redis_forgot_them(
    workers: Callable[..., Worker], redis_url: str
) -> None:
    worker = workers()
    before = await worker.ask("f")
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    other = workers("two")  # for whom it is a first start: it waits for nothing
    after = await other.ask("g")
    assert isinstance(before, Granted)
    assert isinstance(after, Granted)
    assert after.fence > before.fence


async def test_a_paused_upload_is_paused_still_where_redis_forgot_it(
    workers: Callable[..., Worker], redis_url: str
) -> None:
    worker = workers()
    await worker.ask("f")
    await worker.manager.pause("f")
    await worker.standing("f")
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    assert (await worker.standing("f")).waiting_for is WaitingFor.PAUSED
    assert await worker.manager.unpause("f")


@pytest.mark.django_db(transaction=True)
async def test_whatever_redis_forgets_no_more_hold_a_slot_than_may(
    settings: Any, own_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers, whose uploads run on for as long as they may believe that they have a slot."""
    settings.CHANNEL_LAYERS = {"default": redis_layer(own_redis.url)}
    settings.SLOT_LEASE_SECONDS = 2.4
    memo = Memo()
    monkeypatch.setattr("uploads.slots.backing.DatabaseRuns", lambda: memo)
    limits = SlotLimits(4, 2, 500, 100, 0)
    monkeypatch.setattr("quotas.services.slot_limits", lambda: limits)
    workers, newcomers = [SlotKeeper(limits) for _ in range(3)], SlotKeeper(limits)
    holding: dict[str, set[str]] = {}  # upload -> the holds that believe to have its slot
    ended, most, over = 0, 0, False

    async def upload(slots: SlotKeeper, number: int) -> None:
        nonlocal ended, most
        name, person = f"f{number}", f"person{number % 4}"
        while not over:
            try:
                hold = await slots.enter(name, person, WINDOW)
            except SlotsUnavailableError:
                await asyncio.sleep(0.1)
                continue
            while not over and not hold.over and not isinstance(hold.standing, Granted):
                with suppress(SlotsUnavailableError):
                    await hold.changed(1)
            if over or hold.over:
                with suppress(SlotsUnavailableError):
                    await hold.release()
                continue
            holding.setdefault(name, set()).add(hold.owner)
            most = max(most, len(holding))
            with suppress(TimeoutError):
                async with asyncio.timeout(1.2):
                    await hold.lost.wait()
            holding.pop(name, None)
            ended += 1
            with suppress(SlotsUnavailableError):
                await hold.release()

    async def end(uploads: int) -> None:
        enough = ended + uploads
        async with asyncio.timeout(30):
            while ended < enough:
                await asyncio.sleep(0.02)

    async def faults() -> None:
        nonlocal over
        for turn in range(2):
            await end(5)
            await asyncio.to_thread(own_redis.kill)
            own_redis.forget()
            await asyncio.to_thread(own_redis.revive)
            for number in range(4):  # who comes to an empty Redis must find no slot free
                tasks.create_task(upload(newcomers, 100 + 10 * turn + number))
        await end(8)
        over = True

    async with asyncio.TaskGroup() as tasks:
        for number in range(12):
            tasks.create_task(upload(workers[number % 3], number))
        tasks.create_task(faults())
    assert most == 4
    assert await workers[0].check() == []
    for slots in (*workers, newcomers):
        await slots.stop()


# --- a Redis that is away (slots.md 8) ---


async def test_without_redis_nothing_is_granted_silently(
    workers: Callable[..., Worker], own_redis: PrivateRedis
) -> None:
    worker = workers(url=own_redis.url)
    await worker.ask("held")
    own_redis.kill()
    for call in (worker.ask("f"), worker.standing("held"), worker.manager.tick(), worker.manager.snapshot()):
        with pytest.raises(SlotsUnavailableError):
            await call
    own_redis.revive()
    assert isinstance(await worker.standing("held"), Granted)


async def test_a_redis_that_does_not_answer_is_given_up_on_in_time(
    workers: Callable[..., Worker], own_redis: PrivateRedis
) -> None:
    worker = workers(url=own_redis.url)
    await worker.ask("held")
    own_redis.freeze()
    async with asyncio.timeout(20):  # it would be for ever
        answers = await asyncio.gather(*(worker.ask(f"f{n}") for n in range(50)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {SlotsUnavailableError}
    own_redis.thaw()
    assert await worker.manager.check() == []


async def test_a_redis_without_memory_left_grants_nothing_and_forgets_nothing(
    workers: Callable[..., Worker], own_redis: PrivateRedis
) -> None:
    worker = workers(url=own_redis.url)
    await worker.ask("held")
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(SlotsUnavailableError):
            await worker.ask("f")
        client.config_set("maxmemory", 0)
    assert await worker.holders() == ["held"]
    assert await worker.manager.check() == []


# --- several workers, several nodes ---


async def test_many_workers_racing_never_exceed_the_caps_and_nobody_starves(workers: Callable[..., Worker]) -> None:
    limits = SlotLimits(4, 2, 500, 100, 0)
    crowd = [workers(f"worker{number}", limits=limits, lease=30) for number in range(4)]
    holding: set[tuple[str, str]] = set()
    most_at_once, done = 0, 0

    async def upload(worker: Worker, number: int, chance: random.Random) -> None:
        nonlocal most_at_once, done
        name, person = f"f{number}", f"person{number % 5}"
        standing = await worker.ask(name, person)
        async with asyncio.timeout(60):
            while not isinstance(standing, Granted):
                await worker.manager.changed(name, f"{name} of it", 0.1)
                standing = await worker.standing(name)
                assert not isinstance(standing, Absent)
        holding.add((name, person))
        most_at_once = max(most_at_once, len(holding))
        assert sum(whose == person for _, whose in holding) <= 2
        await asyncio.sleep(chance.random() * 0.02)
        holding.discard((name, person))
        done += 1
        await worker.release(name)

    async def keep_going(worker: Worker, uploads: range) -> None:
        while done < 60:
            await worker.renew(*(f"f{number}" for number in uploads))
            await worker.manager.tick()
            assert await worker.manager.check() == []
            await asyncio.sleep(0.05)

    chance = random.Random(1)
    async with asyncio.TaskGroup() as tasks:
        for index, worker in enumerate(crowd):
            own = range(index, 60, 4)
            tasks.create_task(keep_going(worker, own))
            for number in own:
                tasks.create_task(upload(worker, number, chance))
    assert most_at_once == 4
    assert await crowd[0].holders() == []


async def test_a_worker_is_told_which_of_its_uploads_to_look_at(workers: Callable[..., Worker]) -> None:
    limits = SlotLimits(1, 5, 10, 100, 0)
    one, two = workers("one", limits=limits), workers("two", limits=limits)
    await one.ask("held")
    await two.ask("next")
    await one.release("held")
    assert one.told == ["next"]
    waiting = asyncio.create_task(two.manager.changed("next", "next of it", 60))
    await asyncio.sleep(0)
    two.manager.heard(one.told)
    async with asyncio.timeout(5):
        assert await waiting


async def test_a_wake_up_that_was_lost_is_found_by_the_next_poll(workers: Callable[..., Worker]) -> None:
    limits = SlotLimits(1, 5, 10, 100, 0)
    one, two = workers("one", limits=limits), workers("two", limits=limits)
    await one.ask("held")
    await two.ask("next")
    await one.release("held")
    waiting = asyncio.create_task(two.manager.changed("next", "next of it", 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    await two.manager.tick()
    async with asyncio.timeout(5):
        assert await waiting
    assert isinstance(await two.standing("next"), Granted)


async def test_the_memory_of_a_node_is_shared_by_its_workers_and_by_no_other(workers: Callable[..., Worker]) -> None:
    here, there = Node(room=2 * WINDOW), Node(room=WINDOW)
    one, two, other = workers("one", node=here), workers("two", node=here), workers("three", node=there)
    for worker in (one, two):
        worker.manager._caller = Caller("here", worker.manager._caller.worker)
    answers = [await worker.ask(f"f{n}", f"person{n}") for n, worker in enumerate((one, two, one, two, other, other))]
    assert [isinstance(answer, Granted) for answer in answers] == [True, True, False, False, True, False]
    assert answers[2] == Waiting(1, WaitingFor.MEMORY, None)
    assert await one.manager.check() == []
    await two.release("f1")
    assert isinstance(await one.standing("f2"), Granted)
    assert isinstance(await two.standing("f3"), Waiting)
    here.held = 2 * WINDOW  # both windows are full: what is free has them in it already
    here.room = WINDOW
    await one.manager.tick()
    assert isinstance(await two.standing("f3"), Granted)
    assert isinstance(await other.standing("f5"), Waiting)
    assert await one.manager.check() == []


async def test_who_finds_no_memory_on_one_node_holds_up_nobody_on_another(workers: Callable[..., Worker]) -> None:
    full, empty = workers("one", node=Node(room=0)), workers("two", node=Node())
    assert await full.ask("first") == Waiting(1, WaitingFor.MEMORY, None)
    assert isinstance(await empty.ask("second", "ben"), Granted)
    assert await full.manager.check() == []


async def test_who_comes_next_by_a_grant_on_another_node_is_granted_with_it(workers: Callable[..., Worker]) -> None:
    full, empty = workers("one", node=Node(room=WINDOW)), workers("two", node=Node())
    no_slots = SlotLimits(0, 5, 10, 100, 0)
    full.limits = empty.limits = no_slots
    await full.manager.acquire(Claim("large", "owner", "ann", 3 * WINDOW))
    await empty.ask("elsewhere", "ann")
    await full.ask("small", "ben")
    full.limits = SlotLimits(2, 5, 10, 100, 0)
    # With her slot elsewhere ann is behind ben, whose window fits where hers does not.
    assert await full.manager.check() == []
    assert set(await full.holders()) == {"elsewhere", "small"}


async def test_a_ceiling_of_all_windows_is_that_of_each_node(workers: Callable[..., Worker]) -> None:
    one, two = workers("one", node=Node(ceiling=WINDOW)), workers("two", node=Node(ceiling=WINDOW))
    assert isinstance(await one.ask("f0"), Granted)
    assert isinstance(await one.ask("f1"), Waiting)
    assert isinstance(await two.ask("f2"), Granted)
    assert await one.manager.check() == []


async def test_a_lease_moves_with_its_upload_to_another_node_if_that_has_memory(
    workers: Callable[..., Worker],
) -> None:
    roomy, full = Node(), Node(room=0)
    one, two = workers("one", node=roomy), workers("two", node=full)
    await one.ask("f", owner="old")
    moved = await two.ask("f")
    assert moved == Waiting(1, WaitingFor.MEMORY, None)  # the memory promised to it is that of another node
    assert await two.manager.check() == []
    full.room = WINDOW
    await two.manager.tick()
    assert isinstance(await two.standing("f"), Granted)
    lease = await two.manager.find("f")
    assert isinstance(lease, LeaseView)
    assert lease.node == "node of two"
    back = await one.ask("f", owner="newer")
    assert isinstance(back, Granted)
    assert await one.manager.check() == []


async def test_nobody_is_granted_a_slot_on_a_node_that_has_fallen_silent(private_redis: PrivateRedis) -> None:
    rig = redis_rig(private_redis.url)
    rig.limit(all_uploads=1)
    silent = redis_manager(private_redis.url, rig, Caller("there", "silent"))
    await rig.ask("held")
    await silent.acquire(Claim("silent", "owner", "ben", WINDOW))
    await rig.ask("next", "cem")
    rig.clock.advance(6)
    await rig.release("held")
    assert await rig.holders() == ["next"]  # though the other is older
    assert await rig.manager.check() == []
    await rig.release("next")
    assert isinstance(await silent.standing("silent", "owner"), Granted)
    await silent.close()
    await rig.manager.close()


async def test_a_clock_that_is_set_back_makes_the_pause_after_a_restart_no_longer(private_redis: PrivateRedis) -> None:
    rig = redis_rig(private_redis.url)
    rig.clock.advance(3600)
    worker = redis_manager(private_redis.url, rig, runs=Memo("the run before"))
    asked = await worker.acquire(Claim("first", "owner", "ann", WINDOW))
    assert asked == Waiting(1, WaitingFor.RECOVERY, None)
    rig.clock.advance(-3600)
    await worker.tick()
    rig.clock.advance(slots_rig.LEASE - 1)
    assert not await worker.renew([("first", "owner")])
    rig.clock.advance(1)
    assert isinstance(await worker.standing("first", "owner"), Granted)
    await worker.close()
    await rig.manager.close()


async def test_a_clock_that_is_set_back_lets_nobody_hold_a_slot_for_longer_than_a_lease(
    private_redis: PrivateRedis,
) -> None:
    rig = redis_rig(private_redis.url)
    rig.limit(all_uploads=1)
    rig.clock.advance(3600)
    await rig.ask("of a worker that dies")
    rig.clock.advance(-3600)
    await rig.ask("next", "ben")
    rig.clock.advance(slots_rig.LEASE - 1)
    assert not await rig.renew("next")
    assert isinstance(await rig.standing("next"), Waiting)
    rig.clock.advance(1)
    assert isinstance(await rig.standing("next"), Granted)
    assert await rig.manager.check() == []
    await rig.manager.close()


async def test_what_a_dead_worker_held_is_free_for_the_others_after_a_lease(workers: Callable[..., Worker]) -> None:
    limits = SlotLimits(1, 5, 10, 100, 0)
    dead, alive = workers("one", limits=limits), workers("two", limits=limits)
    await dead.ask("held")
    await alive.ask("next")

    async def granted() -> bool:
        await alive.renew("next")
        return isinstance(await alive.standing("next"), Granted)

    await until(granted)
    assert await dead.renew("held") == {"held"}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_on_several_nodes_no_invariant_breaks(private_redis: PrivateRedis, seed: int) -> None:
    chance, rig = random.Random(seed), redis_rig(private_redis.url)
    nodes = [Node(room=4 * WINDOW, ceiling=4 * WINDOW) for _ in range(3)]
    managers = []
    for number, node in enumerate(nodes * 2):
        manager = redis_manager(private_redis.url, rig, Caller(f"node{number % 3}", f"worker{number}"))
        manager._admission = node
        managers.append(manager)
    owners: dict[str, tuple[RedisSlotManager, str]] = {}
    rig.limit(all_uploads=6, per_person=3, queued=30)
    for step in range(250):
        upload = f"f{chance.randrange(24)}"
        manager, owner = owners.get(upload, (managers[0], "nobody"))
        match chance.randrange(15):
            case 0 | 1 | 2 | 3:
                manager, owner = chance.choice(managers), f"owner{step}"
                person, window = f"person{int(upload[1:]) % 7}", WINDOW * chance.choice([1, 1, 1, 2, 5])
                with suppress(QueueFullError):
                    await manager.acquire(Claim(upload, owner, person, window))
                    owners[upload] = manager, owner
            case 4 | 5:
                await manager.release(upload, owner)
            case 6:
                await manager.standing(upload, owner)
            case 7:
                await manager.detach(upload, owner, chance.choice([0, 4, 15]))
            case 8:
                await chance.choice([manager.pause, manager.unpause, manager.to_front, manager.take_away])(upload)
            case 9:
                for each in managers:
                    mine = [(name, owner) for name, (whose, owner) in owners.items() if whose is each]
                    if chance.random() < 0.9:
                        await each.renew(mine)
                        await each.standings(mine)
            case 10:
                rig.clock.advance(chance.choice([0.1, 2, 5, 6]))
            case 11:
                rig.limit(all_uploads=chance.randrange(9), per_person=chance.randrange(1, 4))
            case 12:
                node = chance.choice(nodes)
                node.room, node.held = WINDOW * chance.randrange(-1, 6), WINDOW * chance.randrange(3)
                node.ceiling = WINDOW * chance.randrange(1, 5)
            case 13:
                await chance.choice(managers).tick()
            case 14:
                await manager.postpone(upload, owner, chance.choice([0, 0, 3]))
        assert await chance.choice(managers).check() == [], step
    for manager in managers:
        await manager.close()
    await rig.manager.close()


# --- the length of the line ---


async def test_a_long_line_gives_redis_no_more_to_do_for_each_call(redis_url: str) -> None:
    rig = redis_rig(redis_url)
    rig.limit(all_uploads=2, per_person=2, queued=2_000)
    asked, done = 0, []
    with redis.Redis.from_url(redis_url) as client:

        def commands() -> int:
            """How many the scripts have made since they were last asked for."""
            found = client.info("commandstats")
            client.config_resetstat()
            return sum(int(facts["calls"]) for name, facts in found.items() if name not in NO_COMMANDS_OF_SCRIPTS)

        for waiting in (10, 1_000):
            while asked < waiting + 2:
                await rig.ask(f"u{asked}", f"person {asked // 10}")
                asked += 1
            first, *_ = await rig.holders()
            commands()
            await rig.ask("late", "late person")
            in_vain = commands()
            await rig.release("late")
            left_the_line = commands()
            await rig.release(first)  # and the next in line has its slot
            done.append((in_vain, left_the_line, commands()))
    few, many = done
    assert all(some <= 1.1 * others for some, others in zip(many, few, strict=True)), done
    await rig.manager.close()


NO_COMMANDS_OF_SCRIPTS = {
    f"cmdstat_{name}" for name in ("info", "config|resetstat", "client|setinfo", "hello", "select")
}


# --- a cluster ---


def test_every_verb_is_one_script_that_says_what_it_is_given_and_what_it_answers() -> None:
    assert {path.stem for path in scripts.FOLDER.glob("*.lua")} == set(scripts.VERBS)
    for verb in scripts.VERBS:
        said, _, _ = (scripts.FOLDER / f"{verb}.lua").read_text().partition("\n\n")
        assert all(line.startswith("--") for line in said.splitlines()), verb
        assert {word for word in ("KEYS", "ARGV", "answer:") if word in said} == {"KEYS", "ARGV", "answer:"}, verb


def test_the_time_is_that_of_redis_and_asked_in_one_place() -> None:
    asking = [path.name for path in scripts.FOLDER.rglob("*.lua") if "'TIME'" in path.read_text()]
    assert asking == ["clock.lua"]


def test_all_keys_have_one_hash_tag() -> None:
    assert {key.partition("{")[2].partition("}")[0] for key in scripts.KEYS} == {"directdrivex.slots"}
    assert len(set(scripts.KEYS)) == len(scripts.KEYS)


async def test_every_script_runs_on_a_cluster(workers: Callable[..., Worker]) -> None:
    """Of one machine: it refuses a script that touches a key of another slot, or one that it was not told of."""
    cluster = PrivateRedis(cluster_enabled="yes")
    try:
        with redis.Redis.from_url(cluster.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while client.cluster("INFO")["cluster_state"] != "ok":
                await asyncio.sleep(0.05)
        worker = workers(url=cluster.url, limits=SlotLimits(2, 1, 10, 100, 0))
        await worker.ask("f0")
        await worker.ask("f1")
        await worker.ask("f2")
        manager = worker.manager
        assert await manager.to_front("f2")
        assert await manager.pause("f1")
        assert await manager.unpause("f1")
        assert await worker.renew("f0", "f1", "f2") == set()
        assert await worker.release("f0")
        assert isinstance(await worker.standing("f2"), Granted)
        await manager.detach("f1", "f1 of it", 0.0)
        await manager.tick()
        assert await manager.find("f1") is None
        assert await worker.holders() == ["f2"]
        with redis.Redis.from_url(cluster.url) as client:
            client.hset(scripts.KEYS[8], "ann", 5)
        assert "The count of slots held by each person is wrong." in await manager.check()
        assert "Counted the slots and the places again." in await manager.repair()
        assert await manager.take_away("f2")
        assert await manager.check() == []
    finally:
        cluster.stop()


# --- what runs beside it ---


@pytest.mark.django_db(transaction=True)
async def test_a_redis_that_may_forget_slots_is_told_of_in_the_log(
    settings: Any, own_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHANNEL_LAYERS = {"default": redis_layer(own_redis.url)}
    monkeypatch.setattr("uploads.slots.backing.DatabaseRuns", Memo)
    monkeypatch.setattr("quotas.services.slot_limits", lambda: LIMITS)
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
    slots = SlotKeeper(LIMITS)
    with capture_logs() as lines:
        hold = await slots.enter("f", "ann", WINDOW)
    await hold.release()
    await slots.stop()
    told = {line["setting"] for line in lines if line["event"] == "redis_may_forget_slots"}
    assert told == {"maxmemory_policy", "aof_enabled"}
