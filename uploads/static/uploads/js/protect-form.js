/** `<ddx-protect>`: password, limit of downloads and expiry for what is chosen next; folded away until somebody wants it. */

import { element, find, setText } from "./dom.js";
import { fill, gettext } from "./i18n.js";
import { lifeInWords, LIVES, protectionInWords } from "./protection.js";

/** @typedef {import("./protection.js").Protection} Protection */

export class ProtectForm extends HTMLElement {
  connectedCallback() {
    find("select", HTMLSelectElement, this).append(...lifeOptions(Number(this.dataset.kept) || null));
    this.addEventListener("input", () => this.#summarise());
    this.#summarise(); // a browser may have kept what was typed before a reload
    this.hidden = false;
  }

  /** What is asked for; null where it cannot be meant, and then the field says why. @returns {Protection | null} */
  read() {
    for (const input of this.querySelectorAll("input")) {
      if (input.checkValidity()) continue;
      find("details", HTMLDetailsElement, this).open = true;
      input.reportValidity();
      return null;
    }
    return this.#value;
  }

  /** @returns {Protection} */
  get #value() {
    const password = find("[name=password]", HTMLInputElement, this).value;
    const most = find("[name=max_downloads]", HTMLInputElement, this).valueAsNumber;
    const life = Number(find("[name=expires_in]", HTMLSelectElement, this).value);
    return {
      ...(password ? { password } : {}),
      ...(most > 0 ? { max_downloads: most } : {}),
      ...(life > 0 ? { expires_in: life } : {}),
    };
  }

  #summarise() {
    setText(find(".protect-words", HTMLElement, this), protectionInWords(this.#value));
  }
}

/**
 * No longer ones than the service keeps anything; another client's choice is among them.
 * @param {number | null} kept seconds; null: for ever @param {number | null} [chosen] seconds
 * @param {string} [otherwise] what holds where none is chosen
 * @returns {HTMLOptionElement[]}
 */
export function lifeOptions(kept, chosen = null, otherwise = keptInWords(kept)) {
  const offered = LIVES.filter((life) => life < (kept ?? Infinity));
  const lives = chosen === null || offered.includes(chosen) ? offered : [...offered, chosen].sort((a, b) => a - b);
  return [
    element("option", { value: "" }, otherwise),
    ...lives.map((life) => element("option", { value: String(life), selected: life === chosen }, lifeInWords(life))),
  ];
}

/** @param {number | null} kept seconds */
function keptInWords(kept) {
  if (kept === null) return gettext("As long as this service keeps files");
  return fill(gettext("%(time)s, as long as this service keeps files"), { time: lifeInWords(kept) });
}

customElements.define("ddx-protect", ProtectForm);
