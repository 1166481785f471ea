/**
 * Every upload of this page, in the order chosen, and the rule which of them may run: as many as the server runs for
 * one person, and a few more that keep a place in its line. The rest wait on this device. (A batch link will belong to
 * this list.) Knows no page.
 */

import { isSame } from "./unfinished.js";
import { Upload } from "./upload.js";

/** Sockets kept in the server's line beside the running ones, so that a free slot is taken at once. */
const AHEAD = 3;

/**
 * Tells of `added` and `removed` (detail: uploads), and `change` (detail: the upload).
 */
export class UploadQueue extends EventTarget {
  /** @type {Upload[]} */
  #uploads = [];
  #concurrent = 5;
  /** @type {Promise<unknown>} */
  #lastAsked = Promise.resolve();

  get uploads() {
    return /** @type {readonly Upload[]} */ (this.#uploads);
  }

  /** How many uploads the server runs at once for one person. @param {number} count */
  set concurrent(count) {
    this.#concurrent = Math.max(1, Math.floor(count));
    this.#schedule();
  }

  /**
   * @param {Iterable<File>} files
   * @param {import("./unfinished.js").Unfinished[]} [unfinished] earlier uploads to go on with where a file is the same
   */
  add(files, unfinished = []) {
    const left = [...unfinished];
    const added = Array.from(files, (file) => {
      const index = left.findIndex((entry) => isSame(entry, file));
      const upload = new Upload(file, index < 0 ? null : left.splice(index, 1)[0]);
      upload.addEventListener("change", () => {
        this.dispatchEvent(new CustomEvent("change", { detail: upload }));
        this.#schedule();
      });
      return upload;
    });
    this.#uploads.push(...added);
    this.dispatchEvent(new CustomEvent("added", { detail: added }));
    this.#schedule();
  }

  /** Takes uploads off the list; those that are not finished are cancelled. @param {Upload[]} gone */
  remove(gone) {
    const set = new Set(gone);
    this.#uploads = this.#uploads.filter((upload) => !set.has(upload));
    for (const upload of gone) {
      if (!["done", "cancelled", "elsewhere"].includes(upload.state)) upload.cancel();
      upload.dispose();
    }
    this.dispatchEvent(new CustomEvent("removed", { detail: gone }));
    this.#schedule();
  }

  pauseAll() {
    // Those that wait go first, so that none of them takes the place of one just paused.
    for (const upload of this.#uploads) if (upload.state === "waiting") upload.pause();
    for (const upload of this.#uploads) if (upload.canPause) upload.pause();
  }

  resumeAll() {
    for (const upload of this.#uploads) if (upload.state === "paused") upload.again();
  }

  /** The network is back, or somebody cannot wait. */
  tryNow() {
    for (const upload of this.#uploads) {
      upload.tryNow();
      upload.doubt();
    }
  }

  /** The network may be gone. */
  doubt() {
    for (const upload of this.#uploads) upload.doubt();
  }

  #schedule() {
    let room = this.#concurrent + AHEAD;
    const waiting = [];
    for (const upload of this.#uploads) {
      if (upload.isActive) room -= 1;
      else if (upload.state === "waiting") waiting.push(upload);
    }
    if (room <= 0 || waiting.length === 0) return;
    waiting.sort((a, b) => Number(b.urgent) - Number(a.urgent));
    // Starting one tells of a change and so comes back here, with one fewer waiting.
    const next = waiting[0];
    next.after = this.#lastAsked;
    this.#lastAsked = next.asked;
    next.start();
  }
}
