/**
 * `<ddx-dropzone>`: the tray of the upload page. Takes drops anywhere on the page, and files and folders from its
 * buttons, and tells of them by the event `files` (detail: `Dropped`).
 */

import { find } from "./dom.js";
import { chosenFiles, Dropped, droppedFiles, inOrder } from "./dropped.js";
import { formatCount } from "./format.js";
import { fill, gettext } from "./i18n.js";

/** Fewer are found before anybody could read how many. */
const WORTH_TELLING = 200;
const NAMED = 3;

/** @param {DragEvent} event */
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

export class Dropzone extends HTMLElement {
  #depth = 0;

  connectedCallback() {
    this.#connect("files");
    this.#connect("folder");
    addEventListener("dragenter", (event) => carriesFiles(event) && this.#hover((this.#depth += 1)));
    addEventListener("dragleave", (event) => carriesFiles(event) && this.#hover((this.#depth -= 1)));
    addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
    addEventListener("drop", async (event) => {
      if (!event.dataTransfer || !carriesFiles(event)) return;
      event.preventDefault();
      this.#hover((this.#depth = 0));
      this.#say("");
      this.#tell(await droppedFiles(event.dataTransfer, (count) => this.#count(count)));
    });
  }

  /** @param {"files" | "folder"} what */
  #connect(what) {
    const input = find(`input[data-choose=${what}]`, HTMLInputElement, this);
    const button = find(`button[data-choose=${what}]`, HTMLButtonElement, this);
    if (what === "folder" && !("webkitdirectory" in input)) return; // the button stays hidden
    button.hidden = button.disabled = false;
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const chosen = new Dropped();
      chosen.files = chosenFiles(input.files ?? []);
      input.value = ""; // so that the same file can be chosen again
      this.#tell(chosen);
    });
  }

  /** Opens the browser's choice of files. */
  choose() {
    find("input[data-choose=files]", HTMLInputElement, this).click();
  }

  /** @param {number} depth how many nested elements the drag has entered */
  #hover(depth) {
    document.body.classList.toggle("is-dragging", depth > 0);
  }

  /** @param {number} count */
  #count(count) {
    if (count < WORTH_TELLING) return;
    this.#say(fill(gettext("Looking into the folders: %(n)s files so far."), { n: formatCount(count) }));
  }

  /** @param {string} sentence */
  #say(sentence) {
    find(".tray-message", HTMLElement, this).textContent = sentence;
  }

  /** @param {Dropped} dropped */
  #tell(dropped) {
    this.#say(complaint(dropped));
    if (dropped.files.length) this.dispatchEvent(new CustomEvent("files", { detail: inOrder(dropped.files) }));
  }
}

/** What could not be taken, in words; nothing is left out in silence. @param {Dropped} dropped */
function complaint({ files, unreadable }) {
  if (unreadable.length) {
    const names = unreadable.slice(0, NAMED).join(", ");
    const rest = unreadable.length - NAMED;
    if (rest <= 0) return fill(gettext("This cannot be read, and was left out: %(names)s"), { names });
    const values = { names, n: formatCount(rest) };
    return fill(gettext("This cannot be read, and was left out: %(names)s and %(n)s more"), values);
  }
  return files.length ? "" : gettext("There are no files in it.");
}

customElements.define("ddx-dropzone", Dropzone);
