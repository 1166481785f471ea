"""A server on the Drive emulator, as tests and trials see both."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devtools.client import Client, PatternSource, Upload, sha256_of
from devtools.emulator_process import EmulatorProcess
from devtools.server_process import ROOT, ServerProcess, prepare, program_environment

HASTY = ("-m", "devtools.hasty_drive")
SECOND_REFRESH_TOKEN = "1//second-refresh-token"
ADD_ACCOUNT = """
from uploads import drive_accounts
from uploads.drive_models import DriveAccount
account = DriveAccount(name="second", priority=2)
client = {{"client_id": "client", "client_secret": "client secret", "refresh_token": {token!r}}}
drive_accounts.keep_credentials(account, client)
account.save()
"""


class Site:
    """A program that stores on an emulator of its own, by the account `env` and, with `accounts=2`, by `second`."""

    def __init__(self, folder: Path, accounts: int = 1, program: Sequence[str] = HASTY, **overrides: str) -> None:
        self.emulator = EmulatorProcess(folder / "emulator")
        self.emulator.start()
        data = folder / "data"
        data.mkdir(parents=True)
        values = {**self.emulator.settings, "GDRIVE_REFRESH_TOKEN": "1//first-refresh-token", **overrides}
        prepare({"DATA_DIR": str(data), **values})
        if accounts == 2:
            environment = program_environment({"DATA_DIR": str(data), **values})
            script = ADD_ACCOUNT.format(token=SECOND_REFRESH_TOKEN)
            subprocess.run([sys.executable, "manage.py", "shell", "-c", script], cwd=ROOT, env=environment, check=True)
        self.server = ServerProcess(data, values, program)
        self.server.start()

    def stop(self) -> None:
        self.server.stop()
        self.emulator.stop()

    def database(self, statement: str, *values: Any) -> list[Any]:
        """The rows that one statement gives, beside the running program."""
        with sqlite3.connect(self.server.data_dir / "directdrivex.sqlite3", timeout=20) as connection:
            return connection.execute(statement, values).fetchall()

    def forgive(self) -> None:
        """Accounts that failed, or had no more room, are as new; so is the emulator."""
        self.emulator.clear_faults()
        self.forgive_accounts()
        self.database("DELETE FROM uploads_drivebooking")

    def forgive_accounts(self) -> None:
        """Accounts that failed, or had no more room, are as new."""
        self.database(
            "UPDATE uploads_driveaccount SET failures=0, failing_since=NULL, openings=0, retry_at=NULL, trying=0,"
            " error_code='', last_error='', refused_until=NULL, full_until=NULL, daily_bytes=750000000000"
        )
        self.database("DELETE FROM uploads_storagecircuit")
        self.database("DELETE FROM uploads_drivehour")

    def files_of(self, upload: Upload) -> list[dict[str, Any]]:
        """What Drive has of this upload, whichever account it lies on."""
        return self.emulator.files(f"appProperties has {{ key='key' and value='{upload.file_id}' }}")

    def account_of(self, upload: Upload) -> str:
        """The name of the account that the upload's file lies on."""
        [[name]] = self.database(
            "SELECT name FROM uploads_driveaccount JOIN uploads_driveupload"
            " ON uploads_driveaccount.id = uploads_driveupload.account_id WHERE key = ?",
            upload.file_id.replace("-", ""),
        )
        return str(name)

    async def is_there_once(
        self, client: Client, upload: Upload, source: PatternSource, *, after_a_kill: bool = False
    ) -> None:
        """The file lies on Drive once, equal, is handed out equal, and nothing is left of its way there."""
        sha256 = sha256_of(source)
        [file] = self.files_of(upload)
        assert file["sha256Checksum"] == sha256
        assert int(file["size"]) == source.size
        assert await client.digest_of_download(upload) == sha256
        await self.nothing_is_held(client, after_a_kill=after_a_kill)

    async def uploads_now(self, client: Client) -> dict[str, int]:
        state = (await client.call("GET", "system/upload-status"))["concurrency_manager"]
        return {name: state[name] for name in ("active_uploads", "queued_uploads")}

    async def nothing_is_held(self, client: Client, *, after_a_kill: bool = False, lost_sessions: int = 0) -> None:
        """No session, slot, place, reservation of a budget or hold of an upload is left.

        What a process had reserved that was killed lapses by itself, after minutes; so does, after a week, a session
        that it had just begun and not yet written down: there may be so many `lost_sessions`.
        """
        assert self.emulator.open_sessions() <= lost_sessions
        async with asyncio.timeout(40 if after_a_kill else 10):
            while any((await self.uploads_now(client)).values()):  # noqa: ASYNC110 - what another process says
                await asyncio.sleep(0.1)
        if not after_a_kill:
            assert self.database("SELECT COUNT(*) FROM uploads_drivebooking") == [(0,)]
        # What a dead process held is void.
        mine = f"%/{self.server.pid}:%"
        assert self.database("SELECT COUNT(*) FROM uploads_driveupload WHERE holder LIKE ?", mine) == [(0,)]


def manage(site: Site, *words: str) -> str:
    """What `manage.py` says beside the running program."""
    environment = program_environment({"DATA_DIR": str(site.server.data_dir), **site.server.overrides})
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unclosed" not in done.stderr
    return done.stdout
