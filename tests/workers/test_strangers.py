"""What cannot be one program is not begun: stores that are not shared, settings that do not fit together."""

import asyncio
import shutil
from pathlib import Path

import pytest

from devtools.client import Client
from devtools.server_process import ServerFailedError
from tests.test_commands import manage
from tests.workers.conftest import MakeCrew
from tests.workers.crew import Crew
from uploads.fleet.fleet import difference
from uploads.fleet.report import Process, Report, loads
from uploads.slots.admission import MemoryReading
from uploads.storage.local import LocalStore


@pytest.fixture(scope="module")
def crew(make_crew: MakeCrew) -> Crew:
    """With one worker that is alive."""
    crew = make_crew()
    crew.hire()
    return crew


def test_a_server_with_another_folder_is_refused_while_one_is_alive(crew: Crew, tmp_path: Path) -> None:
    with pytest.raises(ServerFailedError, match=r"DATA_DIR is not the folder of process .* mount the same folder"):
        crew.hire(DATA_DIR=str(tmp_path / "another"))


def test_a_copy_of_the_folder_is_another_folder(crew: Crew, tmp_path: Path) -> None:
    shutil.copytree(crew.folder, tmp_path / "copy")
    with pytest.raises(ServerFailedError, match="DATA_DIR is not the folder"):
        crew.hire(DATA_DIR=str(tmp_path / "copy"))


def test_the_same_folder_by_another_path_is_the_same(crew: Crew, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(crew.folder)
    crew.hire(DATA_DIR=str(tmp_path / "link")).stop()


async def test_a_server_behind_daphne_is_one_of_them(crew: Crew) -> None:
    daphne = crew.hire(SERVER="daphne")
    async with Client(crew.workers[0].url) as client, asyncio.timeout(60):
        while True:
            async with client.http.get("/metrics") as answer:
                if f'pid="{daphne.pid}"' in await answer.text():
                    break
            await asyncio.sleep(0.1)
    assert daphne.stop() == 0


def test_a_server_with_another_secret_key_is_refused(crew: Crew) -> None:
    with pytest.raises(ServerFailedError, match="SECRET_KEY is not that of process"):
        crew.hire(SECRET_KEY="another key for tests, which protects nothing either")


@pytest.mark.parametrize(
    ("settings", "check", "advice"),
    [
        ({"DATABASE_URL": "postgres://somewhere/x"}, "directdrivex.E001", "Set REDIS_URL=redis://"),
        ({"REDIS_URL": "redis://127.0.0.1:1"}, "directdrivex.E005", "Set DATABASE_URL=postgres://"),
        (
            {"REDIS_URL": "redis://127.0.0.1:1", "DATABASE_URL": "postgres://somewhere/x", "SERVER": "daphne"},
            "directdrivex.E006",
            "Unset SERVER",
        ),
    ],
)
def test_several_workers_that_share_too_little_are_refused_with_what_to_set(
    settings: dict[str, str], check: str, advice: str, tmp_path: Path
) -> None:
    done = manage("serve", WORKERS="2", DATA_DIR=str(tmp_path), **settings)
    assert done.returncode == 1
    assert check in done.stderr
    assert advice in done.stderr


def test_one_worker_needs_neither_redis_nor_postgresql(tmp_path: Path) -> None:
    assert manage("check", WORKERS="1", DATA_DIR=str(tmp_path)).returncode == 0


# --- On other machines -------------------------------------------------------------------------------------------


def report(node: str, folder: str, secret: str = "s") -> Report:
    process = Process("elsewhere.example.org", 7, 0.0, 0, 0.0, 0)
    memory = MemoryReading(8, 4, 4, 50.0, "machine")
    return Report(f"w-{node}", node, folder, secret, process, memory, 0, 0, 0)


def test_machines_that_share_a_folder_know_it_by_the_signs_that_they_left_in_it(tmp_path: Path) -> None:
    shared, other = LocalStore(tmp_path / "shared"), LocalStore(tmp_path / "other")
    shared.sign("boot-2")
    here, there = report("boot-1", "8:1"), report("boot-2", "9:44")
    assert difference(here, there, shared) == ""
    assert "DATA_DIR is not the folder of process 7 on elsewhere.example.org" in difference(here, there, other)


def test_machines_that_keep_no_files_in_folders_need_none_in_common(tmp_path: Path) -> None:
    assert difference(report("boot-1", ""), report("boot-2", ""), None) == ""
    assert "STORAGE=gdrive" in difference(report("boot-1", ""), report("boot-2", "9:44"), None)
    assert "STORAGE=gdrive" in difference(report("boot-1", "8:1"), report("boot-2", ""), LocalStore(tmp_path))


def test_machines_with_other_secrets_are_told_so() -> None:
    assert "SECRET_KEY" in difference(report("boot-1", ""), report("boot-2", "", "t"), None)


def test_a_report_is_read_as_it_was_written_and_one_of_another_version_is_passed_over() -> None:
    written = report("boot-1", "8:1")
    assert loads(written.dumps()) == written
    assert loads(written.dumps().replace('"node"', '"knot"')) is None
    assert loads("[]") is None
