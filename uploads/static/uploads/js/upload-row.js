/** `<ddx-upload-row>`: one upload in the list. Its texts change in place; parts appear when they have something to say. */

import { announce } from "./announce.js";
import { copyButton } from "./copy-button.js";
import { element, iconButton, setText } from "./dom.js";
import { readableName } from "./format.js";
import { fill, gettext } from "./i18n.js";
import { receiptParts } from "./receipt.js";
import { apartInWords, figuresInWords, setbackInWords, stateInWords } from "./words.js";

/** @typedef {import("./upload.js").Upload} Upload */

/** The bar has this many steps, so that it moves visibly in large files too. */
const STEPS = 1000;
/** States that a screen reader is told of, beside "done" and the failures. */
const SPOKEN = new Set(["done", "failed", "refused", "elsewhere", "unreadable"]);

/** Which buttons each kind of upload has. @type {Record<string, (upload: Upload) => boolean>} */
const SHOWN = {
  pause: (upload) => upload.canPause,
  resume: (upload) => upload.state === "paused",
  now: (upload) => upload.state === "lost",
  retry: (upload) =>
    upload.state === "cancelled" || (["failed", "refused"].includes(upload.state) && upload.canRetry),
  here: (upload) => upload.state === "elsewhere",
  choose: (upload) => upload.state === "unreadable",
  cancel: (upload) => !upload.isOver,
  remove: (upload) => upload.isOver,
};

export class UploadRow extends HTMLElement {
  /** @type {Upload | null} */
  #upload = null;
  #shownState = "";
  #speaks = true;
  #name = element("bdi", { class: "row-name" });
  #bar = element("progress", { max: STEPS });
  #state = element("span", { class: "state" });
  #figures = element("span", { class: "figures" });
  #setback = element("span", { class: "row-apart" });
  #note = element("span", { class: "row-apart" });
  /** @type {Record<string, HTMLButtonElement>} */
  #buttons = {};
  #actions = element("div", { class: "row-actions" });

  /** @param {Upload} upload @param {boolean} speaks whether a screen reader hears of each file that is complete */
  show(upload, speaks) {
    this.#upload = upload;
    this.#speaks = speaks;
    const words = element("p", { class: "row-words" }, this.#state, " ", this.#figures, " ", this.#setback, " ", this.#note);
    if (upload.path) words.append(" ", element("bdi", { class: "row-path" }, readableName(upload.path)));
    this.append(element("div", { class: "row-text" }, this.#name, words), this.#actions, this.#bar);
    this.render();
  }

  /** Brings the row up to date; cheap where nothing changed. */
  render() {
    const upload = this.#upload;
    if (!upload) return;
    const { name } = upload;
    if (this.#name.title !== name) {
      this.#name.title = this.#name.textContent = name;
      this.#bar.setAttribute("aria-label", fill(gettext("Progress of %(name)s"), { name }));
    }
    setText(this.#state, stateInWords(upload));
    setText(this.#figures, figuresInWords(upload));
    const setback = setbackInWords(upload);
    if (setback && setback !== this.#setback.textContent) announce(`${upload.name}: ${setback}`);
    setText(this.#setback, setback);
    setText(this.#note, apartInWords(upload));
    const value = upload.size ? Math.floor((upload.stored / upload.size) * STEPS) : upload.state === "done" ? STEPS : 0;
    if (this.#bar.value !== value || !this.#bar.hasAttribute("value")) this.#bar.value = value;
    const key = `${upload.state} ${upload.canRetry}`;
    if (key !== this.#shownState) this.#enter(upload, key);
  }

  /** @param {Upload} upload @param {string} key */
  #enter(upload, key) {
    const isFirst = this.#shownState === "";
    this.#shownState = key;
    this.dataset.state = upload.state;
    this.#bar.hidden = ["done", "cancelled", "deleted", "refused"].includes(upload.state);
    this.#showButtons(upload);
    this.querySelector(".row-result")?.remove();
    if (upload.state === "done") this.append(this.#result(upload));
    const isSpoken = SPOKEN.has(upload.state) && (this.#speaks || upload.state !== "done");
    if (!isFirst && isSpoken) announce(`${upload.name}: ${stateInWords(upload)}`);
  }

  /** @param {Upload} upload */
  #showButtons(upload) {
    const held = document.activeElement;
    const hadFocus = held instanceof HTMLElement && this.#actions.contains(held);
    for (const [name, isShown] of Object.entries(SHOWN)) {
      if (isShown(upload)) this.#actions.append((this.#buttons[name] ??= this.#button(name, upload)));
      else this.#buttons[name]?.remove();
    }
    // Pause becomes resume under the finger; the keyboard must not fall back to the top of the page.
    if (hadFocus) (held.isConnected ? held : this.#actions.querySelector("button"))?.focus();
  }

  /** @param {string} which @param {Upload} upload */
  #button(which, upload) {
    const { name } = upload;
    const ask = (/** @type {string} */ detail) =>
      this.dispatchEvent(new CustomEvent(detail, { bubbles: true, detail: upload }));
    switch (which) {
      case "pause":
        return iconButton("pause", fill(gettext("Pause %(name)s"), { name }), () => upload.pause());
      case "resume":
        return iconButton("play", fill(gettext("Resume %(name)s"), { name }), () => upload.again());
      case "now":
        return this.#wordButton(gettext("Try now"), () => ask("trynow"));
      case "retry":
        return iconButton("retry", fill(gettext("Try %(name)s again"), { name }), () => upload.again());
      case "here":
        return this.#wordButton(gettext("Go on here"), () => upload.again());
      case "choose":
        return this.#wordButton(gettext("Choose the file"), () => ask("choosefile"));
      case "cancel":
        return iconButton("cancel", fill(gettext("Cancel %(name)s"), { name }), () => upload.cancel());
      default:
        return iconButton("remove", fill(gettext("Remove %(name)s from the list"), { name }), () => ask("removeupload"));
    }
  }

  /** @param {string} words @param {() => void} onclick */
  #wordButton(words, onclick) {
    return element("button", { type: "button", class: "button button-small", onclick }, words);
  }

  /** Where one link leads to all files, that of a single one is less in the way. @param {Upload} upload */
  #result(upload) {
    const url = upload.result?.share_url ?? "";
    const link = element(
      "div",
      { class: "link-line" },
      element("a", { class: "share-link", href: url }, url.replace(/^https?:\/\//, "")),
      copyButton(url, gettext("Copy link"), fill(gettext("Copy link of %(name)s"), { name: upload.name })),
    );
    const { sha256, receipt } = upload.result ?? {};
    const proof = sha256 ? receiptParts(sha256, receipt ?? {}) : [];
    const parts = upload.isBatched
      ? [foldAway(gettext("Link and receipt"), link, ...proof)]
      : [link, ...(sha256 ? [foldAway(gettext("Receipt"), ...proof)] : [])];
    return element("div", { class: "row-result" }, ...parts);
  }
}

/** @param {string} summary @param {...Node} parts */
const foldAway = (summary, ...parts) =>
  element("details", { class: "receipt" }, element("summary", {}, summary), ...parts);

customElements.define("ddx-upload-row", UploadRow);
