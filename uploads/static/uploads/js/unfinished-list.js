/** `<ddx-unfinished>`: what this browser began to send earlier and did not finish; it goes on when chosen again. */

import { cancelUpload, Problem, uploadStatus } from "./api.js";
import { confirmed } from "./confirm.js";
import { element, find, iconButton } from "./dom.js";
import { formatSize, readableName } from "./format.js";
import { fill, gettext } from "./i18n.js";
import { forget, inOtherTabs, remembered } from "./unfinished.js";

/** @typedef {import("./unfinished.js").Unfinished} Unfinished */

/** The states in which an upload can go on. */
const OPEN = new Set(["pending", "queued", "uploading", "verifying"]);

export class UnfinishedList extends HTMLElement {
  /** @type {Unfinished[]} */
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
    this.entries = entries.filter((entry) => !elsewhere.has(entry.fileId));
    this.#render();
    this.#askAll();
  }

  async #askAll() {
    for (const entry of this.entries) await this.#ask(entry);
  }

  /** Drops those that run on this page by now. @param {Set<string | null>} fileIds */
  drop(fileIds) {
    this.entries = this.entries.filter((entry) => !fileIds.has(entry.fileId));
    this.#render();
  }

  /** Learns how far it came, and whether it is over. @param {Unfinished} entry */
  async #ask(entry) {
    try {
      const status = await uploadStatus(entry.fileId, entry.token);
      if (!OPEN.has(status.status)) return this.#lose(entry);
      const percent = entry.size ? Math.floor((100 * status.offset) / entry.size) : 0;
      const place = this.querySelector(`[data-file="${CSS.escape(entry.fileId)}"] .figures`);
      if (place) place.textContent = fill(gettext("%(percent)s percent sent"), { percent });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (["not_found", "gone", "unauthorized"].includes(error.code)) this.#lose(entry);
    }
  }

  /** @param {Unfinished} entry */
  #lose(entry) {
    forget(entry.fileId);
    this.drop(new Set([entry.fileId]));
  }

  /** @param {Unfinished} entry */
  async #discard(entry) {
    const question = fill(gettext("Discard what was sent of %(name)s?"), { name: readableName(entry.name) });
    if (!(await confirmed(question, gettext("Discard")))) return;
    this.#lose(entry);
    await cancelUpload(entry.fileId, entry.token).catch(() => {}); // or it expires by itself
  }

  #render() {
    this.hidden = this.entries.length === 0;
    const items = this.entries.map((entry) => {
      const label = fill(gettext("Discard %(name)s"), { name: readableName(entry.name) });
      return element(
        "li",
        { "data-file": entry.fileId },
        element("bdi", { class: "row-name", title: readableName(entry.name) }, readableName(entry.name)),
        element(
          "span",
          { class: "row-words" },
          formatSize(entry.size),
          " ",
          element("span", { class: "figures" }),
        ),
        iconButton("remove", label, () => this.#discard(entry)),
      );
    });
    find("ul", HTMLUListElement, this).replaceChildren(...items);
  }
}

customElements.define("ddx-unfinished", UnfinishedList);
