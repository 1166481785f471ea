"""Several servers that are one program: they share a PostgreSQL, a Redis and a folder, as workers and machines do.

Which worker a connection meets is the kernel's choice; a server with an address of its own is a worker that can be met.
"""

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis

from devtools.client import Upload
from devtools.server_process import ServerProcess

NAME, PASSWORD = "root@example.org", "a long password for tests"
LEASE_SECONDS = 6.0


COMMON = {
    "SECRET_KEY": "a key for tests only, which protects nothing at all",
    "SLOT_LEASE_SECONDS": f"{LEASE_SECONDS:.0f}",
    "ADMIN_EMAIL": NAME,
    "ADMIN_PASSWORD": PASSWORD,
}


class Crew:
    """What the servers share; `hire` starts one. `environment` is that of all of them, `database` theirs alone."""

    def __init__(self, folder: Path, database: str, redis_url: str, **environment: str) -> None:
        self.folder = folder
        self.environment = {"DATABASE_URL": database, "REDIS_URL": redis_url, **COMMON, **environment}
        self.workers: list[ServerProcess] = []
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()

    def hire(self, *program: str, **environment: str) -> ServerProcess:
        """One more server; `program` is another than `manage.py serve`."""
        data = Path(environment.pop("DATA_DIR", self.folder))
        data.mkdir(exist_ok=True)
        worker = ServerProcess(data, {**self.environment, **environment}, program or ("manage.py", "serve"))
        worker.log = data / f"server-{len(self.workers)}.log"
        self.workers.append(worker)
        worker.start()
        return worker

    def dismiss(self) -> None:
        for worker in self.workers:
            if worker.process is not None:
                worker.stop()

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.environment["DATABASE_URL"]) as connection:
            return connection.execute(statement, values).fetchall()


def at(worker: ServerProcess, upload: Upload) -> Upload:
    """The same upload by way of this worker, with messages of its own."""
    url = f"{worker.ws_url}{urlsplit(upload.url).path}"
    return dataclasses.replace(upload, url=url, messages=[], connections=0)
