"""A real Chromium before the real program. Plain Playwright: pytest-playwright's own fixtures are not used."""

import hashlib
import os
import shutil
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, expect, sync_playwright

from devtools import machine
from devtools.server_process import ServerProcess
from tests.browser.network import Network

MIB = 1024 * 1024
CHROMIUM_OPTIONS = [
    "--no-sandbox",  # Chromium has none as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@contextmanager
def launched(playwright: Playwright, path: str) -> Iterator[Browser]:
    """The Chromium at `path`."""
    browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    with launched(playwright, machine.chromium_without_windows()) as browser:
        yield browser


@pytest.fixture
def new_context(chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes a browser of one person: cookies and storage of its own. Faults of any page fail the test."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def make(**options: Any) -> BrowserContext:
        context = chromium.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}} | options)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        context.on(
            "console",
            lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None,
        )
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert faults == []


class UploadPage:
    """The upload page of one person."""

    def __init__(self, page: Page, network: Network) -> None:
        self.page, self.network, self.url = page, network, network.url

    def open(self) -> "UploadPage":
        self.page.goto(self.url)
        expect(self.page.get_by_role("button", name="Choose files")).to_be_enabled()
        return self

    def choose(self, *files: Path | dict[str, Any]) -> None:
        self.page.set_input_files("input[data-choose=files]", list(files))  # type: ignore[arg-type]

    def row(self, name: str) -> Locator:
        return self.page.locator("ddx-upload-row").filter(has=self.page.locator(".row-name", has_text=name))

    def group(self, number: int = 0) -> Locator:
        """The batch that was chosen as this one, counted from 0."""
        return self.page.locator("ddx-upload-group[role=group]").nth(number)

    def batch_link(self, number: int = 0) -> str:
        link = self.group(number).locator("a.batch-link").get_attribute("href")
        assert link
        return link

    def in_state(self, state: str) -> Locator:
        return self.page.locator(f'ddx-upload-row[data-state="{state}"]')

    def expect_state(self, name: str, state: str) -> None:
        expect(self.row(name)).to_have_attribute("data-state", state)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def link_of(self, name: str) -> str:
        link = self.row(name).locator("a.share-link").get_attribute("href")
        assert link
        return link

    def wait_for_progress(self, name: str, least: int = 1) -> None:
        """Until the bar, in thousandths, shows at least this much."""
        handle = self.row(name).locator("progress").element_handle()
        self.page.wait_for_function("([bar, least]) => bar.value >= least", arg=[handle, least])


class Borrowed:
    """The real program, lent to one test after the other: a new one where the last test left an upload unfinished.

    Starting it takes as much of the processor as most tests do.
    """

    def __init__(self, prepared: Path, factory: pytest.TempPathFactory) -> None:
        self._prepared, self._factory = prepared, factory
        self._server: ServerProcess | None = None

    def lend(self) -> ServerProcess:
        if self._server is None or not self._is_as_new(self._server):
            self.stop()
            data = self._factory.mktemp("borrowed") / "data"
            shutil.copytree(self._prepared, data)
            self._server = ServerProcess(data)
            self._server.start()
        return self._server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def _is_as_new(self, server: ServerProcess) -> bool:
        """It runs, and nobody can have a slot or a place in line."""
        assert server.process
        if server.process.poll() is not None:
            return False
        with closing(sqlite3.connect(server.data_dir / "directdrivex.sqlite3")) as database:
            unfinished = "SELECT count(*) FROM uploads_storedfile WHERE status IN ('pending', 'verifying')"
            return database.execute(unfinished).fetchone() == (0,)


@pytest.fixture(scope="session")
def borrowed(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Borrowed]:
    borrowed = Borrowed(prepared_data_dir, tmp_path_factory)
    yield borrowed
    borrowed.stop()


@pytest.fixture
def server(borrowed: Borrowed) -> ServerProcess:
    """The real program with its default settings; each browser of a test is a person of its own there."""
    return borrowed.lend()


@pytest.fixture(scope="module")
def announcing_server(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The real program, for all tests of a module that play the socket: none finds the slots of another in use."""
    data = tmp_path_factory.mktemp("announcing") / "data"
    shutil.copytree(prepared_data_dir, data)
    with ServerProcess(data) as process:
        yield process


@pytest.fixture
def network_to() -> Iterator[Callable[[ServerProcess], Network]]:
    """Makes what lies between browsers and a server."""
    networks: list[Network] = []

    def make(server: ServerProcess) -> Network:
        networks.append(Network(server.port))
        return networks[-1]

    yield make
    for network in networks:
        network.stop()


@pytest.fixture
def network(network_to: Callable[[ServerProcess], Network], server: ServerProcess) -> Network:
    """What lies between every browser and `server`."""
    return network_to(server)


@pytest.fixture
def open_page(network: Network, new_context: Callable[..., BrowserContext]) -> Callable[..., UploadPage]:
    """Opens the upload page of a new person, or in the context given."""

    def make(context: BrowserContext | None = None) -> UploadPage:
        return UploadPage((context or new_context()).new_page(), network).open()

    return make


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[[str, int], Path]:
    """Makes a file of random bytes."""

    def make(name: str, size: int) -> Path:
        path = tmp_path / "chosen" / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, size, 8 * MIB):
                file.write(os.urandom(min(8 * MIB, size - start)))
        return path

    return make


def until(page: Page, condition: Callable[[], Any], seconds: float = 60) -> None:
    """Return when `condition` holds; Playwright's own events are let in between."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        page.wait_for_timeout(10)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_behind(url: str) -> str:
    """The digest of what a plain GET of `url` answers."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as answer:
        while block := answer.read(MIB):
            digest.update(block)
    return digest.hexdigest()
