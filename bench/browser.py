"""A file sent by headless Chromium: by our page, by tus, and as one XHR to a bare sink (the browser's own ceiling).

As much sent from memory over a WebSocket to a bare sink is the ceiling of that. Processor time here is that of the
server and the browser together.
"""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import install
from bench.measure import FAILURES, MIB, Run, Series, make_file, timed, warm_memory, work_folder
from bench.peers import OurServer, Running, Server, start_sink, start_tus_node
from devtools import upload_page
from devtools.chromium import Chromium, Page
from devtools.processes import cpu_seconds_of

LARGEST = 512 * MIB  # a browser is slow enough for this to be seconds
OURS, XHR, TUS = "page of DirectDriveX", "XHR PUT of the whole file to a bare sink", "tus-js-client to @tus/server"
SOCKET = "WebSocket to a bare sink, from memory, no digest"

BLANK = '<!doctype html><title>blank</title><input type="file"><script src="tus.min.js"></script>'

# Each script resolves to the milliseconds from the choice of the file to the end of the upload.
SEND_BY_XHR = """new Promise((done, failed) => {
  const began = performance.now(), request = new XMLHttpRequest();
  request.open("PUT", "/put");
  request.onload = () => done(performance.now() - began);
  request.onerror = () => failed(new Error("the request failed"));
  request.send(document.querySelector("input").files[0]);
})"""
SEND_BY_TUS = """new Promise((done, failed) => {
  const began = performance.now();
  new tus.Upload(document.querySelector("input").files[0], {
    endpoint: "ENDPOINT", retryDelays: null, onError: failed, onSuccess: () => done(performance.now() - began),
  }).start();
})"""
SEND_BY_SOCKET = """new Promise((done, failed) => {
  const began = performance.now(), block = new Uint8Array(2 ** 20), { size } = document.querySelector("input").files[0];
  const socket = new WebSocket(`ws://${location.host}/ws/loop?${size}`);
  socket.onerror = () => failed(new Error("the socket failed"));
  socket.onmessage = () => done(performance.now() - began);
  socket.onopen = async () => {
    for (let sent = 0; sent < size; sent += block.length) {
      while (socket.bufferedAmount > 8 * block.length) await new Promise((look) => setTimeout(look));
      socket.send(block.subarray(0, size - sent));
    }
  };
})"""


@dataclass(frozen=True)
class Way:
    """`begin` has the file sent by a page that is loaded, and gives the milliseconds that the page took for it."""

    start: Callable[[Path, Path], Server]
    address: Callable[[Server, Running], str]
    begin: Callable[[Page, Server, Path], float]


def on_our_page(page: Page, server: Server, file: Path) -> float:
    return upload_page.send(page, file)


def by_script(script: str) -> Callable[[Page, Server, Path], float]:
    def begin(page: Page, server: Server, file: Path) -> float:
        page.choose("input", file)
        return float(page.run(script.replace("ENDPOINT", f"http://127.0.0.1:{server.port}/files")))

    return begin


def blank(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}/static/blank.html"


WAYS = {
    OURS: Way(lambda folder, _: OurServer(folder), lambda server, _: f"http://127.0.0.1:{server.port}/", on_our_page),
    XHR: Way(start_sink, lambda server, _: blank(server), by_script(SEND_BY_XHR)),
    SOCKET: Way(start_sink, lambda server, _: blank(server), by_script(SEND_BY_SOCKET)),
    TUS: Way(lambda folder, _: start_tus_node(folder), lambda _, pages: blank(pages), by_script(SEND_BY_TUS)),
}


def make_pages(folder: Path) -> Path:
    """The folder of a page that does nothing by itself, with the tus client beside it."""
    shutil.copy(install.node_peers() / "node_modules/tus-js-client/dist/tus.min.js", folder)
    (folder / "blank.html").write_text(BLANK)
    return folder


def run_once(browser: Chromium, way: Way, home: Path, pages: Running, file: Path) -> Run:
    size = file.stat().st_size
    with work_folder(home) as folder:
        server = way.start(folder, pages.folder)
        try:
            page = browser.open(way.address(server, pages))
            warm_memory(folder, size)
            cpu = cpu_seconds_of(browser.pid)
            run = timed(server.pid, size, lambda: way.begin(page, server, file) / 1000)
            cpu = cpu_seconds_of(browser.pid) - cpu
            page.close()
            return replace(run, cpu=run.cpu + cpu / (size / 1024**3))
        finally:
            server.stop()


def measure(home: Path, file: Path, runs: int) -> Iterable[Series]:
    every = {name: Series(name) for name in WAYS}
    with work_folder(home) as folder:
        chosen = make_file(folder / "browser.bin", min(LARGEST, file.stat().st_size))
        try:
            browser = Chromium()
            pages = start_sink(folder, make_pages(folder))
        except FAILURES as error:
            return [Series(name, failure=str(error)) for name in WAYS]
        for number in range(runs):
            for name, way in WAYS.items():
                every[name].add(number, partial(run_once, browser, way, home, pages, chosen))
        browser.stop()
        pages.stop()
    return every.values()
