/**
 * `<ddx-dropzone>`: the tray of the upload page. Takes drops anywhere on the page and files from its button, and tells
 * of them by the event `files` (detail: the files).
 */

import { find } from "./dom.js";
import { droppedFiles } from "./dropped.js";

/** @param {DragEvent} event */
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

export class Dropzone extends HTMLElement {
  #depth = 0;

  connectedCallback() {
    const input = find("input[type=file]", HTMLInputElement, this);
    const button = find("button", HTMLButtonElement, this);
    button.addEventListener("click", () => input.click());
    button.disabled = false;
    input.addEventListener("change", () => {
      this.#tell(Array.from(input.files ?? []));
      input.value = ""; // so that the same file can be chosen again
    });
    addEventListener("dragenter", (event) => carriesFiles(event) && this.#hover((this.#depth += 1)));
    addEventListener("dragleave", (event) => carriesFiles(event) && this.#hover((this.#depth -= 1)));
    addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
    addEventListener("drop", async (event) => {
      if (!event.dataTransfer || !carriesFiles(event)) return;
      event.preventDefault();
      this.#hover((this.#depth = 0));
      this.#tell(await droppedFiles(event.dataTransfer));
    });
  }

  /** Opens the browser's choice of files. */
  choose() {
    find("input[type=file]", HTMLInputElement, this).click();
  }

  /** @param {number} depth how many nested elements the drag has entered */
  #hover(depth) {
    document.body.classList.toggle("is-dragging", depth > 0);
  }

  /** @param {File[]} files */
  #tell(files) {
    if (files.length) this.dispatchEvent(new CustomEvent("files", { detail: files }));
  }
}

customElements.define("ddx-dropzone", Dropzone);
