"""How a page looks: nothing is wider than the screen, and axe finds nothing to complain of, by day and by night."""

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = (Path(__file__).parent / "vendor/axe-core/axe.min.js").read_text()
WIDTHS = {"phone": {"width": 360, "height": 740}, "desktop": {"width": 1280, "height": 900}}
SCHEMES = ("light", "dark")
# Only what is wrong is looked at in detail.
VIOLATIONS = "(part) => axe.run(part ?? document, {resultTypes: ['violations']}).then((result) => result.violations)"
# The admin's own styles fade from one colour to the other, also where motion is to be reduced.
FADED = """() => Promise.all(
  document.getAnimations().filter((each) => each instanceof CSSTransition).map((each) => each.finished.catch(() => {}))
)"""


def faults_of(page: Page, name: str, part: str | None = None) -> list[str]:
    """What is wrong with the page as it stands, in both colour schemes; axe looks at `part` alone where it is named.

    Pictures are kept where SCREENSHOTS names a folder. The page's motion must be reduced: nothing turns for ever then.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    faults = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(FADED)
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/{name}-{scheme}.png", full_page=True)
        width, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        if width > room:
            faults.append(f"{name}, {scheme}: {width - room} pixels too wide")
        rules: list[dict[str, Any]] = page.evaluate(VIOLATIONS, part)
        faults += [
            f"{name}, {scheme}: {rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in rules
            for node in rule["nodes"]
        ]
    return faults


def look_at(page: Page, name: str, part: str | None = None) -> None:
    """The test fails where anything is wrong with the page as it stands."""
    found = faults_of(page, name, part)
    assert found == [], found
