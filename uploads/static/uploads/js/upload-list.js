/**
 * `<ddx-upload-list>`: the uploads of this page. Rows are brought up to date together, at most four times a second, and
 * only those that changed, so that hundreds stay smooth.
 */

import { announce } from "./announce.js";
import { copyButton } from "./copy-button.js";
import { element, find, setText } from "./dom.js";
import { fill, gettext, ngettext } from "./i18n.js";
import { UploadRow } from "./upload-row.js";

/** @typedef {import("./upload.js").Upload} Upload */

const REFRESH_MS = 250;

export class UploadList extends HTMLElement {
  /** @type {import("./queue.js").UploadQueue | null} */
  #queue = null;
  /** @type {Map<Upload, UploadRow>} */
  #rows = new Map();
  /** @type {Set<Upload>} */
  #dirty = new Set();
  #scheduled = false;
  #refreshedAt = 0;

  /** @param {import("./queue.js").UploadQueue} queue */
  show(queue) {
    this.#queue = queue;
    queue.addEventListener("added", (event) => this.#add(/** @type {CustomEvent} */ (event).detail));
    queue.addEventListener("removed", (event) => this.#remove(/** @type {CustomEvent} */ (event).detail));
    queue.addEventListener("change", (event) => this.#mark(/** @type {CustomEvent} */ (event).detail));
    this.addEventListener("removeupload", (event) => queue.remove([/** @type {CustomEvent} */ (event).detail]));
    this.addEventListener("trynow", () => queue.tryNow());
    this.#on("pause-all", () => queue.pauseAll());
    this.#on("resume-all", () => queue.resumeAll());
    this.#on("clear", () => queue.remove(queue.uploads.filter((upload) => upload.isOver)));
    // Whoever presses a button sees at once what it did; this hears of it after the button itself.
    this.addEventListener("click", () => requestAnimationFrame(() => this.#refresh()));
    // The seconds until the next try count down though nothing changes.
    setInterval(() => {
      for (const upload of queue.uploads) if (upload.state === "lost") this.#mark(upload);
    }, 1000);
  }

  /** @param {string} name @param {() => void} onclick */
  #on(name, onclick) {
    find(`[data-action=${name}]`, HTMLButtonElement, this).addEventListener("click", onclick);
  }

  /** @param {Upload[]} uploads */
  #add(uploads) {
    const items = document.createDocumentFragment();
    for (const upload of uploads) {
      const row = /** @type {UploadRow} */ (document.createElement("ddx-upload-row"));
      row.show(upload);
      this.#rows.set(upload, row);
      items.append(element("li", {}, row));
    }
    find("ul", HTMLUListElement, this).append(items);
    announce(
      fill(ngettext("%(n)s file added.", "%(n)s files added.", uploads.length), { n: uploads.length }),
    );
    this.#refresh();
  }

  /** @param {Upload[]} uploads */
  #remove(uploads) {
    let next = null;
    for (const upload of uploads) {
      const item = this.#rows.get(upload)?.parentElement;
      if (item?.contains(document.activeElement)) next = item.nextElementSibling ?? item.previousElementSibling;
      item?.remove();
      this.#rows.delete(upload);
      this.#dirty.delete(upload);
    }
    if (next) (next.querySelector("button") ?? this).focus();
    this.#refresh();
  }

  /** @param {Upload} upload */
  #mark(upload) {
    this.#dirty.add(upload);
    if (this.#scheduled) return;
    this.#scheduled = true;
    const wait = Math.max(0, this.#refreshedAt + REFRESH_MS - performance.now());
    setTimeout(() => this.#refresh(), wait);
  }

  #refresh() {
    this.#scheduled = false;
    this.#refreshedAt = performance.now();
    for (const upload of this.#dirty) this.#rows.get(upload)?.render();
    this.#dirty.clear();
    this.#summarise();
  }

  #summarise() {
    const uploads = this.#queue?.uploads ?? [];
    this.hidden = uploads.length === 0;
    const count = (/** @type {(upload: Upload) => boolean} */ test) => uploads.filter(test).length;
    const done = uploads.filter((upload) => upload.state === "done");
    const running = count((upload) => ["uploading", "verifying", "finishing"].includes(upload.state));
    const queued = count((upload) => upload.state === "queued");
    const waiting = count((upload) => upload.state === "waiting");
    const failed = count((upload) => ["failed", "unreadable"].includes(upload.state));
    const parts = [
      running && fill(gettext("%(n)s running"), { n: running }),
      queued && fill(gettext("%(n)s in line"), { n: queued }),
      waiting && fill(gettext("%(n)s waiting on this device"), { n: waiting }),
      done.length && fill(gettext("%(n)s complete"), { n: done.length }),
      failed && fill(gettext("%(n)s failed"), { n: failed }),
    ].filter(Boolean);
    setText(find(".list-summary", HTMLElement, this), parts.join(" · "));
    this.#toggle("pause-all", count((upload) => upload.canPause) > 1);
    this.#toggle("resume-all", count((upload) => upload.state === "paused") > 1);
    this.#toggle("clear", count((upload) => upload.isOver) > 1);
    this.#offerLinks(done.map((upload) => upload.result?.share_url ?? ""));
  }

  /** @param {string} name @param {boolean} isShown */
  #toggle(name, isShown) {
    find(`[data-action=${name}]`, HTMLButtonElement, this).hidden = !isShown;
  }

  /** @param {string[]} links of the finished ones, in the order chosen */
  #offerLinks(links) {
    const place = find(".all-links", HTMLElement, this);
    if (links.length < 2) return place.replaceChildren();
    const text = links.join("\n");
    const button = place.firstElementChild;
    if (button) button.setAttribute("text", text);
    else place.replaceChildren(copyButton(text, gettext("Copy all links")));
  }
}

customElements.define("ddx-upload-list", UploadList);
