/**
 * Every upload of this page, in groups in the order chosen, and the rule which of them may run: as many as the server
 * runs for one person, and a few more that keep a place in its line. The rest wait on this device. A change costs the
 * same however many files there are. Knows no page.
 */

import { Group } from "./group.js";
import { Hold } from "./hold.js";
import { commonFolder, divide } from "./parts.js";
import { SETTLED } from "./states.js";
import { Memory } from "./unfinished.js";
import { Upload } from "./upload.js";

/** @typedef {import("./dropped.js").Chosen} Chosen @typedef {import("./unfinished.js").Unfinished} Unfinished */

/** Sockets kept in the server's line beside the running ones, so that a free slot is taken at once. */
const AHEAD = 3;
/** With fewer announced files than this left to start, the next batch is announced. */
const NEARING = 32;

/** Tells of `groups` when their list changes, and `change` (detail: group, and the upload or null). */
export class UploadQueue extends EventTarget {
  /** @type {Group[]} */
  #groups = [];
  /** Those that hold a place at the server. @type {Set<Upload>} */
  #active = new Set();
  /** Those that lost their connection and have none yet. @type {Set<Upload>} */
  #lost = new Set();
  #concurrent = 5;
  /** @type {Promise<unknown>} */
  #lastAsked = Promise.resolve();
  #isScheduling = false;
  hold = new Hold();

  constructor() {
    super();
    this.hold.addEventListener("change", () => this.#schedule());
  }

  get groups() {
    return /** @type {readonly Group[]} */ (this.#groups);
  }

  /** How many uploads the server runs at once for one person. @param {number} count */
  set concurrent(count) {
    this.#concurrent = Math.max(1, Math.floor(count));
    this.#schedule();
  }

  /** Whether leaving the page would interrupt something. */
  get isUnderWay() {
    return this.#groups.some((group) => group.tally.left > 0 || group.tally.firstWaiting) || this.#active.size > 0;
  }

  /**
   * @param {Chosen[]} chosen together
   * @param {Unfinished[]} [unfinished] earlier uploads to go on with where a file is the same
   * @param {import("./protection.js").Protection} [protection] who may have what is new among them
   */
  add(chosen, unfinished = [], protection = {}) {
    const { earlier, fresh } = match(chosen, unfinished);
    for (const [batchId, uploads] of earlier) this.#join(batchId, uploads);
    if (fresh.length === 1) this.#single([new Upload(fresh[0], null, false, protection)]);
    else this.#addBatches(fresh, commonFolder(chosen), protection);
    this.dispatchEvent(new Event("groups"));
    this.#schedule();
  }

  /** @param {Chosen[]} fresh @param {string} title @param {import("./protection.js").Protection} protection */
  #addBatches(fresh, title, protection) {
    const parts = divide(fresh);
    for (const [index, part] of parts.entries()) {
      const group = Group.ofNew(title, parts.length > 1 ? { number: index + 1, of: parts.length } : null, protection);
      group.add(part.map((one) => new Upload(one, null, true, protection)));
      this.#watch(group);
    }
  }

  /** Puts uploads that go on beside the others of their batch. @param {string} batchId @param {Upload[]} uploads */
  #join(batchId, uploads) {
    const [{ ticket }] = uploads;
    if (!ticket?.batch) return this.#single(uploads);
    let group = this.#groups.find((known) => known.batch?.id === batchId);
    if (!group) this.#watch((group = Group.ofEarlier(ticket)));
    group.add(uploads);
  }

