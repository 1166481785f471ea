"""`GET /api/v1/system/upload-status`, member for member as wire.md has it."""

from datetime import UTC, datetime, timedelta

import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from monitoring import snapshot
from monitoring.snapshot import memory_state, read_last_hour, read_today
from monitoring.state import LastHour, Today
from monitoring.tests.files import a_file, an_event
from uploads.slots.admission import MemoryReading
from uploads.slots.keeper import get_keeper
from uploads.slots.manager import LeaseView, SlotSnapshot
from uploads.states import Status

ADDRESS = "/api/v1/system/upload-status"
SHAPE = {
    "environment": str,
    "concurrency_manager": {
        "active_uploads": int,
        "queued_uploads": int,
        "global_upload_slots_total": int,
        "global_upload_slots_available": int,
        "per_user_limit": int,
        "backend": str,
        "healthy": bool,
        "violations": int,
    },
    "memory_monitor": {
        "current_usage": {"total_gb": float, "available_gb": float, "used_gb": float, "percent": float, "source": str},
        "ceiling_percent": int,
        "reserved_bytes": int,
        "held_by_uploads_bytes": int,
        "admitting": bool,
    },
    "chunk_buffers": {"limit_bytes": int, "in_use_bytes": int, "chunk_size": int},
    "uploads_today": {"attempted": int, "completed": int, "failed": int, "failure_rate_percent": float},
    "alerts": int,
}


@pytest.fixture(autouse=True)
def fresh_state():
    snapshot.forget()


def shape_of(value):
    return {key: shape_of(member) for key, member in value.items()} if isinstance(value, dict) else type(value)


@pytest.mark.django_db(transaction=True)
async def test_every_member_is_there_with_its_type(async_client):
    answer = await async_client.get(ADDRESS)
    assert answer.status_code == 200
    assert shape_of(answer.json()) == SHAPE


@pytest.mark.django_db(transaction=True)
async def test_an_idle_program_has_all_slots_free(async_client):
    slots = (await async_client.get(ADDRESS)).json()["concurrency_manager"]
    assert slots["active_uploads"] == slots["queued_uploads"] == slots["violations"] == 0
    assert slots["global_upload_slots_available"] == slots["global_upload_slots_total"] == 20
    assert (slots["per_user_limit"], slots["backend"], slots["healthy"]) == (5, "memory", True)


@pytest.mark.django_db(transaction=True)
async def test_the_memory_figures_agree_with_each_other(async_client):
    usage = (await async_client.get(ADDRESS)).json()["memory_monitor"]["current_usage"]
    assert usage["used_gb"] + usage["available_gb"] == pytest.approx(usage["total_gb"], abs=0.05)
    assert usage["percent"] == pytest.approx(100 * usage["used_gb"] / usage["total_gb"], abs=1)


@pytest.mark.django_db(transaction=True)
async def test_it_names_nobody_and_no_file(async_client):
    await database_sync_to_async(a_file)("divorce-papers.pdf", person="address:198.51.100.77")
    text = (await async_client.get(ADDRESS)).content.decode()
    assert '"attempted": 1' in text
    assert "divorce" not in text
    assert "198.51.100.77" not in text


@pytest.mark.django_db(transaction=True)
async def test_it_stands_on_the_openapi_page(async_client):
    schema = (await async_client.get("/api/openapi.json")).json()
    assert ADDRESS in schema["paths"]


async def test_memory_promised_on_another_machine_is_none_of_ours(monkeypatch):
    keeper = get_keeper()
    monkeypatch.setattr(keeper._backing, "node", "here")
    reading = MemoryReading(10**12, 10**12, 0, 0.0, "machine")
    monkeypatch.setattr(keeper.admission, "reading", lambda: reading)
    ceiling = keeper.admission.ceiling

    def promised_on(node):
        lease = LeaseView("f", "ann", ceiling, 1, 3.0, 27.0, True, node)
        return memory_state(SlotSnapshot("redis", True, 20, 5, (lease,), ()), ())

    assert not promised_on("here").admitting
    assert promised_on("elsewhere").admitting


@pytest.mark.django_db
def test_today_begins_at_utc_midnight_and_counts_by_announcement():
    now = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    a_file(created_at=midnight - timedelta(seconds=1), status=Status.COMPLETED, completed_at=now)
    a_file(created_at=midnight, stored_bytes=700)
    a_file(created_at=midnight, status=Status.COMPLETED, completed_at=now, stored_bytes=1000)
    a_file(created_at=midnight, status=Status.DELETED, completed_at=now)
    a_file(created_at=midnight, status=Status.FAILED, stored_bytes=900)
    a_file(created_at=midnight, status=Status.CANCELLED)
    assert read_today(now) == Today(attempted=5, completed=2, failed=1, stored_bytes=1700)
    assert read_today(now).failure_rate_percent == 20.0


def test_a_day_without_uploads_has_no_failures():
    assert Today().failure_rate_percent == 0.0


@pytest.mark.django_db
def test_the_last_hour_counts_what_ended_in_it_whenever_it_began():
    now = timezone.now()
    yesterday = a_file(created_at=now - timedelta(hours=20), status=Status.COMPLETED)
    an_event(yesterday, Status.COMPLETED, now - timedelta(minutes=59))
    an_event(a_file(), Status.COMPLETED, now - timedelta(minutes=61))
    an_event(a_file(), Status.FAILED, now - timedelta(minutes=1))
    an_event(a_file(), Status.CANCELLED, now - timedelta(minutes=1))
    assert read_last_hour(now) == LastHour(completed=1, failed=1)
