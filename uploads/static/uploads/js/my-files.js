/** `<ddx-my-files>`: what this visitor or account sent before. */

import { announce } from "./announce.js";
import { cancelUpload, changeBatch, changeFile, deleteFile, myFiles, Problem } from "./api.js";
import { confirmed } from "./confirm.js";
import { changeControls } from "./controls-dialog.js";
import { copyButton } from "./copy-button.js";
import { element, find, iconButton } from "./dom.js";
import { formatSize, formatTime, readableName } from "./format.js";
import { fill, gettext } from "./i18n.js";
import { controlsInWords } from "./protection.js";

/**
 * @typedef {object} Item
 * @property {string} file_id
 * @property {string} filename
 * @property {number} size
 * @property {string} status
 * @property {string} created_at
 * @property {string} [share_url]
 * @property {string | null} [batch_url]
 * @property {string | null} [batch_id]
 * @property {string | null} [batch_title]
 * @property {import("./protection.js").Controls} controls
 * @property {import("./protection.js").Controls | null} batch_controls
 */

const OPEN = new Set(["pending", "queued", "uploading", "verifying"]);

/** @param {string} status */
function statusInWords(status) {
  /** @type {Record<string, string>} */
  const words = {
    pending: gettext("Not complete"),
    queued: gettext("In line"),
    uploading: gettext("Uploading"),
    verifying: gettext("Verifying"),
    completed: gettext("Complete"),
    cancelled: gettext("Cancelled"),
    failed: gettext("Failed"),
    expired: gettext("Expired"),
    deleted: gettext("Deleted"),
  };
  return words[status] ?? status;
}

export class MyFiles extends HTMLElement {
  /** @type {string | null} */
  #next = null;
  /** The batch of the last item shown. @type {string | null} */
  #batch = null;

  connectedCallback() {
    find("[data-action=more]", HTMLButtonElement, this).addEventListener("click", () => this.#load(this.#next));
    find("details", HTMLDetailsElement, this).addEventListener("toggle", () => this.refresh());
    this.refresh();
  }

  /** Loads the newest page again; the rest follows by its button. */
  refresh() {
    return this.#load(null);
  }

  /** @param {string | null} cursor */
  async #load(cursor) {
    let page;
    try {
      page = await myFiles(cursor);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return this.#say(error.message);
    }
    this.#say("");
    this.#next = page.next ?? null;
    const list = find("ul", HTMLUListElement, this);
    if (!cursor) this.#batch = null;
    const items = page.items.flatMap((/** @type {Item} */ item) => [...this.#head(item), this.#item(item)]);
    if (cursor) list.append(...items);
    else list.replaceChildren(...items);
    find("[data-action=more]", HTMLButtonElement, this).hidden = !this.#next;
    this.hidden = list.children.length === 0;
  }

  /** @param {string} sentence */
  #say(sentence) {
    find(".section-error", HTMLElement, this).textContent = sentence;
  }

  /** The link of a batch, above the first of its files. @param {Item} item */
  #head({ batch_id: id, batch_url: url = null, batch_title: title, batch_controls: controls, filename }) {
    if (url === this.#batch) return [];
    this.#batch = url;
    if (!url) return [];
    const about = fill(gettext("Copy link of all files that were sent with %(name)s"), { name: readableName(filename) });
    const name = readableName(title || gettext("Sent together"));
    const words = element("div", { class: "row-text" }, element("a", { href: url }, element("bdi", {}, name)));
    const actions = element("div", { class: "row-actions" }, copyButton(url, gettext("Copy link"), about));
    if (id && controls) {
      words.append(element("p", { class: "row-words" }, controlsInWords(controls)));
      actions.append(this.#lock(name, controls, (change) => changeBatch(id, change), gettext("Downloads at most, of the ZIP and of each file")));
    }
    return [element("li", { class: "batch-line" }, words, actions)];
  }

  /** @param {Item} item */
  #item(item) {
    const url = item.share_url ?? new URL(`/f/${item.file_id}`, location.href).href;
    const name = readableName(item.filename);
    const isComplete = item.status === "completed";
    const actions = element("div", { class: "row-actions" });
    if (isComplete) {
      actions.append(copyButton(url, gettext("Copy link"), fill(gettext("Copy link of %(name)s"), { name })));
    }
    if (isComplete || OPEN.has(item.status)) {
      actions.append(this.#lock(name, item.controls, (change) => changeFile(item.file_id, change), gettext("Downloads at most")));
    }
    if (isComplete) {
      actions.append(iconButton("bin", fill(gettext("Delete %(name)s"), { name }), () => this.#delete(item)));
    } else if (OPEN.has(item.status)) {
      actions.append(iconButton("cancel", fill(gettext("Cancel %(name)s"), { name }), () => this.#cancel(item)));
    }
    const facts = [statusInWords(item.status), formatSize(item.size), formatTime(item.created_at)];
    const words = [...facts, controlsInWords(item.controls)].filter(Boolean).join(" · ");
    return element(
      "li",
      { "data-file": item.file_id, "data-state": item.status, class: item.batch_url ? "of-batch" : "" },
      element(
        "div",
        { class: "row-text" },
        isComplete
          ? element("a", { href: url, class: "row-name", title: name }, element("bdi", {}, name))
          : element("bdi", { class: "row-name", title: name }, name),
        element("p", { class: "row-words" }, words),
      ),
      actions,
    );
  }

  /**
   * @param {string} name @param {import("./protection.js").Controls} controls
   * @param {(change: object) => Promise<unknown>} change
   * @param {string} counted what it is that downloads are counted of
   */
  #lock(name, controls, change, counted) {
    return iconButton("lock", fill(gettext("Protect or withdraw %(name)s"), { name }), async () => {
      const done = await changeControls(name, controls, change, counted);
      if (done) await this.#changed(done);
    });
  }

  /** @param {Item} item */
  async #delete(item) {
    const question = fill(gettext("Delete %(name)s? Its link will stop working."), { name: readableName(item.filename) });
    if (await confirmed(question, gettext("Delete"))) {
      const done = fill(gettext("%(name)s was deleted."), { name: readableName(item.filename) });
      if (await this.#change(() => deleteFile(item.file_id), done)) this.#tellGone(item, "deleted");
    }
  }

  /** @param {Item} item */
  async #cancel(item) {
    const question = fill(gettext("Cancel %(name)s? What was sent of it is lost."), { name: readableName(item.filename) });
    if (await confirmed(question, gettext("Cancel the upload"))) {
      const done = fill(gettext("%(name)s was cancelled."), { name: readableName(item.filename) });
      if (await this.#change(() => cancelUpload(item.file_id), done)) this.#tellGone(item, "cancelled");
    }
  }

  /** @param {Item} item @param {"deleted" | "cancelled"} how */
  #tellGone(item, how) {
    this.dispatchEvent(new CustomEvent("filegone", { detail: { fileId: item.file_id, how } }));
  }

  /** @param {() => Promise<any>} change @param {string} done @returns {Promise<boolean>} whether it was done */
  async #change(change, done) {
    try {
      await change();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#say(error.message);
      return false;
    }
    await this.#changed(done);
    return true;
  }

  /** @param {string} done a sentence on it */
  async #changed(done) {
    announce(done);
    await this.refresh();
    find("summary", HTMLElement, this).focus();
  }
}

customElements.define("ddx-my-files", MyFiles);
