"""Many at once, each on a connection of its own: never a byte over, and never a refusal of what would fit."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction

from quotas import rules, services
from quotas.models import AudienceLimit, DailyUsage
from quotas.rules import DayLimitExceeded, Usage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

DAY = date(2026, 11, 23)
SOMEBODY = rules.address_person("192.0.2.7")
GIB, MIB = 1024**3, 1024**2
TOGETHER = 16  # threads at a time; what they do lasts longer than their start


@pytest.fixture(autouse=True)
def production(settings):
    settings.ENVIRONMENT = "production"
    settings.LIMIT_OVERRIDES = dict.fromkeys(rules.VARIABLES)
    services.seed_profiles()


def limit(**values: int | None) -> None:
    assert AudienceLimit.objects.filter(profile__environment="production", audience="anonymous").update(**values) == 1


def all_at_once(action: Callable, arguments: Iterable) -> list:
    """What `action` returned for each argument; the first of them start at the same moment."""
    gate = threading.Barrier(TOGETHER)
    started = threading.local()

    def run(argument):
        if not hasattr(started, "already"):
            started.already = True
            gate.wait()
        try:
            return action(argument)
        finally:
            connection.close()

    with ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(run, arguments))


def try_to_reserve(size: int) -> bool:
    try:
        services.reserve(SOMEBODY, [size], DAY)
    except DayLimitExceeded:
        return False
    return True


def test_two_hundred_who_want_the_last_bytes_get_exactly_those() -> None:
    limit(daily_bytes=1500)
    granted = all_at_once(try_to_reserve, [10] * 200)
    assert granted.count(True) == 150
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 1500, 150)


def test_two_hundred_who_want_the_last_files_get_exactly_those() -> None:
    limit(daily_files=7)
    granted = all_at_once(try_to_reserve, [10] * 200)
    assert granted.count(True) == 7
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 70, 7)


@pytest.mark.parametrize("seed", range(3))
def test_of_mixed_sizes_none_is_refused_that_would_still_fit(seed: int) -> None:
    limit(daily_bytes=4000)
    sizes = random.Random(seed).choices(range(1, 120), k=200)
    granted = all_at_once(try_to_reserve, sizes)
    taken = sum(size for size, had in zip(sizes, granted, strict=True) if had)
    assert services.usage(SOMEBODY.key, DAY).reserved_bytes == taken <= 4000
    # Nothing was given back, so what did not fit then does not fit now.
    refused = [size for size, had in zip(sizes, granted, strict=True) if not had]
    assert refused
    assert all(taken + size > 4000 for size in refused)


def test_two_thousand_requests_of_single_files_and_batches_share_the_last_gigabyte_to_the_last_that_fits() -> None:
    day_limit = 5 * GIB
    limit(file_bytes=None, daily_bytes=day_limit)
    services.reserve(SOMEBODY, [4 * GIB], DAY)
    services.commit(SOMEBODY.key, DAY, 4 * GIB)
    dice = random.Random(20261124)
    requests = [
        [dice.randrange(3 * MIB) for _ in range(1 if dice.random() < 0.7 else dice.randrange(2, 20))]
        for _ in range(2000)
    ]
    # As on a day that is nearly over: most want more than is left, and small ones still find room among them.
    requests += [[dice.randrange(1, 50)] for _ in range(100)]

    def ask(sizes: list[int]) -> DayLimitExceeded | None:
        try:
            services.reserve(SOMEBODY, sizes, DAY)
        except DayLimitExceeded as refusal:
            return refusal
        return None

    answers = list(zip(requests, all_at_once(ask, requests), strict=True))
    for sizes, refusal in answers:
        if refusal:  # was it right by the figures that it read, and did it name the file that went too far?
            before = refusal.used + refusal.reserved
            assert before + sum(sizes[: refusal.position]) <= day_limit < before + sum(sizes[: refusal.position + 1])
    had = [sizes for sizes, refusal in answers if refusal is None]
    refused = [sizes for sizes, refusal in answers if refusal]
    taken = sum(map(sum, had))
    assert services.usage(SOMEBODY.key, DAY) == Usage(4 * GIB, taken, 1 + sum(map(len, had)))
    assert taken <= GIB
    # Nothing was given back, so what did not fit then does not fit now.
    assert refused
    assert min(map(sum, refused)) > GIB - taken
    assert any(len(sizes) > 1 for sizes in had)


@pytest.mark.parametrize("together", range(5))
def test_the_first_file_of_a_day_is_counted_once_for_each_who_sends_one(together: int) -> None:
    day = date(2026, 1, 1 + together)
    all_at_once(lambda _: services.reserve(SOMEBODY, [1], day), range(TOGETHER))
    assert services.usage(SOMEBODY.key, day) == Usage(0, TOGETHER, TOGETHER)
    assert DailyUsage.objects.filter(day=day).count() == 1


def test_commits_and_returns_among_reservations_lose_no_byte() -> None:
    limit(daily_bytes=500)
    over: list[Usage] = []

    def send(number: int) -> int:
        """One file's whole life; returns the bytes that stay used."""
        size, ending = 7 + number % 5, number % 4
        if not try_to_reserve(size):
            return 0
        seen = services.usage(SOMEBODY.key, DAY)
        if seen.used_bytes + seen.reserved_bytes > 500:
            over.append(seen)
        if ending == 0:
            services.commit(SOMEBODY.key, DAY, size)
            return size
        keep = 2 if ending == 1 else 0
        services.give_back(SOMEBODY.key, DAY, size, keep_bytes=keep, forget_files=int(ending == 2))
        return keep

    used = sum(all_at_once(send, range(200)))
    after = services.usage(SOMEBODY.key, DAY)
    assert over == []
    assert (after.used_bytes, after.reserved_bytes) == (used, 0)
    assert used > 0


