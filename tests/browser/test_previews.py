"""What pages show of files, in a real browser: it is shown, and nothing that a file brings runs in our origin."""

import io
import math
import struct
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from devtools import machine
from devtools.server_process import ServerProcess
from tests.browser.conftest import UploadPage, launched, until
from tests.browser.looks import WIDTHS, look_at
from tests.browser.network import Network

HARM = "try{localStorage.harmed=1}catch(e){};try{top.harmed=1}catch(e){};self.harmed=1;fetch('/harmed')"
HTML = f"<!doctype html><html><body><h1>shown</h1><script>{HARM}</script><img src=x onerror={HARM!r}></body></html>"
SVG = (
    f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" onload="{HARM}">'
    f"<script>{HARM}</script><foreignObject><iframe xmlns='http://www.w3.org/1999/xhtml' srcdoc='{HTML}'/>"
    f'</foreignObject><a x:href="javascript:{HARM}"><text y="20">shown</text></a></svg>'
)
XML = f'<?xml version="1.0"?><a><b xmlns="http://www.w3.org/1999/xhtml"><script>{HARM}</script></b></a>'


def pdf(script: str) -> bytes:
    """A document of one page with a script that runs where a viewer runs any."""
    escaped = script.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /OpenAction 5 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R >>",
        "<< /Length 22 >>\nstream\n0 0 1 rg 50 50 99 99 re f\nendstream",
        f"<< /S /JavaScript /JS ({escaped}) >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{text}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + f"xref\n0 6\n0000000000 65535 f \n{table}{trailer}".encode()


