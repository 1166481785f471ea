"""Chromium as a person has it: steered through its debugging port, with nothing of DevTools on that would be paid for.

Playwright switches the network events on, and then Chromium passes every message of a WebSocket through them in
base64: 30 CPU seconds per GiB, of which a person's browser spends none.
"""

import itertools
import json
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from devtools import machine
from devtools.processes import bound_to_parent, end

OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
OPTIONS += ["--disable-background-networking", "--disable-sync", "--remote-debugging-port=0"]
START_SECONDS = 30.0
LIMIT_SECONDS = 600.0
POLL_SECONDS = 0.05


class Chromium:
    """A headless browser with a profile of its own. Raises `RuntimeError` where it does not do as it is told."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="directdrivex-chromium-", ignore_cleanup_errors=True)
        command = [machine.chromium(), *OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **bound_to_parent()
        )
        self.pid = self._process.pid
        self._numbers = itertools.count(1)
        address = Path(self._profile.name) / "DevToolsActivePort"
        deadline = time.monotonic() + START_SECONDS
        while not (address.is_file() and len(address.read_text().split()) == 2):
            if time.monotonic() > deadline:
                end(self._process)
                raise RuntimeError("Chromium opened no debugging port")
            time.sleep(POLL_SECONDS)
        port, path = address.read_text().split()
        self._open = ExitStack()
        self._socket = self._open.enter_context(
            connect(f"ws://127.0.0.1:{port}{path}", compression=None, max_size=None)
        )

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        try:
            self._socket.send(json.dumps(message))
            while True:
                answer: dict[str, Any] = json.loads(self._socket.recv(LIMIT_SECONDS))
                if answer.get("id") == number:
                    break
        except (WebSocketException, TimeoutError) as error:
            raise RuntimeError(f"{method}: {error}") from error
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return dict(answer["result"])

    def open(self, url: str) -> "Page":
        """The page of a new person, loaded."""
        person = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=person)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, person, session)
        self.call("Page.navigate", session, url=url)
        page.wait_for("location.href != 'about:blank' && document.readyState == 'complete'")
        return page

    def stop(self) -> None:
        self._open.close()
        end(self._process)
        self._profile.cleanup()


class Page:
    def __init__(self, browser: Chromium, person: str, session: str) -> None:
        self._browser, self._person, self._session = browser, person, session

    def run(self, expression: str) -> Any:
        """What a JavaScript expression, or the promise that it is, comes to."""
        result = self._evaluate(expression, awaitPromise=True, returnByValue=True)
        return result.get("value")

    def wait_for(self, condition: str) -> None:
        """Return when a JavaScript expression is true."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{condition}: not in {LIMIT_SECONDS:.0f} seconds")
            time.sleep(POLL_SECONDS)

    def choose(self, selector: str, file: Path) -> None:
        """Choose a file as a person does, in the input that the CSS selector finds."""
        chooser = self._evaluate(f"document.querySelector({json.dumps(selector)})")
        self._browser.call("DOM.setFileInputFiles", self._session, files=[str(file)], objectId=chooser["objectId"])

    def close(self) -> None:
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._person)

    def _evaluate(self, expression: str, **options: bool) -> dict[str, Any]:
        answer = self._browser.call("Runtime.evaluate", self._session, expression=expression, **options)
        if failure := answer.get("exceptionDetails"):
            raise RuntimeError(failure.get("exception", {}).get("description") or failure["text"])
        return dict(answer["result"])
