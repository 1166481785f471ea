"""`/metrics`: the state of the program as Prometheus text, for the operator's own scraper and nobody else."""

import ipaddress
from collections.abc import Iterable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.snapshot import current
from monitoring.state import ProgramState
from uploads.storage.breaker import State
from uploads.storage.gdrive.conditions import USABLE

# A proxy in front makes every visitor a loopback peer; its headers give it away.
FORWARDING_HEADERS = ("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


class StateCollector(Collector):
    """One state as gauges. A figure that is not known (the slot store is away) is left out, not given as 0."""

    def __init__(self, state: ProgramState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        state = self._state
        reading = state.memory.reading
        yield from self._slots()
        yield gauge("memory_total_bytes", "Memory of the machine or container", reading.total)
        yield gauge("memory_used_bytes", "Memory in use, page cache not counted", reading.used)
        yield gauge("memory_available_bytes", "Memory that can still be taken", reading.available)
        yield gauge("memory_used_percent", "Memory in use, in percent", reading.percent)
        yield gauge("memory_ceiling_percent", "Above this no upload starts", state.memory.ceiling_percent)
        yield gauge("memory_reserved_bytes", "Memory that uploads leave free", state.memory.reserved_bytes)
        yield gauge("admitting", "1 if memory allows one more upload", state.memory.admitting)
        yield gauge("buffer_limit_bytes", "What uploads may hold in memory", state.buffers.limit_bytes)
        yield gauge("buffer_used_bytes", "What uploads hold in memory", state.buffers.in_use_bytes)
        yield from self._workers()
        yield gauge("receive_rate_bytes_per_second", "Of all uploads", sum(view.rate for view in state.transfers))
        yield gauge("storage_up", "1 if the storage could take an upload", state.storage.ok)
        yield from self._accounts()
        yield gauge("database_up", "1 if the database answers", not state.database_error)
        today = GaugeMetricFamily("directdrivex_uploads_today", "Announced since UTC midnight", labels=["outcome"])
        for outcome in ("attempted", "completed", "failed"):
            today.add_metric([outcome], getattr(state.today, outcome))
        yield today
        hour = GaugeMetricFamily("directdrivex_uploads_last_hour", "Ended within the last hour", labels=["outcome"])
        hour.add_metric(["completed"], state.last_hour.completed)
        hour.add_metric(["failed"], state.last_hour.failed)
        yield hour
        ringing = GaugeMetricFamily("directdrivex_alert", "1 for each alert that rings", labels=["code"])
        for alert in state.alerts:
            ringing.add_metric([alert.code], 1)
        yield ringing

    def _workers(self) -> Iterable[Metric]:
        """Whoever answers the scrape speaks for all, so that each is named."""
        labels = ["machine", "pid"]
        kinds = {
            "resident_memory_bytes": "Memory of the process",
            "buffer_used_bytes": "What its uploads hold in memory",
            "connections": "Upload sockets that are open",
            "downloads": "Downloads that run",
            "downloads_waiting": "Downloads that wait for one to end",
            "open_files": "Open files and sockets",
        }
        found = [GaugeMetricFamily(f"directdrivex_worker_{name}", text, labels=labels) for name, text in kinds.items()]
        cpu = CounterMetricFamily("directdrivex_worker_cpu_seconds", "Processor time used", labels=labels)
        for worker in self._state.workers:
            process = worker.process
            values = (
                process.resident_bytes,
                worker.buffered_bytes,
                worker.connections,
                worker.downloads,
                worker.downloads_waiting,
                process.open_files,
            )
            for family, value in zip(found, values, strict=True):
                family.add_metric([process.host, str(process.pid)], value)
            cpu.add_metric([process.host, str(process.pid)], process.cpu_seconds)
        yield from (*found, cpu)

    def _accounts(self) -> Iterable[Metric]:
        accounts, circuit = self._state.drive.accounts, self._state.drive.circuit
        if not accounts:
            return
        states = GaugeMetricFamily("directdrivex_drive_circuit", "1 for the state that it is in", labels=["state"])
        for state in State:
            states.add_metric([state.value], float(state is circuit))
        up = GaugeMetricFamily("directdrivex_drive_account_up", "1 if it may take a file", labels=["account"])
        used = GaugeMetricFamily("directdrivex_drive_account_day_bytes", "Stored within 24 hours", labels=["account"])
        room = GaugeMetricFamily("directdrivex_drive_account_room_bytes", "Free, if Drive says so", labels=["account"])
        for account in accounts:
            up.add_metric([account.name], float(account.condition in USABLE))
            used.add_metric([account.name], account.used_bytes)
            if account.room_bytes is not None:
                room.add_metric([account.name], account.room_bytes)
        yield from (states, up, used, room)

    def _slots(self) -> Iterable[Metric]:
        slots = self._state.slots
        yield gauge("slot_store_up", "1 if the slot store can be reached", slots is not None and slots.healthy)
        if slots is None:
            return
        yield gauge("slots", "Slots for all", slots.total)
        yield gauge("slots_used", "Slots that are held", len(slots.leases))
        yield gauge("slot_violations", "Invariants of the slots that are broken", len(self._state.violations))
        yield gauge("queue_length", "Uploads in the line", len(slots.tickets))
        longest = max((ticket.waited_seconds for ticket in slots.tickets), default=0)
        yield gauge("queue_longest_wait_seconds", "How long the longest has waited", longest)


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"directdrivex_{name}", text, value=float(value))


def may_scrape(request: HttpRequest) -> bool:
    """By METRICS_TOKEN where it is set; else only from this machine, and through no proxy."""
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "")
        return constant_time_compare(given, f"Bearer {settings.METRICS_TOKEN}")
    if any(header.startswith(FORWARDING_HEADERS) for header in request.META):
        return False
    try:
        peer = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    return (mapped or peer).is_loopback


@require_safe
@never_cache
async def metrics(request: HttpRequest) -> HttpResponse:
    if not may_scrape(request):
        return HttpResponse("403: see METRICS_TOKEN\n", status=403, content_type="text/plain")
    registry = CollectorRegistry()
    state = await current()
    registry.register(StateCollector(state))
    if len(state.workers) == 1:
        ProcessCollector(registry=registry)  # of several, it would tell now of the one and then of the other
    PlatformCollector(registry=registry)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
