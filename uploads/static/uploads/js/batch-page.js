/**
 * The page of a batch: while files still come, asks how far they are, and changes what the server wrote in place. The
 * head is taken anew from the server when the batch is something else, so that its sentences are written in one place.
 */

import { announce } from "./announce.js";
import { batchFacts, pageNow, Problem } from "./api.js";
import { find, setText } from "./dom.js";
import { formatCount, formatSize } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { showLocalTimes } from "./link-page.js";

const LEAST_PAUSE_MS = 2500;
/** A thousand files cost the server and this page more than ten. */
const PAUSE_MS_A_FILE = 10;
/** With so few files, nobody has to look for one. */
const FILTERED_FROM = 20;

/** @typedef {import("./api.js").FileFacts} FileFacts */

const batch = document.querySelector(".batch");
const head = () => find(".batch-head", HTMLElement);

// --- Live ---

/** @type {Map<string, HTMLElement>} */
const rows = new Map();

/** Asks again and again while files come and somebody looks. @param {HTMLElement} element @param {string} id */
async function follow(element, id) {
  const usual = LEAST_PAUSE_MS + PAUSE_MS_A_FILE * Number(element.dataset.files);
  let pause = usual;
  while (head().dataset.status === "uploading") {
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = usual;
    await visible();
    try {
      const facts = await batchFacts(id);
      show(facts.files);
      if (facts.status !== head().dataset.status) await renewHead();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (!error.retryable) return location.reload();
      pause = Math.max(usual, (error.retryAfter ?? 0) * 1000);
    }
  }
}

/** @returns {Promise<void>} fulfilled when the page can be seen */
const visible = () =>
  new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });

/** @param {FileFacts[]} files */
function show(files) {
  const arrived = files.filter((file) => showFile(file)).map((file) => nameOf(file.file_id));
  if (arrived.length === 1) announce(fill(gettext("%(name)s can be downloaded."), { name: arrived[0] }));
  else if (arrived.length > 1) {
    const sentence = ngettext("%(n)s more file can be downloaded.", "%(n)s more files can be downloaded.", arrived.length);
    announce(fill(sentence, { n: formatCount(arrived.length) }));
  }
  showTotal(files);
}

/** Brings a row up to date; true where its file has just become complete. @param {FileFacts} file */
function showFile({ file_id: id, status, offset, size }) {
  const row = rows.get(id);
  if (!row) return false;
  const percent = row.querySelector(".percent");
  const isHalf = !["completed", "verifying"].includes(status) && offset && size;
  if (percent) setText(percent, isHalf ? `· ${Math.floor((100 * offset) / size)} %` : "");
  if (row.dataset.state === status) return false;
  row.dataset.state = status;
  const words = find("template.state-words", HTMLTemplateElement).dataset[status];
  setText(find(".state", HTMLElement, row), words ?? status);
  const isComplete = status === "completed";
  row.querySelector("a.button")?.toggleAttribute("hidden", !isComplete);
  return isComplete;
}

/** @param {string} id */
const nameOf = (id) => rows.get(id)?.querySelector(".row-name")?.textContent ?? "";

/** What the ZIP has in it by now. @param {FileFacts[]} files */
function showZip(files) {
  const zip = head().querySelector(".zip");
  const here = files.filter((file) => file.status === "completed" && file.size !== undefined);
  if (!zip || here.length === 0) return;
  zip.toggleAttribute("hidden", false);
  const words = ngettext("%(n)s file · %(size)s", "%(n)s files · %(size)s", here.length);
  const size = here.reduce((sum, file) => sum + file.size, 0);
  setText(find(".zip-facts", HTMLElement), fill(words, { n: formatCount(here.length), size: formatSize(size) }));
}

/** @param {FileFacts[]} files */
function showTotal(files) {
  showZip(files);
  const bar = head().querySelector("progress");
  const figures = head().querySelector(".batch-figures");
  if (!bar || !figures) return;
  // Of a file with a password of its own neither is told.
  const sum = (/** @type {(file: FileFacts) => number} */ of) => files.reduce((all, file) => all + (of(file) ?? 0), 0);
  const [stored, size] = [sum((file) => file.offset), sum((file) => file.size)];
  bar.value = size ? Math.floor((100 * stored) / size) : 100;
  const values = {
    complete: formatCount(files.filter((file) => file.status === "completed").length),
    all: formatCount(files.length),
    stored: formatSize(stored),
    size: formatSize(size),
  };
  const counts = fill(gettext("%(complete)s of %(all)s complete"), values);
  setText(figures, `${counts} · ${fill(gettext("%(stored)s of %(size)s"), values)}`);
}

/** Takes the head as it is now at the server. */
async function renewHead() {
  const text = await pageNow();
  if (text === null) return; // asked again in a moment
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector(".batch-head");
  if (!(fresh instanceof HTMLElement)) return location.reload();
  head().replaceWith(fresh);
  showLocalTimes();
  announce(fresh.querySelector(".file-state")?.textContent?.trim() ?? "");
}

// --- Finding one of many ---

function offerFilter() {
  if (rows.size < FILTERED_FROM) return;
  const input = find("#filter", HTMLInputElement);
  find(".filter", HTMLElement).hidden = false;
  input.addEventListener("input", () => filter(input.value));
}

/** @param {string} text */
function filter(text) {
  const wanted = text.trim().toLocaleLowerCase();
  let shown = 0;
  for (const folder of document.querySelectorAll(".folder")) {
    const path = folder.getAttribute("aria-label") ?? "";
    let some = false;
    for (const row of folder.querySelectorAll("li")) {
      const name = row.querySelector(".row-name")?.textContent ?? "";
      row.hidden = !`${path}/${name}`.toLocaleLowerCase().includes(wanted);
      if (!row.hidden) shown += 1;
      some ||= !row.hidden;
    }
    folder.toggleAttribute("hidden", !some);
  }
  const counts = fill(gettext("%(n)s of %(all)s shown"), { n: formatCount(shown), all: formatCount(rows.size) });
  setText(find(".filter-count", HTMLElement), wanted ? counts : "");
}

if (batch instanceof HTMLElement) {
  for (const row of batch.querySelectorAll("[data-file]")) {
    if (row instanceof HTMLElement) rows.set(row.dataset.file ?? "", row);
  }
  if (rows.size) {
    offerFilter();
    follow(batch, batch.dataset.batchId ?? "");
  }
}
