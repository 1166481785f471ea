"""What load balancers and supervisors are told."""

import asyncio

import pytest

from monitoring import health
from monitoring.health import Failing, run_check, run_checks
from uploads.storage.local import LocalStore

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh_outcomes():
    health._outcomes.forget()
    yield
    health._outcomes.forget()


async def test_a_process_that_answers_is_alive(async_client):
    answer = await async_client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


async def test_a_working_program_is_ready_and_says_how_long_each_part_took(async_client):
    answer = await async_client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    checks = answer.json()["checks"]
    assert set(checks) == {"database", "channel_layer", "slot_store", "storage"}
    assert all(check["ok"] and check["ms"] >= 0 for check in checks.values())


async def test_a_full_disk_makes_the_program_not_ready_and_tells_strangers_one_word(
    async_client, tmp_path, monkeypatch
):
    full = LocalStore(tmp_path / "secret-place", 2**62)
    monkeypatch.setattr(health, "get_store", lambda: full)
    answer = await async_client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"
    checks = answer.json()["checks"]
    storage = checks.pop("storage")
    assert (storage["ok"], storage["reason"]) == (False, "full")
    assert all(check["ok"] and "reason" not in check for check in checks.values())
    assert "secret-place" not in answer.content.decode()


async def test_a_check_that_does_not_answer_fails_when_its_time_is_over():
    async def silent():
        await asyncio.Event().wait()

    outcome = await run_check("storage", silent, bound=0.01)
    assert (outcome.ok, outcome.reason) == (False, "timeout")


async def test_checks_run_side_by_side():
    both = asyncio.Barrier(2)  # lets nobody through before both are there

    async def check():
        await both.wait()

    outcomes = await run_checks({"one": check, "two": check})
    assert [outcome.ok for outcome in outcomes.values()] == [True, True]


async def test_a_failing_part_is_named_with_its_reason_and_the_others_are_still_asked():
    async def broken():
        raise Failing("violations", "seven leases at a cap of five")

    async def fine():
        pass

    outcomes = await run_checks({"slot_store": broken, "database": fine})
    assert (outcomes["slot_store"].reason, outcomes["database"].ok) == ("violations", True)


async def test_many_who_ask_at_once_cost_one_round_of_checks(async_client, monkeypatch):
    rounds = 0

    async def counted():
        nonlocal rounds
        rounds += 1

    monkeypatch.setitem(health.CHECKS, "storage", counted)
    answers = await asyncio.gather(*(async_client.get("/readyz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert rounds == 1


async def test_only_looking_is_allowed(async_client):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await async_client.post(path)).status_code == 405
