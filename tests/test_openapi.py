"""The OpenAPI page tells the truth: Schemathesis reads it, asks the real server, and finds nothing."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from django.utils import translation

from devtools.client import Client, PatternSource
from devtools.server_process import ROOT, ServerProcess

SEED, EXAMPLES = "1", "8"
# A disk without room for 5 TB is no fault of the server's.
FAULTS_OF_OURS = """[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "507"]
# No schema says which ETag a file has: of another one the answer is 412.
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "429", "5xx"]
"""
GENERATED = re.compile(r"(\d+) generated")
SCHEMATHESIS = str(Path(sys.executable).parent / "st")


@pytest.fixture
async def client(wire_server: ServerProcess) -> AsyncIterator[Client]:
    async with Client(wire_server.url) as client:
        yield client


def examine(server: ServerProcess, folder: Path, configuration: str, *options: str) -> int:
    """Let Schemathesis look at every call with every check; returns how many requests it tried."""
    (folder / "schemathesis.toml").write_text(configuration + FAULTS_OF_OURS)
    done = subprocess.run(
        [
            SCHEMATHESIS, "--config-file", "schemathesis.toml", "run", f"{server.url}/api/openapi.json",
            "--checks=all", f"--seed={SEED}", f"--max-examples={EXAMPLES}", "--continue-on-failure", "--no-shrink",
            "--warnings=off", *options,
        ],
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    generated = GENERATED.search(done.stdout)
    assert generated is not None, done.stdout
    return int(generated[1])


def test_nothing_is_found_as_somebody_who_has_nothing(wire_server: ServerProcess, tmp_path: Path) -> None:
    """All phases: single calls, fuzzed and at their boundaries, and calls that follow from one another."""
    assert examine(wire_server, tmp_path, "") > 250


@pytest.mark.parametrize("state", ["completed", "pending"])
async def test_nothing_is_found_as_the_sender_of_a_file(
    client: Client, wire_server: ServerProcess, tmp_path: Path, state: str
) -> None:
    """With its token and ids, so that the answers of success are looked at too, and those of the wrong state."""
    body = {"files": [{"filename": "truth.bin", "size": 1000, "content_type": "text/plain"}], "title": "Truth"}
    batch = await client.call("POST", "batch/initiate", json=body)
    upload = client.upload_from(batch["files"][0])
    if state == "completed":
        await client.send(upload, PatternSource(1000))
    configuration = f'parameters = {{ file_id = "{upload.file_id}", batch_id = "{batch["batch_id"]}" }}\n'
    token = f"--header=Authorization:Bearer {upload.token}"
    # What would end the file, or give it a minute, is left out: it would be gone for all that follows.
    kept = (
        ["--exclude-method=DELETE", "--exclude-method=PATCH"]
        if state == "completed"
        else ["--exclude-path-regex=/cancel/"]
    )
    assert examine(wire_server, tmp_path, configuration, token, "--phases=coverage,fuzzing", *kept) > 100
    assert (await client.status(upload))["status"] == state


def test_the_page_is_made_once_for_each_language() -> None:
    from uploads.api import api

    english = api.get_openapi_schema()
    assert api.get_openapi_schema() is english
    with translation.override("hi"):
        assert api.get_openapi_schema() is not english
    assert "/api/v1/upload/initiate" in english["paths"]
