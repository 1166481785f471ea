"""Our upload page in a Chromium that is steered: one file chosen in it, and watched until it is done."""

from pathlib import Path

from devtools.chromium import Page

WATCH = """{
  document.addEventListener("change", () => { window.began = performance.now(); }, true);
  window.ended = new Promise((done) => new MutationObserver((_, observer) => {
    if (!document.querySelector('ddx-upload-row[data-state="done"]')) return;
    observer.disconnect();
    done(performance.now() - window.began);
  }).observe(document.body, { subtree: true, childList: true, attributes: true }));
  "watching";
}"""


def send(page: Page, file: Path) -> float:
    """Choose the file on the page, which is loaded; the milliseconds from there to the end of the upload.

    Raises `RuntimeError` where it does not end.
    """
    page.wait_for("document.querySelector('ddx-dropzone button:enabled')")
    page.run(WATCH)
    page.choose("ddx-dropzone input[type=file]", file)
    return float(page.run("window.ended"))