def sound() -> bytes:
    """Two seconds of a tone."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(at / 8))) for at in range(16_000)))
    return out.getvalue()


# A second of a film, as a browser records it; without a length in its head, as such films are.
FILM = """() => new Promise((done) => {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d").fillRect(0, 0, 50, 50);
  const recorder = new MediaRecorder(canvas.captureStream(20), {mimeType: "video/webm; codecs=vp8"});
  recorder.ondataavailable = async ({data}) => done(Array.from(new Uint8Array(await data.arrayBuffer())));
  recorder.start();
  setInterval(() => canvas.getContext("2d").fillRect(0, 0, 50, 50), 50);
  setTimeout(() => recorder.stop(), 1000);
})"""
PICTURE = (Path(__file__).parents[2] / "docs/images/admin-live.png").read_bytes()
GOOD = [
    ("picture.png", "image/png", PICTURE),
    ("tone.wav", "audio/wav", sound()),
    ("paper.pdf", "application/pdf", pdf('app.alert("from the document")')),
    ("लेख.txt", "text/plain", "पहली पंक्ति\nsecond line\n".encode() * 5000),
    ("nothing.bin", "application/octet-stream", bytes(range(256))),
]
HOSTILE = [
    ("page.html", "text/html", HTML.encode()),
    ("page.txt", "text/plain", HTML.encode()),
    ("utf16.txt", "text/html; charset=utf-16", HTML.encode("utf-16")),
    ("utf7.txt", "text/plain; charset=utf-7", b"+ADw-script+AD4-" + HARM.encode() + b"+ADw-/script+AD4-"),
    ("drawing.svg", "image/svg+xml", SVG.encode()),
    ("drawing.png", "image/png", SVG.encode()),
    ("data.xhtml", "application/xhtml+xml", XML.encode()),
    ("script.js", "text/javascript", HARM.encode()),
    ("style.css", "text/css", b"*{background:url(/harmed)}"),
    ("page.png", "image/png", HTML.encode()),
    ("page.mp4", "video/mp4", HTML.encode()),
    ("gif.html", "text/html", b"GIF89a=1;" + HARM.encode() + b"//" + HTML.encode()),
    ("id3.js", "text/javascript", b"ID3=1;" + HARM.encode()),
    ("png.html", "text/html", PICTURE[:60] + HTML.encode()),
    ("pdf.html", "text/html", b"%PDF-1.4\n" + HTML.encode()),
    ("script.pdf", "application/pdf", pdf(f'{HARM}; app.launchURL("javascript:{HARM.replace(chr(39), "")}", false)')),
]


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """The whole of it, which has a viewer for PDFs."""
    with launched(playwright, machine.chromium()) as browser:
        yield browser


def sent(upload: UploadPage, files: list[tuple[str, str, bytes]]) -> dict[str, str]:
    """The ids of files sent together, by name."""
    upload.choose(*({"name": name, "mimeType": kind, "buffer": data} for name, kind, data in files))
    expect(upload.in_state("done")).to_have_count(len(files))
    batch = upload.batch_link().rpartition("/")[2]
    facts = upload.page.request.get(f"{upload.url}/api/v1/batch/{batch}").json()
    return {file["filename"]: file["file_id"] for file in facts["files"]}


def test_what_can_be_shown_is_shown_on_phone_and_desktop(
    announcing_server: ServerProcess,
    network_to: Callable[[ServerProcess], Network],
    new_context: Callable[..., BrowserContext],
) -> None:
    upload = UploadPage(new_context().new_page(), network_to(announcing_server)).open()
    film = ("film.webm", "video/webm", bytes(upload.page.evaluate(FILM)))
    ids = sent(upload, [*GOOD, film])
    for device, size in WIDTHS.items():
        page = new_context(viewport=size, reduced_motion="reduce").new_page()

        def of(name: str, page: Page = page, device: str = device) -> Page:
            page.goto(f"{upload.url}/f/{ids[name]}")
            if name != "nothing.bin":
                page.locator(".preview").scroll_into_view_if_needed()
            return page

        page = of("picture.png")
        page.wait_for_function("() => document.querySelector('img.preview').naturalWidth > 100")
        page.get_by_text("Open on another device").click()
        expect(page.get_by_role("img", name="QR code")).to_be_visible()
        look_at(page, f"share-picture-{device}")
        page = of("लेख.txt")
        text = page.frame_locator("iframe.preview").locator("body")
        expect(text).to_contain_text("पहली पंक्ति")
        expect(page.get_by_text("The beginning of the text")).to_be_visible()
        look_at(page, f"share-text-{device}")
        of("nothing.bin")
        expect(page.locator(".preview")).to_have_count(0)

    of("tone.wav")
    page.wait_for_function("() => document.querySelector('audio').duration > 1.9")
    asked = page.request.get(f"{upload.url}/preview/{ids['tone.wav']}", headers={"Range": "bytes=100-199"})
    assert (asked.status, asked.headers["content-type"], len(asked.body())) == (206, "audio/wav", 100)
    of("film.webm")
    page.wait_for_function("() => document.querySelector('video').videoWidth > 0")
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.2")
    said: list[str] = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.goto(f"{upload.url}/f/{ids['paper.pdf']}")
    expect(page.get_by_text("the document may have messages of its own")).to_be_hidden()
    assert [frame.url for frame in page.frames[1:]] == ["about:blank"], (
        "loaded, and able to speak, before somebody opens it"
    )
    page.get_by_text("Show the document here").click()
    until(page, lambda: said == ["from the document"])
    until(page, lambda: any(frame.url.startswith("chrome-extension:") for frame in page.frames))


def test_nothing_of_a_file_runs_in_our_origin(
    announcing_server: ServerProcess,
    network_to: Callable[[ServerProcess], Network],
    new_context: Callable[..., BrowserContext],
) -> None:
    """Hostile pages, drawings, documents and polyglots: opened, embedded, and loaded as script, style and worker."""
    upload = UploadPage(new_context().new_page(), network_to(announcing_server)).open()
    ids = sent(upload, HOSTILE)
    context = upload.page.context.browser.new_context(viewport={"width": 1280, "height": 2000})  # type: ignore[union-attr]
    harm: list[str] = []
    context.on("request", lambda request: harm.append(request.url) if "harmed" in request.url else None)
    context.on("dialog", lambda dialog: (harm.append(dialog.message), dialog.dismiss()))
    page = context.new_page()
    for name in ("page.html", "drawing.svg", "script.pdf"):
        with page.expect_response("**/preview/*"):
            page.goto(f"{upload.url}/f/{ids[name]}")
            page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        download.value.cancel()
    for name, file in ids.items():
        page.goto(f"{upload.url}/preview/{file}")
        answer = page.request.head(f"{upload.url}/preview/{file}")
        assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'"), name
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"].split("/")[0] in {"text", "image", "audio", "video", "application"}
        assert not any(word in answer.headers["content-type"] for word in ("html", "svg", "xml", "script", "css"))
        assert harm == [], name
    page.goto(upload.url)
    page.evaluate(EMBED, list(ids.values()))
    assert harm == []
    assert page.evaluate("[self.harmed ?? null, localStorage.harmed ?? null]") == [None, None]
    context.close()


# The page's own policy allows scripts and styles of our origin: only their type keeps files from being such.
EMBED = """async (ids) => {
  const loaded = (node) => new Promise((done) => {
    node.onload = node.onerror = done;
    document.body.append(node);
  });
  const make = (tag, values) => Object.assign(document.createElement(tag), values);
  await Promise.all(ids.map((id) => loaded(make("iframe", {src: `/preview/${id}`}))));
  for (const url of ids.flatMap((id) => [`/preview/${id}`, `/api/v1/download/stream/${id}`])) {
    await loaded(make("script", {src: url}));
    await loaded(make("script", {src: url, type: "module"}));
    await loaded(make("link", {rel: "stylesheet", href: url}));
    await import(url).catch(() => {});
    await new Promise((done) => { setTimeout(done, 5000); new Worker(url).onerror = done; });
    await navigator.serviceWorker.register(url).catch(() => {});
  }
}"""
