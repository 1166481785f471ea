"""`make load` in short: many simulated people against the real program, and faults that it must not pass over."""

import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devtools.client import Refused, Upload
from devtools.load import plan
from devtools.load.__main__ import main
from devtools.load.plan import LoadSource, Options
from devtools.load.sender import Sender
from devtools.load.tally import Tally, percentiles
from devtools.server_process import ServerProcess

SHORT = [
    *("--uploads=30", "--people=10", "--largest=1000000", "--slow-people=0.3", "--slow-rate=8000000"),
    *("--disconnects=0.3", "--pauses=0.2", "--cancels=0.2", "--downloads=0.3", "--arrive-within=1", "--seed=5"),
]
StartServer = Callable[..., ServerProcess]


def run(url: str, tmp_path: Path, *words: str) -> tuple[int, dict]:
    code = main([url, f"--json={tmp_path / 'report.json'}", *words])
    return code, json.loads((tmp_path / "report.json").read_text())


def test_people_who_wait_lose_their_line_pause_and_cancel_all_come_to_a_good_end(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(MAX_CONCURRENT_UPLOADS="4", MAX_CONCURRENT_UPLOADS_PER_USER="2")
    code, report = run(server.url, tmp_path, *SHORT)
    assert (code, report["faults"]) == (0, [])
    assert report["equal"] + report["cancelled_as_planned"] == 30
    assert min(report["cancelled_as_planned"], report["downloads_equal"]) > 0
    assert min(report["steps"][step] for step in plan.PLANNED_STEPS) > 0
    assert report["connections"] > 30
    assert report["wait_seconds"]["p99"] > 0
    stored = [path for path in (server.data_dir / "storage").rglob("*") if path.is_file() and path.stat().st_size]
    assert not stored, "it takes its files away again"


@pytest.mark.parametrize("words", [[], ["--forwarded"]], ids=["by address", "by header"])
def test_each_of_its_people_has_limits_of_their_own(
    start_server: StartServer, tmp_path: Path, words: list[str]
) -> None:
    server = start_server(ENVIRONMENT="staging", TRUSTED_PROXIES="127.0.0.1", RATE_INITIATE_PER_MINUTE="2")
    code, report = run(server.url, tmp_path, "--uploads=6", "--people=3", "--cancels=0", "--largest=2000", *words)
    assert (code, report["equal"], report["refusals_by_code"]) == (0, 6, {})


def test_a_refusal_for_good_is_a_fault(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(ENVIRONMENT="staging")
    code, report = run(
        server.url, tmp_path, "--uploads=2", "--people=2", "--smallest=3000000000", "--largest=3000000001"
    )
    assert code == 1
    assert report["refusals_by_code"] == {"file_too_large": 2}
    assert len(report["faults"]) == 2


def test_what_is_not_over_in_time_is_a_fault(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    words = ("--uploads=3", "--people=1", "--smallest=2000000", "--slow-people=1", "--slow-rate=1000", "--seconds=2")
    code, report = run(server.url, tmp_path, *words)
    assert (code, report["faults"]) == (1, ["3 uploads were not over in time"])


async def test_a_file_is_taken_away_though_that_is_refused_for_now_or_the_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tally, options = Tally(), Options("http://127.0.0.1:9")
    sender = Sender(options, next(plan.people(options)), tally, "run")
    answers = [Refused("internal", retryable=True), aiohttp.ServerDisconnectedError(), Refused("gone", retryable=False)]

    async def call(method: str, path: str, **_: Any) -> None:
        assert (method, path) == ("DELETE", "files/1")
        raise answers.pop(0)

    monkeypatch.setattr(sender._client, "call", call)
    await sender._delete(Upload("1", "token", "", {}))
    assert not answers
    assert tally.codes == {"internal": 1, "no answer": 1}


@pytest.mark.parametrize(
    "words", [["http://192.0.2.1"], ["http://192.0.2.1", "--elsewhere"], ["http://no-such.invalid"]]
)
def test_another_machine_is_not_loaded_by_accident(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err


def test_where_nobody_answers_it_says_why_and_does_not_try_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:9"]) == 2
    assert "http://127.0.0.1:9 does not answer: [Errno 111]" in capsys.readouterr().err


def test_the_same_seed_makes_the_same_people_and_each_upload_comes_once() -> None:
    options = Options("", uploads=1003, people=300)
    everybody = list(plan.people(options))
    assert everybody == list(plan.people(options))
    assert sorted(upload.number for person in everybody for upload in person.uploads) == list(range(1003))
    assert len({person.address for person in everybody}) == 300


@pytest.mark.parametrize("forwarded", [True, False])
def test_a_hundred_thousand_people_come_from_addresses_of_their_own(forwarded: bool) -> None:
    addresses = {ipaddress.ip_address(plan.address_of(number, forwarded=forwarded)) for number in range(100_000)}
    assert len(addresses) == 100_000
    assert all(address.is_loopback != forwarded for address in addresses)


def test_sources_differ_and_can_be_read_from_anywhere() -> None:
    one, other = LoadSource(3_000_000, 1), LoadSource(3_000_000, 2)
    whole = one.read(0, 3_000_000)
    assert whole != other.read(0, 3_000_000)
    assert one.read(1_000_000, 1_500_000) == whole[1_000_000:2_500_000]


def test_percentiles_of_few_times_are_among_them() -> None:
    assert percentiles([]) == {}
    assert percentiles([2.0]) == {"p50": 2.0, "p95": 2.0, "p99": 2.0, "max": 2.0}
    assert percentiles([float(number) for number in range(101)])["p95"] == 95.0
