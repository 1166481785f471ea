"""Who may scrape, and what they read."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from django.test import AsyncRequestFactory
from prometheus_client.parser import text_string_to_metric_families

from monitoring import snapshot
from monitoring.metrics import metrics
from uploads.delivery.lasting import HELD
from uploads.delivery.line import Line

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh_state(settings):
    settings.METRICS_TOKEN = None
    snapshot.forget()


async def scrape(peer="127.0.0.1", **headers):
    request = AsyncRequestFactory().get("/metrics", headers=headers)
    request.META["REMOTE_ADDR"] = peer
    return await metrics(request)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_without_a_token_this_machine_may_scrape(peer):
    assert (await scrape(peer)).status_code == 200


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "", "unix:/run/socket"])
async def test_without_a_token_nobody_else_may(peer):
    assert (await scrape(peer)).status_code == 403


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"]
)
async def test_a_visitor_whom_a_proxy_on_this_machine_brings_may_not(header):
    assert (await scrape(**{header: "127.0.0.1"})).status_code == 403


async def test_with_a_token_the_token_decides_and_the_address_does_not(settings):
    settings.METRICS_TOKEN = "s3cret"
    assert (await scrape("203.0.113.9", Authorization="Bearer s3cret")).status_code == 200
    assert (await scrape("127.0.0.1")).status_code == 403
    for wrong in ("Bearer s3cre", "Bearer s3cret ", "s3cret", "Basic s3cret", "Bearer", "Bearer gehe\u00efm"):
        assert (await scrape("127.0.0.1", Authorization=wrong)).status_code == 403


async def test_the_text_can_be_read_by_a_scraper_and_has_the_state_of_the_program():
    answer = await scrape()
    assert answer["Content-Type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.content.decode())}
    values = {name: family.samples[0].value for name, family in families.items() if len(family.samples) == 1}
    assert values["directdrivex_slots"] >= 1
    assert values["directdrivex_slots_used"] == 0
    assert values["directdrivex_queue_length"] == 0
    assert values["directdrivex_storage_up"] == values["directdrivex_slot_store_up"] == 1
    assert values["directdrivex_memory_total_bytes"] > values["directdrivex_memory_available_bytes"] > 0
    assert values["process_resident_memory_bytes"] > 0
    outcomes = {sample.labels["outcome"]: sample.value for sample in families["directdrivex_uploads_today"].samples}
    assert outcomes == {"attempted": 0, "completed": 0, "failed": 0}


@pytest.mark.usefixtures("two_accounts")
async def test_each_drive_account_that_is_on_has_its_figures():
    text = (await scrape()).content.decode()
    assert 'directdrivex_drive_account_up{account="sound"} 1.0' in text
    assert 'directdrivex_drive_account_up{account="sick"} 0.0' in text
    assert 'directdrivex_drive_account_day_bytes{account="sound"} 77.0' in text
    assert 'directdrivex_drive_account_room_bytes{account="sound"} 5000.0' in text
    assert 'room_bytes{account="sick"}' not in text
    assert "away" not in text
    assert 'directdrivex_drive_circuit{state="closed"} 1.0' in text
    assert 'directdrivex_drive_circuit{state="open"} 0.0' in text
    assert 'directdrivex_alert{code="drive_account_failing"} 1.0' in text


async def test_without_drive_there_are_no_figures_of_accounts():
    assert "directdrivex_drive" not in (await scrape()).content.decode()


async def test_how_many_downloads_run_and_wait_is_told_of_each_worker(monkeypatch):
    line = Line(at_once=1, each=1)
    monkeypatch.setattr("uploads.fleet.fleet.line", lambda: line)
    async with AsyncExitStack() as held:
        await line.enter(SimpleNamespace(scope={HELD: held}, persons=("address:192.0.2.7",)))
        waiting = asyncio.create_task(line.enter(SimpleNamespace(scope={HELD: held}, persons=("address:192.0.2.8",))))
        while not line.waiting:
            await asyncio.sleep(0)
        text = (await scrape()).content.decode()
        waiting.cancel()
        await asyncio.wait({waiting})
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for name in ("directdrivex_worker_downloads", "directdrivex_worker_downloads_waiting"):
        assert [sample.value for sample in families[name].samples] == [1]
