/** `<ddx-my-files>`: what this visitor or account sent before. */

import { announce } from "./announce.js";
import { cancelUpload, changeBatch, changeFile, deleteFile, myFiles, Problem } from "./api.js";
import { BatchLine, sentInWords } from "./batch-line.js";
import { confirmed } from "./confirm.js";
import { changeControls } from "./controls-dialog.js";
import { copyButton } from "./copy-button.js";
import { element, find, iconButton } from "./dom.js";
import { formatSize, formatTime, readableName } from "./format.js";
import { fill, gettext } from "./i18n.js";
import { controlsInWords, lifeInWords } from "./protection.js";

/**
 * @typedef {object} Item
 * @property {string} file_id
 * @property {string} filename
 * @property {number} size
 * @property {string} status
 * @property {string} created_at
 * @property {string | null} [completed_at]
 * @property {string | null} [expires_at]
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
  /** The batch of the last item shown. @type {BatchLine | null} */
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
    const lines = this.#lines(page.items);
    if (cursor) list.append(...lines);
    else list.replaceChildren(...lines);
    find("[data-action=more]", HTMLButtonElement, this).hidden = !this.#next;
    this.hidden = list.children.length === 0;
  }

  /** @param {string} sentence */
  #say(sentence) {
    find(".section-error", HTMLElement, this).textContent = sentence;
  }

  /** Those of the files, each batch with a line of its own above. @param {Item[]} items */
  #lines(items) {
    const batches = new Set([this.#batch]);
    const lines = items.flatMap((item) => {
      const isSame = item.batch_url && item.batch_url === this.#batch?.url;
      if (!isSame) this.#batch = item.batch_url ? new BatchLine(item, (line) => this.#lockOfBatch(line, item)) : null;
      this.#batch?.items.push(item);
      batches.add(this.#batch);
      return this.#batch && !isSame ? [this.#batch.element, this.#item(item)] : [this.#item(item)];
    });
    for (const batch of batches) batch?.renew(batch !== this.#batch || !this.#next);
    return lines;
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
      actions.append(this.#lockOfFile(item));
    }
    if (isComplete) {
      actions.append(iconButton("bin", fill(gettext("Delete %(name)s"), { name }), () => this.#delete(item)));
    } else if (OPEN.has(item.status)) {
      actions.append(iconButton("cancel", fill(gettext("Cancel %(name)s"), { name }), () => this.#cancel(item)));
    }
    const sent = item.batch_url ? "" : sentInWords(item); // the batch's line says it
    const facts = [statusInWords(item.status), formatSize(item.size), sent, lifeOf(item), controlsInWords(item.controls)];
    const words = facts.filter(Boolean).join(" · ");
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

  /** @param {Item} item */
  #lockOfFile(item) {
    const name = readableName(item.filename);
    return this.#lock(fill(gettext("Protect, limit or withdraw %(name)s"), { name }), () => ({
      name,
      controls: item.controls,
      change: (change) => changeFile(item.file_id, change),
      isBatch: false,
      batchLife: item.batch_controls?.expires_in ?? null,
      completed: item.completed_at ? [item.completed_at] : [],
    }));
  }

  /** @param {BatchLine} line @param {Item} first of its files */
  #lockOfBatch(line, { batch_id: id, batch_controls: controls, batch_title: title, filename }) {
    const label = title
      ? fill(gettext("Protect, limit or withdraw %(name)s"), { name: readableName(title) })
      : fill(gettext("Protect, limit or withdraw all files that were sent with %(name)s"), { name: readableName(filename) });
    return this.#lock(label, () => ({
      name: line.name,
      controls: /** @type {import("./protection.js").Controls} */ (controls),
      change: (change) => changeBatch(id ?? "", change),
      isBatch: true,
      batchLife: null,
      completed: line.isWhole ? line.items.flatMap(completedByBatch) : [],
    }));
  }

  /** @param {string} label @param {() => Omit<import("./controls-dialog.js").Subject, "kept">} subject */
  #lock(label, subject) {
    return iconButton("lock", label, async () => {
      const kept = Number(this.dataset.kept) || null;
      const done = await changeControls({ ...subject(), kept });
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

/** Until when it can be downloaded, or for how long once it is complete. @param {Item} item */
function lifeOf({ status, expires_at: end, controls, batch_controls: ofBatch }) {
  if (status === "completed" && end) return fill(gettext("until %(time)s"), { time: formatTime(end) });
  const life = controls.expires_in ?? ofBatch?.expires_in;
  return OPEN.has(status) && life ? fill(gettext("for %(time)s"), { time: lifeInWords(life) }) : "";
}

/** When it was complete, where its batch says how long it is kept from then on. @param {Item} item */
const completedByBatch = ({ status, completed_at: at, controls }) =>
  status === "completed" && at && controls.expires_in === null ? [at] : [];

customElements.define("ddx-my-files", MyFiles);