  /** @param {Upload[]} uploads */
  #single(uploads) {
    let group = this.#groups[this.#groups.length - 1];
    if (!group || group.isBatch) this.#watch((group = new Group()));
    group.add(uploads);
  }

  /** @param {Group} group */
  #watch(group) {
    this.#groups.push(group);
    group.addEventListener("change", (event) => this.#heard(group, /** @type {CustomEvent} */ (event).detail));
    group.addEventListener("holdback", (event) => this.hold.begin(/** @type {CustomEvent} */ (event).detail));
  }

  /** @param {Group} group @param {Upload | null} upload */
  #heard(group, upload) {
    if (upload?.isActive) this.#active.add(upload);
    else if (upload) this.#active.delete(upload);
    const passed = upload ? ["queued", "uploading"].includes(upload.state) : group.standing === "announced";
    if (passed) this.hold.passed();
    if (upload?.state === "lost") this.#lost.add(upload);
    else if (upload && (passed || upload.isOver) && this.#lost.delete(upload) && passed) this.#followBack();
    this.dispatchEvent(new CustomEvent("change", { detail: { group, upload } }));
    this.#schedule();
  }

  /** One that was lost is back, so the server can be reached: the others need not sit out their pauses. */
  #followBack() {
    for (const upload of this.#lost) if (upload.isGuessing) upload.tryNow();
  }

  /** Takes uploads off the list; those that are not finished are cancelled. @param {Iterable<Upload>} gone */
  remove(gone) {
    const set = new Set(gone);
    for (const group of [...this.#groups]) this.#removeFrom(group, group.uploads.filter((upload) => set.has(upload)));
    this.dispatchEvent(new Event("groups"));
    this.#schedule();
  }

  /** @param {Group} group @param {Upload[]} gone */
  #removeFrom(group, gone) {
    for (const upload of gone) {
      if (!SETTLED.has(upload.state)) upload.cancel();
      upload.dispose();
      this.#active.delete(upload);
      this.#lost.delete(upload);
    }
    if (gone.length === 0) return;
    group.remove(new Set(gone));
    if (group.uploads.length === 0) this.#groups.splice(this.#groups.indexOf(group), 1);
  }

  pauseAll() {
    // Whatever waits goes first, so that none of it takes the place of one just paused.
    for (const group of this.#groups) for (const upload of group.tally.list(["waiting"])) upload.pause();
    for (const group of this.#groups) group.pauseAll();
  }

  resumeAll() {
    for (const group of this.#groups) group.resumeAll();
  }

  /** The upload of a file that is known by its id. @param {string} fileId */
  find(fileId) {
    for (const group of this.#groups) {
      const upload = group.uploads.find((upload) => upload.fileId === fileId);
      if (upload) return upload;
    }
    return null;
  }

  /** The network is back, or somebody cannot wait. */
  tryNow() {
    this.hold.end();
    for (const group of this.#groups) {
      group.tryNow();
      for (const upload of group.tally.list(["lost"])) upload.tryNow();
    }
    this.doubt();
  }

  /** The network may be gone. */
  doubt() {
    for (const upload of this.#active) upload.doubt();
  }

  // --- Whose turn it is ---

  #schedule() {
    if (this.#isScheduling || this.hold.isOn) return;
    this.#isScheduling = true; // starting one tells of a change and so comes back here
    let upload;
    while (!this.hold.isOn && this.#active.size < this.#concurrent + AHEAD && (upload = this.#next())) {
      upload.after = this.#lastAsked;
      this.#lastAsked = upload.asked;
      upload.start();
    }
    this.#announceNext();
    this.#isScheduling = false;
  }

  #next() {
    for (const urgent of [true, false]) {
      for (const group of this.#groups) {
        const upload = group.next(urgent);
        if (upload) return upload;
      }
    }
    return undefined;
  }

  /** One announcement at a time, in the order chosen; a later part of many files only when its turn nears. */
  #announceNext() {
    if (this.hold.isOn || this.#groups.some((group) => group.standing === "announcing")) return;
    let ahead = 0;
    for (const group of this.#groups) {
      if (group.wantsAnnouncing && (group.isEager || ahead < NEARING)) return void group.announce();
      ahead += group.tally.number(["waiting"]);
    }
  }
}

/**
 * Tells those that go on, by their batch, from those that are new. A file that was sent already is known as such only
 * beside others of its batch that are to go on: alone, somebody wants it sent again.
 * @param {Chosen[]} chosen @param {Unfinished[]} unfinished
 */
function match(chosen, unfinished) {
  const memory = new Memory(unfinished);
  const found = chosen.map((one) => ({ one, entry: memory.take(one) }));
  const goOn = new Set(found.map(({ entry }) => (entry && !entry.done ? entry.batch?.id : undefined)));
  /** @type {Map<string, Upload[]>} */
  const earlier = new Map();
  /** @type {Chosen[]} */
  const fresh = [];
  for (const { one, entry } of found) {
    const id = entry?.batch?.id ?? "";
    if (!entry || (entry.done && !goOn.has(id))) fresh.push(one);
    else if (earlier.has(id)) earlier.get(id)?.push(new Upload(one, entry));
    else earlier.set(id, [new Upload(one, entry)]);
  }
  return { earlier, fresh };
}
