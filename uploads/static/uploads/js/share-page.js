/**
 * The download page: while a file is still on its way, asks how far it is, and when that changes takes the page's new
 * words from the server, so that they are written in one place only.
 */

import { announce } from "./announce.js";
import { fileFacts, pageNow, Problem } from "./api.js";
import { find } from "./dom.js";
import { fill, gettext } from "./i18n.js";
import { showLocalTimes } from "./link-page.js";

const ASK_MS = 3000;

/** A document may speak up by itself: it is loaded only for whoever opens it. */
function watchDocument() {
  const part = document.querySelector("details.preview-pdf");
  part?.addEventListener("toggle", () => {
    const frame = find("iframe", HTMLIFrameElement, part);
    if (!frame.src) frame.src = frame.dataset.src ?? "";
  });
}

/** Says so where this browser cannot show the preview, instead of leaving a broken one. */
function watchPreview() {
  const shown = document.querySelector(".preview");
  if (!shown) return;
  const giveUp = () => {
    (shown.closest("details") ?? shown).toggleAttribute("hidden", true);
    find(".preview-failed", HTMLElement).hidden = false;
  };
  shown.addEventListener("error", giveUp);
  const isBroken =
    (shown instanceof HTMLImageElement && shown.complete && shown.naturalWidth === 0) ||
    (shown instanceof HTMLMediaElement && shown.error !== null) ||
    (shown.matches(".preview-pdf *") && navigator.pdfViewerEnabled === false);
  if (isBroken) giveUp();
}

const card = () => find("[data-file-id]", HTMLElement);

async function follow() {
  const before = card().dataset;
  if (before.live !== "true" || !before.fileId) return;
  try {
    const facts = await fileFacts(before.fileId);
    showProgress(facts.offset, facts.size);
    if (facts.status !== before.status) await renew();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (!error.retryable) await renew();
  }
  setTimeout(follow, ASK_MS);
}

/** @param {number | undefined} offset @param {number} size bytes */
function showProgress(offset, size) {
  const bar = card().querySelector("progress");
  if (!bar || offset === undefined || !size) return;
  const percent = Math.floor((100 * offset) / size);
  bar.value = percent;
  find(".percent", HTMLElement, card()).textContent = fill(gettext("%(percent)s percent"), { percent });
}

/** Takes this page's words as they are now. */
async function renew() {
  const text = await pageNow();
  if (text === null) return; // asked again in a moment
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("[data-file-id]");
  if (!(fresh instanceof HTMLElement)) return location.reload();
  const before = card();
  if (fresh.dataset.status === before.dataset.status) return;
  before.replaceWith(fresh);
  showLocalTimes();
  watchDocument();
  watchPreview();
  announce(fresh.querySelector(".file-state")?.textContent?.trim() ?? "");
}

watchDocument();
watchPreview();
follow();
