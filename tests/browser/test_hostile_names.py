"""Names that would like to be markup, or to pass for another: every page shows them as text, and no script runs."""

from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import UploadPage

OpenPage = Callable[..., UploadPage]
NAMES = [
    "<script>window.harmed = 1</script>.html",
    "\"><img src=x onerror='window.harmed = 1'>.png",
    "{{ constructor.constructor('window.harmed = 1')() }}.txt",
    "javascript:window.harmed = 1",
    "</title><script>window.harmed = 1</script>",
    "photo\u202egpj.exe",
    "Z" + "\u0301\u0316" * 120 + "algo.txt",
    "😀" * 255,
    "x" * 255,
    "a\u0000b\u001b[31m\r\nc.txt",
]


def is_harmless(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    assert page.evaluate("() => window.harmed") is None
    assert page.evaluate("() => document.querySelectorAll('img[src=x]').length") == 0
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "a long name does not push the page out of its window"


def test_hostile_names_are_shown_as_text_on_every_page(
    open_page: OpenPage, new_context: Callable[..., BrowserContext]
) -> None:
    """On the sender's own page, in the list of what was sent, on the batch's page, and on the page of each file."""
    context = new_context(viewport={"width": 360, "height": 740})
    upload = open_page(context)
    markup = b"<script>window.harmed = 1</script>"
    upload.choose(*({"name": name, "mimeType": "text/html", "buffer": markup} for name in NAMES))
    expect(upload.in_state("done")).to_have_count(len(NAMES))
    is_harmless(upload.page)
    page = context.new_page()
    page.goto(upload.url)
    is_harmless(page)
    page.goto(upload.batch_link())
    is_harmless(page)
    batch = upload.batch_link().rpartition("/")[2]
    files = context.request.get(f"{upload.url}/api/v1/batch/{batch}").json()["files"]
    assert len(files) == len(NAMES)
    for file in files:
        page.goto(f"{upload.url}/f/{file['file_id']}")
        shown = page.get_by_role("heading", level=1).inner_text()
        assert shown
        assert "\u202e" not in shown, "no mark turns the letters round"
        is_harmless(page)
