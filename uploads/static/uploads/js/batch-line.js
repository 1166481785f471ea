/** The line of a batch in the list of what was sent before, above those of its files. */

import { copyButton } from "./copy-button.js";
import { element, setText } from "./dom.js";
import { formatCount, formatTime, readableName } from "./format.js";
import { fill, gettext } from "./i18n.js";
import { controlsInWords } from "./protection.js";
import { filesInWords } from "./words.js";

/** @typedef {import("./my-files.js").Item} Item */

/** Of the file's name; its own line has all of it. */
const MOST_LETTERS = 40;

export class BatchLine {
  /** Those of its files that are in the list. @type {Item[]} */
  items = [];
  /** Whether all of them are; the others come with the next page of the list. */
  isWhole = false;
  #name = element("bdi");

  /** @param {Item} first of its files @param {(line: BatchLine) => HTMLElement} lock makes its button */
  constructor(first, lock) {
    const { batch_url: url, batch_controls: controls, filename } = first;
    const about = fill(gettext("Copy link of all files that were sent with %(name)s"), { name: readableName(filename) });
    const words = [sentInWords(first), ...(controls ? [controlsInWords(controls)] : [])];
    this.url = url ?? "";
    this.element = element(
      "li",
      { class: "batch-line" },
      element(
        "div",
        { class: "row-text" },
        element("a", { href: this.url }, this.#name),
        element("p", { class: "row-words" }, words.filter(Boolean).join(" · ")),
      ),
      element(
        "div",
        { class: "row-actions" },
        copyButton(this.url, gettext("Copy link"), about),
        ...(controls ? [lock(this)] : []),
      ),
    );
  }

  /** Its title, or how many files it has and what the first of them is called. */
  get name() {
    const [first] = this.items;
    if (first.batch_title) return readableName(first.batch_title);
    const values = { name: shortened(readableName(first.filename)), n: formatCount(this.items.length - 1) };
    if (!this.isWhole) return fill(gettext("%(name)s and more"), values);
    const files = filesInWords(this.items.length);
    if (this.items.length === 1) return fill(gettext("%(files)s: %(name)s"), { ...values, files });
    return fill(gettext("%(files)s: %(name)s and %(n)s more"), { ...values, files });
  }

  /** Says anew what it is called, when all of its files that are known were added. @param {boolean} isWhole */
  renew(isWhole) {
    this.isWhole = isWhole;
    setText(this.#name, this.name);
  }
}

/** @param {string} name */
function shortened(name) {
  const letters = Array.from(name);
  return letters.length > MOST_LETTERS ? `${letters.slice(0, MOST_LETTERS).join("")}…` : name;
}

/** @param {Item} item */
export const sentInWords = ({ created_at: at }) => fill(gettext("sent %(time)s"), { time: formatTime(at) });