def test_room_that_is_given_back_over_and_over_is_never_refused() -> None:
    limit(daily_bytes=10 * TOGETHER)

    def hold_and_return(_: int) -> bool:
        granted = try_to_reserve(10)
        if granted:
            services.give_back(SOMEBODY.key, DAY, 10, forget_files=1)
        return granted

    assert all(all_at_once(hold_and_return, range(200)))
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 0, 0)


def test_a_reservation_that_is_rolled_back_leaves_its_room_to_the_one_who_waits() -> None:
    limit(daily_bytes=10)
    reserved = threading.Event()
    waiting = threading.Event()

    def reserve_and_fail() -> None:
        try:
            with transaction.atomic():
                services.reserve(SOMEBODY, [10], DAY)
                reserved.set()
                waiting.wait(20)
                raise LookupError
        finally:
            connection.close()

    def reserve_after() -> bool:
        reserved.wait(20)
        waiting.set()
        try:
            return try_to_reserve(10)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(reserve_and_fail), pool.submit(reserve_after)
        assert second.result(30) is True
        with pytest.raises(LookupError):
            first.result(30)
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 10, 1)


PROCESS = """
import sys, datetime, django
django.setup()
from quotas import rules, services
print("ready", flush=True)
sys.stdin.readline()
granted = 0
for _ in range(50):
    try:
        services.reserve(rules.address_person("192.0.2.7"), [10], datetime.date(2026, 11, 23))
        granted += 1
    except rules.DayLimitExceeded:
        pass
print(granted, flush=True)
"""


def test_processes_that_share_a_database_share_its_quota() -> None:
    limit(daily_bytes=1000)
    environment = os.environ | {
        "DATABASE_URL": database_url(),
        "ENVIRONMENT": "production",
        "ALLOWED_HOSTS": "localhost",
        "SECRET_KEY": django_settings.SECRET_KEY,
        "DJANGO_SETTINGS_MODULE": "directdrivex.settings",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            env=environment,
            cwd=django_settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert sum(int(answer) for answer in answers) == 100
    assert services.usage(SOMEBODY.key, DAY) == Usage(0, 1000, 100)


def database_url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return (
        f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    )
