"""A file sent by headless Chromium: by our page, as one XHR to a bare sink (the browser's own ceiling), and by tus."""

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from bench import install
from bench.measure import FAILURES, MIB, Run, Series, make_file, timed, warm_memory, work_folder
from bench.peers import OurServer, Running, Server, start_sink, start_tus_node
from devtools import machine

LARGEST = 256 * MIB  # a browser is slow enough for this to be seconds
LIMIT_MILLISECONDS = 600_000
OURS, XHR, TUS = "page of DirectDriveX", "XHR PUT of the whole file to a bare sink", "tus-js-client to @tus/server"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]

BLANK = '<!doctype html><title>blank</title><input type="file"><script src="tus.min.js"></script>'

# Each script resolves to the milliseconds from the choice of the file to the end of the upload.
WATCH_OUR_PAGE = """() => {
  document.addEventListener("change", () => { window.began = performance.now(); }, true);
  window.ended = new Promise((done) => new MutationObserver((_, observer) => {
    if (!document.querySelector('ddx-upload-row[data-state="done"]')) return;
    observer.disconnect();
    done(performance.now() - window.began);
  }).observe(document.body, { subtree: true, childList: true, attributes: true }));
}"""
SEND_BY_XHR = """() => new Promise((done, failed) => {
  const began = performance.now(), request = new XMLHttpRequest();
  request.open("PUT", "/put");
  request.onload = () => done(performance.now() - began);
  request.onerror = () => failed(new Error("the request failed"));
  request.send(document.querySelector("input").files[0]);
})"""
SEND_BY_TUS = """(endpoint) => new Promise((done, failed) => {
  const began = performance.now();
  new tus.Upload(document.querySelector("input").files[0], {
    endpoint, retryDelays: null, onError: failed, onSuccess: () => done(performance.now() - began),
  }).start();
})"""


def by_our_page(page: Page, server: Server, pages: str, file: Path) -> float:
    page.goto(f"http://127.0.0.1:{server.port}/", wait_until="networkidle")
    page.evaluate(WATCH_OUR_PAGE)
    page.set_input_files("ddx-dropzone input[type=file]", file)
    return float(page.evaluate("window.ended"))


def by_xhr(page: Page, server: Server, pages: str, file: Path) -> float:
    page.goto(f"http://127.0.0.1:{server.port}/static/blank.html")
    page.set_input_files("input", file)
    return float(page.evaluate(SEND_BY_XHR))


def by_tus(page: Page, server: Server, pages: str, file: Path) -> float:
    page.goto(pages)
    page.set_input_files("input", file)
    return float(page.evaluate(SEND_BY_TUS, f"http://127.0.0.1:{server.port}/files"))


Way = tuple[Callable[[Path, Path], Server], Callable[[Page, Server, str, Path], float]]
WAYS: dict[str, Way] = {
    OURS: (lambda folder, pages: OurServer(folder), by_our_page),
    XHR: (lambda folder, pages: start_sink(folder, pages), by_xhr),
    TUS: (lambda folder, pages: start_tus_node(folder), by_tus),
}


def make_pages(folder: Path) -> Path:
    """The folder of a page that does nothing by itself, with the tus client beside it."""
    shutil.copy(install.node_peers() / "node_modules/tus-js-client/dist/tus.min.js", folder)
    (folder / "blank.html").write_text(BLANK)
    return folder


def run_once(browser: Browser, way: Way, home: Path, pages: Running, file: Path) -> Run:
    size = file.stat().st_size
    with work_folder(home) as folder:
        server = way[0](folder, pages.folder)
        context = browser.new_context()
        try:
            page = context.new_page()
            page.set_default_timeout(LIMIT_MILLISECONDS)
            warm_memory(folder, size)
            address = f"http://127.0.0.1:{pages.port}/static/blank.html"
            return timed(server.pid, size, lambda: way[1](page, server, address, file) / 1000)
        finally:
            context.close()
            server.stop()


def measure(home: Path, file: Path, runs: int) -> Iterable[Series]:
    every = {name: Series(name) for name in WAYS}
    with work_folder(home) as folder, sync_playwright() as playwright:
        chosen = make_file(folder / "browser.bin", min(LARGEST, file.stat().st_size))
        try:
            browser = playwright.chromium.launch(executable_path=machine.chromium(), args=OPTIONS)
            pages = start_sink(folder, make_pages(folder))
        except FAILURES as error:
            return [Series(name, failure=str(error)) for name in WAYS]
        for number in range(runs):
            for name, way in WAYS.items():
                every[name].add(number, partial(run_once, browser, way, home, pages, chosen))
        browser.close()
        pages.stop()
    return every.values()
