"""The Drive emulator (`make emulator`) as a child process, for tests, trials and benchmarks."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from devtools.processes import bound_to_parent, cpu_seconds_of, end, memory_of
from devtools.server_process import ROOT, START_SECONDS, ServerFailedError, program_environment

ADDRESS = re.compile(r"emulator listens on (http://[\w.:]+)")


class EmulatorProcess:
    """One emulator with `data_dir` as its DATA_DIR. Its port stays over a restart.

    `url` is its address without a trailing slash: the value of GDRIVE_API_ROOT.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = Path(data_dir)
        self.folder = self.data_dir / "emulator"
        self.log = self.data_dir / "emulator.log"
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def token_url(self) -> str:
        """The value of GDRIVE_TOKEN_URL."""
        return f"{self.url}/token"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a server that stores its files here."""
        return {
            "STORAGE": "gdrive",
            "GDRIVE_API_ROOT": self.url,
            "GDRIVE_TOKEN_URL": self.token_url,
            "GDRIVE_CLIENT_ID": "client",
            "GDRIVE_CLIENT_SECRET": "client secret",
            "GDRIVE_REFRESH_TOKEN": "refresh",
        }

    @property
    def authority(self) -> Path:
        """The certificate of who signs for Google's names on the CONNECT side."""
        return self.folder / "ca.pem"

    def start(self) -> None:
        """Start, and return when it has printed its address. Raises `ServerFailedError`."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        port = str(self.port) if self.url else "0"
        with self.log.open("ab") as log:
            seen = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "devtools.emulator"],
                cwd=ROOT,
                env=program_environment({"DATA_DIR": str(self.data_dir), "EMULATOR_PORT": port}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **bound_to_parent(),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            text = self.log.read_bytes()[seen:].decode(errors="replace")
            if match := ADDRESS.search(text):
                self.url = match[1]
                return
            if ended:
                break
            time.sleep(0.02)
        self.stop()
        raise ServerFailedError(f"the emulator did not start: {text[-4000:]}")

    def stop(self, *, by: int = signal.SIGTERM) -> int:
        """End it; returns its exit code."""
        assert self.process
        return end(self.process, by=by)

    def kill(self) -> None:
        """kill -9: what was not stored is lost."""
        self.stop(by=signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same port and data, after `kill` or `stop`."""
        self.start()

    def text(self) -> str:
        """All that it has printed."""
        return self.log.read_text(errors="replace")

    def memory(self) -> int:
        return memory_of(self.pid)

    def cpu_seconds(self) -> float:
        return cpu_seconds_of(self.pid)

    # --- the interfaces of its own (docs/emulator.md) ---

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """A JSON call; None where the answer is empty. Raises `urllib.error.HTTPError` for 4xx and 5xx."""
        data = None if body is None else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **names}, method=method
        )
        with DIRECT.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_fault(self, fault: str, **fields: Any) -> int:
        """Ask for a fault, such as `add_fault("status", status=403, reason="quotaExceeded")`; returns its id."""
        return int(self.call("POST", "/_faults", {"fault": fault, **fields})["id"])

    def faults(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/_faults")["faults"])

    def fired(self, id: int) -> int:
        """How often this fault has happened."""
        return next(int(fault["fired"]) for fault in self.faults() if fault["id"] == id)

    def clear_faults(self) -> None:
        self.call("DELETE", "/_faults")

    def set_account(self, **fields: Any) -> dict[str, Any]:
        """Introduce or change a user: `set_account(refresh_token="one", limit=2**20, daily=None)`."""
        return dict(self.call("POST", "/_accounts", fields))

    def accounts(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/_accounts")["accounts"])

    def set_tokens(self, **fields: Any) -> None:
        """How tokens are given: `seconds`, `clients`, `known_only`."""
        self.call("POST", "/_tokens", fields)

    def void_tokens(self) -> None:
        """No access token given so far is good any more."""
        self.call("DELETE", "/_tokens")

    # --- what it has, by Drive's own API ---

    def token(self, refresh_token: str = "refresh") -> str:
        """An access token of the user that this refresh token stands for."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": "client",
            "client_secret": "client secret",
        }
        with DIRECT.open(self.token_url, urllib.parse.urlencode(form).encode(), timeout=30) as answer:
            return str(json.load(answer)["access_token"])

    def files(self, q: str = "trashed=false", refresh_token: str = "refresh") -> list[dict[str, Any]]:
        """All files and folders that `q` finds, with all their fields and digests; in shared drives too."""
        found: list[dict[str, Any]] = []
        query = {"q": q, "fields": "*", "pageSize": "1000", "includeItemsFromAllDrives": "true"}
        query |= {"supportsAllDrives": "true", "corpora": "allDrives"}
        authorization = f"Bearer {self.token(refresh_token)}"
        while True:
            path = "/drive/v3/files?" + urllib.parse.urlencode(query)
            answer = self.call("GET", path, Authorization=authorization)
            found += answer["files"]
            if "nextPageToken" not in answer:
                return found
            query["pageToken"] = answer["nextPageToken"]

    def content(self, file_id: str) -> bytes:
        """The bytes of a file, as they lie on the disk."""
        item = json.loads((self.folder / "items" / f"{file_id}.json").read_text())
        return (self.folder / "blobs" / item["blob"]).read_bytes()

    def open_sessions(self) -> int:
        """How many upload sessions are neither finished nor gone nor cancelled."""
        facts = [json.loads(path.read_text()) for path in (self.folder / "sessions").glob("*.json")]
        return sum(not fact["done"] and not fact["gone"] for fact in facts)


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before our own machine
