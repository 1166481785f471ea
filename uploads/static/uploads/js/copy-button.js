/** `<ddx-copy-button text="…" label="…">`: copies its text, and says so. */

import { announce } from "./announce.js";
import { element } from "./dom.js";
import { gettext } from "./i18n.js";

const SAID_FOR_MS = 2500;

/** @param {string} text @returns {Promise<boolean>} */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(text); // no permission, or a page over plain HTTP, which has no clipboard
  }
}

/** @param {string} text */
function copyByCommand(text) {
  const field = element("textarea", { class: "visually-hidden", readonly: true });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}

export class CopyButton extends HTMLElement {
  #button = element("button", { type: "button", class: "button", onclick: () => this.#copy() });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  connectedCallback() {
    this.#rest();
    this.replaceChildren(this.#button);
  }

  #rest() {
    this.#button.textContent = this.getAttribute("label") ?? gettext("Copy");
    this.#button.classList.remove("is-said");
    const about = this.getAttribute("about");
    if (about) this.#button.setAttribute("aria-label", about);
  }

  async #copy() {
    const focused = document.activeElement;
    const copied = await copy(this.getAttribute("text") ?? "");
    if (focused instanceof HTMLElement) focused.focus();
    const words = copied ? gettext("Copied") : gettext("Could not copy");
    this.#button.textContent = words;
    this.#button.removeAttribute("aria-label");
    this.#button.classList.toggle("is-said", copied);
    announce(words);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#rest(), SAID_FOR_MS);
  }
}

customElements.define("ddx-copy-button", CopyButton);

/**
 * @param {string} text what is copied @param {string} label @param {string} [about] the full name for screen readers
 */
export function copyButton(text, label, about = "") {
  const button = /** @type {CopyButton} */ (document.createElement("ddx-copy-button"));
  button.setAttribute("text", text);
  button.setAttribute("label", label);
  if (about) button.setAttribute("about", about);
  return button;
}
