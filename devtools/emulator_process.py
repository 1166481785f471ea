"""The Drive emulator (`make emulator`) as a child process, for tests, trials and benchmarks."""

import json
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from devtools.server_process import ProgramProcess, program_environment

FILES = "trashed=false and mimeType != 'application/vnd.google-apps.folder'"  # and no folders
ADDRESS = re.compile(r"emulator listens on (http://[\w.:]+)")


class EmulatorProcess(ProgramProcess):
    """One emulator with `data_dir` as its DATA_DIR; `url` is the value of GDRIVE_API_ROOT."""

    title = "emulator"
    address = ADDRESS

    def __init__(self, data_dir: Path) -> None:
        super().__init__(Path(data_dir) / "emulator.log")
        self.data_dir = Path(data_dir)
        self.folder = self.data_dir / "emulator"

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
        self.data_dir.mkdir(parents=True, exist_ok=True)
        port = str(self.port) if self.url else "0"
        environment = program_environment({"DATA_DIR": str(self.data_dir), "EMULATOR_PORT": port})
        self.launch(["-m", "devtools.emulator"], environment)

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

    def files(
        self, q: str = "trashed=false", refresh_token: str = "refresh", fields: str = "*"
    ) -> list[dict[str, Any]]:
        """All files and folders that `q` finds, in shared drives too; digests that are not there yet are made."""
        found: list[dict[str, Any]] = []
        query = {"q": q, "fields": fields, "pageSize": "1000", "includeItemsFromAllDrives": "true"}
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
        return len(self.open_session_ids())

    def open_session_ids(self) -> list[str]:
        """What makes the address of each of them a secret."""
        facts = [json.loads(path.read_text()) for path in (self.folder / "sessions").glob("*.json")]
        return [fact["id"] for fact in facts if not fact["done"] and not fact["gone"]]


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before our own machine
