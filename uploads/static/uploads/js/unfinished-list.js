/** `<ddx-unfinished>`: what this browser began to send earlier and did not finish; it goes on when chosen again. */

import { batchFacts, cancelBatch, cancelUpload, Problem, uploadStatus } from "./api.js";
import { confirmed } from "./confirm.js";
import { copyButton } from "./copy-button.js";
import { element, find, iconButton } from "./dom.js";
import { formatCount, formatSize, readableName } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { forget, inOtherTabs, remembered, settle } from "./unfinished.js";

/** @typedef {import("./unfinished.js").Unfinished} Unfinished */

/** The states in which an upload can go on. */
const OPEN = new Set(["pending", "queued", "uploading", "verifying"]);
const MOST_NAMES = 100;

export class UnfinishedList extends HTMLElement {
  /** With those that are done, of batches that are not. @type {Unfinished[]} */
  entries = [];
  /** Fulfilled when it is known which uploads are unfinished. @type {Promise<void>} */
  ready = Promise.resolve();

  connectedCallback() {
    this.ready = this.#load();
  }

  async #load() {
    const entries = remembered(); // before anything is chosen on this page
    if (entries.length === 0) return;
    const elsewhere = await inOtherTabs();
    this.entries = entries;
    this.drop(elsewhere);
    this.#askAll();
  }

  async #askAll() {
    for (const [first, entries] of this.#items()) await (first.batch ? this.#askBatch(entries) : this.#ask(first));
  }

  /** Drops those that run on this page by now, or in another tab. @param {Set<string | null>} fileIds */
  drop(fileIds) {
    const left = this.entries.filter((entry) => !fileIds.has(entry.fileId));
    const open = new Set(left.map((entry) => (entry.done ? null : entry.batch?.id)));
    this.entries = left.filter((entry) => !entry.done || open.has(entry.batch?.id));
    this.#render();
  }

  /** Drops a whole batch, which was cancelled. @param {string} batchId */
  dropBatch(batchId) {
    this.#lose(this.entries.filter((entry) => entry.batch?.id === batchId));
  }

  /** What each line speaks of: one upload, or the open ones of a batch. @returns {[Unfinished, Unfinished[]][]} */
  #items() {
    /** @type {Map<string, Unfinished[]>} */
    const items = new Map();
    for (const entry of this.entries) {
      const key = entry.batch?.id ?? entry.fileId;
      if (entry.done) continue;
      if (!items.has(key)) items.set(key, []);
      items.get(key)?.push(entry);
    }
    return [...items.values()].map((entries) => [entries[0], entries.sort(byPlace)]);
  }

  /** Learns how far it came, and whether it is over. @param {Unfinished} entry */
  async #ask(entry) {
    try {
      const status = await uploadStatus(entry.fileId, entry.token);
      if (OPEN.has(status.status)) this.#showPercent(entry.fileId, status.offset, entry.size);
      else this.#lose([entry]);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (["not_found", "gone", "unauthorized"].includes(error.code)) this.#lose([entry]);
    }
  }

  /** @param {Unfinished[]} entries those of one batch that are open here */
  async #askBatch(entries) {
    const id = entries[0].batch?.id ?? "";
    try {
      const facts = new Map((await batchFacts(id, entries[0].token)).files.map((file) => [file.file_id, file]));
      for (const entry of entries) {
        const { status = "deleted" } = facts.get(entry.fileId) ?? {};
        if (status === "completed") Object.assign(entry, { done: true });
        if (status === "completed") settle(entry);
      }
      this.#lose(entries.filter(({ fileId, done }) => !done && !OPEN.has(facts.get(fileId)?.status ?? "deleted")));
      const open = this.entries.filter((entry) => entry.batch?.id === id && !entry.done);
      const sum = (/** @type {(entry: Unfinished) => number} */ of) => open.reduce((all, entry) => all + of(entry), 0);
      this.#showPercent(id, sum((entry) => facts.get(entry.fileId)?.offset ?? 0), sum((entry) => entry.size));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (["not_found", "gone"].includes(error.code)) this.dropBatch(id);
    }
  }

  /** @param {string} key @param {number} offset @param {number} size bytes */
  #showPercent(key, offset, size) {
    const place = this.querySelector(`[data-item="${CSS.escape(key)}"] .figures`);
    const percent = size ? Math.floor((100 * offset) / size) : 0;
    if (place) place.textContent = fill(gettext("%(percent)s percent sent"), { percent });
  }

  /** @param {Unfinished[]} entries */
  #lose(entries) {
    for (const entry of entries) forget(entry.fileId);
    this.drop(new Set(entries.map((entry) => entry.fileId)));
  }

  /** @param {string} name @param {Unfinished[]} entries */
  async #discard(name, entries) {
    if (!(await confirmed(fill(gettext("Discard what was sent of %(name)s?"), { name }), gettext("Discard")))) return;
    const [{ batch, fileId, token }] = entries;
    if (batch) this.dropBatch(batch.id);
    else this.#lose(entries);
    // Or it expires by itself.
    await (batch ? cancelBatch(batch.id, token) : cancelUpload(fileId, token)).catch(() => {});
  }

  #render() {
    const items = this.#items();
    this.hidden = items.length === 0;
    find("ul", HTMLUListElement, this).replaceChildren(
      ...items.map(([first, entries]) => (first.batch ? this.#batch(first.batch, entries) : this.#single(first))),
    );
  }

  /** @param {Unfinished} entry */
  #single(entry) {
    const name = readableName(entry.name);
    return element(
      "li",
      { "data-item": entry.fileId },
      element("bdi", { class: "row-name", title: name }, name),
      element("span", { class: "row-words" }, formatSize(entry.size), " ", element("span", { class: "figures" })),
      iconButton("remove", fill(gettext("Discard %(name)s"), { name }), () => this.#discard(name, [entry])),
    );
  }

  /** @param {import("./unfinished.js").BatchNote} batch @param {Unfinished[]} entries */
  #batch(batch, entries) {
    const all = formatCount(batch.files);
    const name = batch.title || fill(ngettext("%(n)s file", "%(n)s files", batch.files), { n: all });
    const sentence = ngettext(
      "%(n)s of %(all)s file is not finished.",
      "%(n)s of %(all)s files are not finished.",
      batch.files,
    );
    const counts = fill(sentence, { n: formatCount(entries.length), all });
    return element(
      "li",
      { "data-item": batch.id, class: "unfinished-batch" },
      element("bdi", { class: "row-name", title: name }, name),
      element("span", { class: "row-words" }, counts, " ", element("span", { class: "figures" })),
      iconButton("remove", fill(gettext("Discard %(name)s"), { name }), () => this.#discard(name, entries)),
      element(
        "div",
        { class: "link-line" },
        element("a", { class: "batch-link", href: batch.url }, batch.url.replace(/^https?:\/\//, "")),
        copyButton(batch.url, gettext("Copy link"), fill(gettext("Copy link of %(name)s"), { name })),
      ),
      names(entries),
    );
  }
}

const { compare } = new Intl.Collator(undefined, { numeric: true });

/** By folder, then by name: what is remembered has no order. @param {Unfinished} a @param {Unfinished} b */
const byPlace = (a, b) => compare(a.path ?? "", b.path ?? "") || compare(a.name, b.name);

/** Which files have to be chosen again. @param {Unfinished[]} entries */
function names(entries) {
  const items = entries.slice(0, MOST_NAMES).map(({ name, path }) => {
    const folder = path ? `${readableName(path)}/` : "";
    return element("li", {}, element("bdi", {}, folder + readableName(name)));
  });
  const rest = entries.length - MOST_NAMES;
  if (rest > 0) items.push(element("li", {}, fill(gettext("and %(n)s more"), { n: formatCount(rest) })));
  return element(
    "details",
    {},
    element("summary", {}, gettext("Which files these are")),
    element("ul", { class: "names" }, ...items),
  );
}

customElements.define("ddx-unfinished", UnfinishedList);
