"""`GET /api/v1/system/upload-status`: how busy the program is, in numbers without identities (wire.md)."""

from django.http import HttpRequest
from ninja import Router, Schema

from monitoring.snapshot import current
from monitoring.state import MemoryState, ProgramState

GIB = 1024**3

router = Router(tags=["system"])


class Concurrency(Schema):
    active_uploads: int
    queued_uploads: int
    global_upload_slots_total: int
    global_upload_slots_available: int
    per_user_limit: int
    backend: str
    healthy: bool
    violations: int


class CurrentUsage(Schema):
    total_gb: float
    available_gb: float
    used_gb: float
    percent: float
    source: str


class Memory(Schema):
    current_usage: CurrentUsage
    ceiling_percent: int
    reserved_bytes: int
    held_by_uploads_bytes: int
    admitting: bool


class Buffers(Schema):
    limit_bytes: int
    in_use_bytes: int
    chunk_size: int


class UploadsToday(Schema):
    attempted: int
    completed: int
    failed: int
    failure_rate_percent: float


class UploadStatus(Schema):
    environment: str
    concurrency_manager: Concurrency
    memory_monitor: Memory
    chunk_buffers: Buffers
    uploads_today: UploadsToday
    alerts: int


def concurrency(state: ProgramState) -> Concurrency:
    """Without its store nothing is granted: then no slot is available, and `healthy` is false."""
    slots = state.slots
    return Concurrency(
        active_uploads=len(slots.leases) if slots else 0,
        queued_uploads=len(slots.tickets) if slots else 0,
        global_upload_slots_total=slots.total if slots else 0,
        global_upload_slots_available=slots.available if slots else 0,
        per_user_limit=slots.per_person if slots else 0,
        backend=slots.backend if slots else "",
        healthy=slots is not None and slots.healthy and not state.violations,
        violations=len(state.violations),
    )


def memory(state: MemoryState, held: int) -> Memory:
    reading = state.reading
    return Memory(
        current_usage=CurrentUsage(
            total_gb=round(reading.total / GIB, 2),
            available_gb=round(reading.available / GIB, 2),
            used_gb=round(reading.used / GIB, 2),
            percent=round(reading.percent, 1),
            source=reading.source,
        ),
        ceiling_percent=state.ceiling_percent,
        reserved_bytes=state.reserved_bytes,
        held_by_uploads_bytes=held,
        admitting=state.admitting,
    )


@router.get("/system/upload-status", response=UploadStatus, summary="How busy the program is, without identities")
async def upload_status(request: HttpRequest) -> UploadStatus:
    state = await current()
    return UploadStatus(
        environment=state.environment,
        concurrency_manager=concurrency(state),
        memory_monitor=memory(state.memory, state.buffers.in_use_bytes),
        chunk_buffers=Buffers(
            limit_bytes=state.buffers.limit_bytes,
            in_use_bytes=state.buffers.in_use_bytes,
            chunk_size=state.buffers.chunk_size,
        ),
        uploads_today=UploadsToday(
            attempted=state.today.attempted,
            completed=state.today.completed,
            failed=state.today.failed,
            failure_rate_percent=state.today.failure_rate_percent,
        ),
        alerts=len(state.alerts),
    )
